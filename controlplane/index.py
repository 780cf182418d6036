"""What refers to what, and what could clash, in the committed configuration: so that a change is checked by itself.

Kept beside a table and moved along with it. With 10 000 routes a full check takes a quarter of a second; what one
changed route can clash with is found here in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.check.auth import identity
from shared.check.conflicts import slots
from shared.check.node_groups import destinations
from shared.pb.resources_pb2 import Credential, Resource, Route, Upstream
from shared.table import Key, Table, key_of, unpack
from shared.url_upstreams import canonical


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one resource: its id, what it refers to, what no other may have or what others may shadow, its path or URL."""

    id: int
    refers: frozenset[Key] = frozenset()
    claims: frozenset[Hashable] = frozenset()
    path: str = ""
    url: str = ""


def facts_of(resource: Resource) -> Facts:
    """The facts of a resource."""
    message: Any = unpack(resource)
    if isinstance(message, Route):
        refers = frozenset(("upstream", name) for _, name in destinations(message))
        return Facts(message.id, refers, frozenset(slots(message)), path=message.path)
    if isinstance(message, Upstream):
        refers = frozenset([("upstream", message.fallback)] if message.fallback else ())
        return Facts(message.id, refers, url=canonical(message.url) if message.url else "")
    if isinstance(message, Credential):
        owner = frozenset([("consumer", message.consumer)] if message.consumer else ())
        key = identity(message)
        return Facts(message.id, owner, frozenset([key] if key else ()))
    return Facts(getattr(message, "id", 0))


class Index:
    """The facts of a table, by what they are asked for."""

    def __init__(self) -> None:
        self.table = Table()
        self.facts: dict[Key, Facts] = {}
        self._by: dict[tuple[str, Hashable], dict[Key, None]] = {}

    def move(self, table: Table) -> None:
        """This is the table now; it costs what changed since the last one."""
        upserts, removes = table.since(self.table)
        for key in removes:
            self._take(key)
        for resource in upserts:
            self.put(resource)
        self.table = table

    def put(self, resource: Resource) -> None:
        """Note a resource, in the place of what was there under its key."""
        key = key_of(resource)
        self._take(key)
        facts = self.facts[key] = facts_of(resource)
        for entry in _entries(key, facts):
            self._by.setdefault(entry, {})[key] = None

    def users(self, key: Key) -> Collection[Key]:
        """Who refers to a resource."""
        return self._found("refers", key)

    def claimants(self, claim: Hashable) -> Collection[Key]:
        """Who has a slot, or a key."""
        return self._found("claim", claim)

    def with_id(self, kind: str, number: int) -> Collection[Key]:
        """Who has an id: one at most."""
        return self._found("id", (kind, number))

    def with_url(self, url: str) -> Collection[Key]:
        """The upstreams of a URL, in its canonical form."""
        return self._found("url", url)

    def with_path(self, path: str) -> Collection[Key]:
        """The routes of a path."""
        return self._found("path", path)

    def _found(self, what: str, value: Hashable) -> Collection[Key]:
        return self._by.get((what, value), {}).keys()

    def _take(self, key: Key) -> None:
        facts = self.facts.pop(key, None)
        for entry in _entries(key, facts) if facts else ():
            keys = self._by[entry]
            del keys[key]
            if not keys:
                del self._by[entry]


def _entries(key: Key, facts: Facts) -> Iterator[tuple[str, Hashable]]:
    yield from (("refers", used) for used in facts.refers)
    yield from (("claim", claim) for claim in facts.claims)
    if facts.id:
        yield "id", (key[0], facts.id)
    if facts.path:
        yield "path", facts.path
    if facts.url:
        yield "url", facts.url


class Candidate:
    """The index as it would be after a change, without making it. `changed`: None where a resource goes."""

    def __init__(self, index: Index, changed: Mapping[Key, Resource | None]) -> None:
        self.changed = changed
        self._before = index
        self._ours = Index()
        for resource in changed.values():
            if resource is not None:
                self._ours.put(resource)

    def __iter__(self) -> Iterator[Key]:
        """All resources there would be."""
        yield from (key for key in self._before.facts if key not in self.changed)
        yield from self._ours.facts

    def of(self, key: Key) -> Facts | None:
        """The facts of a resource; None where it is not there (any more)."""
        return (self._ours if key in self.changed else self._before).facts.get(key)

    def users(self, key: Key) -> list[Key]:
        """Who would refer to a resource."""
        return self._both(Index.users, key)

    def claimants(self, claim: Hashable) -> list[Key]:
        """Who would have a slot, or a key."""
        return self._both(Index.claimants, claim)

    def with_id(self, kind: str, number: int) -> list[Key]:
        """Who would have an id."""
        return self._both(Index.with_id, kind, number)

    def with_path(self, path: str) -> list[Key]:
        """The routes that would have a path."""
        return self._both(Index.with_path, path)

    def names(self, kind: str) -> Collection[str]:
        """The names there would be of a kind."""
        return _Names(self, kind)

    def routes(self) -> Collection[str]:
        """What a route may be called by: its name or its path."""
        return _Routes(self, "route")

    def _both(self, ask: Callable[..., Collection[Key]], *what: Hashable) -> list[Key]:
        return [*(key for key in ask(self._before, *what) if key not in self.changed), *ask(self._ours, *what)]


class _Names(Collection[str]):
    """Names of a kind, without copying ten thousand of them."""

    def __init__(self, candidate: Candidate, kind: str) -> None:
        self._candidate = candidate
        self._kind = kind

    def __contains__(self, name: object) -> bool:
        return self._candidate.of((self._kind, str(name))) is not None

    def __iter__(self) -> Iterator[str]:
        return (name for kind, name in self._candidate if kind == self._kind)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Routes(_Names):
    """The same, where a path is a name too."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or bool(self._candidate.with_path(str(name)))
