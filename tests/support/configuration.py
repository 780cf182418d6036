"""A service over a real database, and the resources that tests put into it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from controlplane.actor import OPERATOR, Actor
from controlplane.changes import Change, Delete, Put, etag_of
from controlplane.publisher import Publisher
from controlplane.service import Outcome, Service
from controlplane.store import Committed
from controlplane.store.audit import Audit
from controlplane.store.database import Database
from controlplane.store.migrate import opened
from controlplane.store.sql import SqlStore
from shared.pb.resources_pb2 import Resource, Route, Upstream
from tests.support.clock import Clock

ALICE = Actor("alice", OPERATOR, "192.0.2.7", "req-1")


def upstream(name: str, **fields: object) -> Put:
    """An upstream with an address of its own."""
    return Put("upstream", name, Upstream(name=name, **({"url": f"http://{name}.internal"} | fields)))  # type: ignore[arg-type]  # whatever fields the test sets


def route(name: str, to: str = "u", **fields: object) -> Put:
    """A route with a path of its own."""
    return Put("route", name, Route(name=name, upstream=to, **({"path": f"/{name}/*"} | fields)))  # type: ignore[arg-type]  # as above


def delete(kind: str, name: str) -> Delete:
    return Delete(kind, name)


@dataclass(frozen=True, slots=True)
class Plane:
    """The parts of one control plane that write and read configuration."""

    database: Database
    audit: Audit
    store: SqlStore
    publisher: Publisher
    service: Service

    async def commit(self, *changes: Change, force: bool = False, message: str = "") -> Outcome:
        return await self.service.commit(changes, ALICE, force=force, message=message)

    async def newest(self) -> Committed:
        committed = await self.store.read()
        assert committed is not None
        return committed

    async def resource(self, kind: str, name: str) -> Resource:
        return (await self.newest()).table[kind, name]

    async def etag(self, kind: str, name: str) -> str:
        return etag_of(await self.resource(kind, name))


@asynccontextmanager
async def plane(url: str, clock: Callable[[], float] | None = None) -> AsyncIterator[Plane]:
    """A control plane's inner parts over the database of this URL."""
    now = clock or Clock()
    async with opened(url) as database:
        audit = Audit(database, now)
        store = SqlStore(database, audit, now=now)
        publisher = Publisher(store)
        yield Plane(database, audit, store, publisher, Service(store, publisher))
