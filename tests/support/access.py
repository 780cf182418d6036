"""The parts of access over a database of the test's own, with clocks that it turns and passwords that cost little."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from argon2 import PasswordHasher

from controlplane.actor import ADMIN, Actor
from controlplane.auth.parts import Auth, AuthSettings, made
from controlplane.auth.passwords import Passwords
from controlplane.events import Events
from controlplane.store.audit import Audit
from controlplane.store.migrate import opened
from shared.pb.access_pb2 import CreateUserRequest

ROOT = Actor("root", ADMIN, "192.0.2.1", "req-1")
ADA = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Hands:
    """A clock that stands still until it is set; epoch or monotonic seconds."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """One replica's parts; `audit` and `events` are what it wrote."""

    auth: Auth
    audit: Audit
    events: Events
    now: Hands = field(default_factory=Hands)
    clock: Hands = field(default_factory=Hands)

    async def actions(self) -> list[str]:
        """What the audit log tells, oldest first."""
        return [entry.action async for entry in self.audit.all()]


@asynccontextmanager
async def rigged(url: str, *, replicas: int = 1, **settings: Any) -> AsyncIterator[list[Rig]]:
    """So many replicas over one database, started; they follow each other only when the test says so."""
    async with AsyncExitStack() as stack:
        rigs = []
        for _ in range(replicas):
            database = await stack.enter_async_context(opened(url))
            now, clock, events, audit = Hands(), Hands(), Events(), Audit(database)
            passwords = Passwords(CHEAP)
            auth = made(AuthSettings(**settings), database, audit, events, passwords=passwords, now=now, clock=clock)
            await auth.access.start()
            rigs.append(Rig(auth, audit, events, now, clock))
        yield rigs


async def ada(rig: Rig, role: str = ADMIN, name: str = "ada") -> None:
    """A user with a password."""
    await rig.auth.users.create(CreateUserRequest(name=name, role=role, password=ADA), ROOT)
