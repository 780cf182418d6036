"""Keys of consumers: made here, shown once, kept as a hash; rotated with a time in which the old one works on.

The gateway finds a client by the SHA-256 of its key, and keys are random, so the hash tells nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from controlplane.actor import Actor
from controlplane.changes import Change, Delete, Once, Put, etag_of
from controlplane.plan import Plan
from controlplane.refusal import AlreadyExists, NotFound, Refusal
from controlplane.service import Outcome, Service
from shared.pb.resources_pb2 import Credential
from shared.table import Key, unpack
from shared.timestamp import timestamp

PREFIX = "fgk_"
"""So that a key that leaked into a repository is recognised as one."""


class NotRotatable(Refusal):
    """The credential is no API key."""

    status = 422
    code = "not_rotatable"


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a write made; `secret` is shown to whoever asked, and never again. It is empty for a repeated request."""

    outcome: Outcome
    secret: str = field(repr=False)


class Keys:
    """Makes and rotates keys through the service. Revoking is `Delete`; switching off is a `Put`."""

    def __init__(
        self,
        service: Service,
        now: Callable[[], float],
        token: Callable[[], str] = lambda: PREFIX + secrets.token_urlsafe(32),
    ) -> None:
        self._service = service
        self._now = now
        self._token = token

    async def create(
        self, credential: Credential, actor: Actor, *, message: str = "", once: Once | None = None
    ) -> NewKey:
        """A new API key for the consumer that the credential names; without a name it is called after the consumer.

        Errors as for Service.commit.
        """
        await self._service.refresh()
        secret = self._token()
        change = self._creation(credential, secret)
        return await self._commit([change], secret, actor, message or f"key {change.name!r} created", once)

    async def plan_create(self, credential: Credential) -> Plan:
        """What `create` would do."""
        await self._service.refresh()
        return await self._service.plan([self._creation(credential, self._token())])

    async def rotate(
        self, name: str, actor: Actor, *, grace: float = 0.0, message: str = "", once: Once | None = None
    ) -> NewKey:
        """A new secret under the same name. The old one works for `grace` seconds more, under the name `NAME~1`."""
        await self._service.refresh()
        secret = self._token()
        changes = self._rotation(name, secret, grace)
        return await self._commit(changes, secret, actor, message or f"key {name!r} rotated", once)

    async def plan_rotate(self, name: str, *, grace: float = 0.0) -> Plan:
        """What `rotate` would do."""
        await self._service.refresh()
        return await self._service.plan(self._rotation(name, self._token(), grace))

    def _creation(self, credential: Credential, secret: str) -> Put:
        made = Credential()
        made.CopyFrom(credential)
        made.type, made.key = made.type or "apiKey", sha256(secret.encode()).hexdigest()
        if not made.name:
            made.name = _free(made.consumer or "key", self._names())
        elif made.name in self._names():
            raise AlreadyExists(("credential", made.name))
        return Put("credential", made.name, made, new=True)

    def _rotation(self, name: str, secret: str, grace: float) -> list[Change]:
        current, etag = self._credential(name)
        fresh, old = Credential(), Credential()
        fresh.CopyFrom(current)
        fresh.key = sha256(secret.encode()).hexdigest()
        changes: list[Change] = [Put("credential", name, fresh, if_match=etag)]
        expired = set(self._expired(name))
        changes += [Delete("credential", gone) for gone in sorted(expired)]
        if grace > 0:
            old.CopyFrom(current)
            old.id, old.name = 0, _free(name, self._names(), first=f"{name}~1", mark="~")
            old.expires_at = _earlier(timestamp(self._now() + grace), current.expires_at)
            changes.append(Put("credential", old.name, old, new=True))
        return changes

    async def _commit(
        self, changes: Sequence[Change], secret: str, actor: Actor, message: str, once: Once | None
    ) -> NewKey:
        outcome = await self._service.commit(changes, actor, message=message, once=once)
        return NewKey(outcome, "" if outcome.answer is not None else secret)

    def _names(self) -> set[str]:
        committed = self._service.committed
        return {name for kind, name in committed.table if kind == "credential"} if committed else set()

    def _credential(self, name: str) -> tuple[Credential, str]:
        """An API key and its etag."""
        key: Key = "credential", name
        committed = self._service.committed
        if committed is None or key not in committed.table:
            raise NotFound(key)
        found: Any = unpack(committed.table[key])
        if found.type != "apiKey":
            raise NotRotatable(f"credential {name!r} is of type {found.type}: put its new secret yourself")
        return found, etag_of(committed.table[key])

    def _expired(self, name: str) -> Iterable[str]:
        """Old keys of this name whose time is over."""
        for other in self._names():
            if other.startswith(f"{name}~") and other.removeprefix(f"{name}~").isdecimal():
                expires = self._credential(other)[0].expires_at
                if expires and datetime.fromisoformat(expires) <= datetime.fromtimestamp(self._now(), UTC):
                    yield other


def _free(name: str, taken: set[str], *, first: str = "", mark: str = "-") -> str:
    free, number = first or name, 1
    while free in taken:
        number += 1
        free = f"{name}{mark}{number}"
    return free


def _earlier(one: str, other: str) -> str:
    """The earlier of two times; an empty one is never."""
    return min((time for time in (one, other) if time), key=datetime.fromisoformat)
