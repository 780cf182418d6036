"""The audit log: who did what, when, from where. Append-only, and chained by hashes, so that a change of it shows.

Each row's hash is SHA-256 over the hash before it and the row's own canonical JSON. Whoever rewrites or removes a row
must rewrite all that follow and the tail; keep the newest hash elsewhere (`verify` tells it) to notice that too. Rows
are written in the transaction of what they tell, and last in it: the tail is one row that all who append wait for.
Old rows may be pruned (`pruning`): the hash of the last of them stays, and the chain begins after it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256

import orjson
from sqlalchemy import ColumnElement, Row, Select, Text, and_, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import Actor
from controlplane.changes import Json
from controlplane.store.database import Database
from controlplane.store.horizon import horizon_of
from controlplane.store.tables import AUDIT, AUDIT_TAIL

PRUNED = "audit.prune"
"""The action of a row that tells which rows before it were pruned."""
BATCH = 1000
"""Rows that are read at a time."""
EQUAL = ("actor", "action", "target", "address", "correlation_id")
"""Columns that a search compares whole."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `at` is in epoch milliseconds; `revision` is that of the configuration which it made, if any."""

    number: int
    at: int
    actor: str
    role: str
    address: str
    correlation_id: str
    action: str
    target: str
    revision: int | None
    detail: Json
    hash: str


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; all that is given must hold. `text` is looked for in target, action, actor and detail."""

    equal: Mapping[str, str]  # by a column of EQUAL
    since: int | None = None  # epoch milliseconds, included
    until: int | None = None  # excluded
    text: str = ""


EVERYTHING = Search({})


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at the whole chain found: `broken` is the number of the first row that does not fit, None if all do.

    `first` is the oldest row that is kept, chained to the `anchor`: the hash of the last that was pruned, "" where none
    was. `hash` is that of the row `rows`, the newest: kept elsewhere, it proves later that nothing was rewritten.
    """

    first: int
    anchor: str
    rows: int
    hash: str
    broken: int | None = None
    reason: str = ""


class Audit:
    """The audit log of a database."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    async def append(
        self,
        connection: AsyncConnection,
        actor: Actor,
        action: str,
        target: str,
        detail: Json | None = None,
        *,
        revision: int | None = None,
    ) -> Entry:
        """Add a row, as the last thing in a transaction. `detail` must hold no secrets."""
        query = select(AUDIT_TAIL.c.number, AUDIT_TAIL.c.hash).with_for_update()
        number, previous = (await connection.execute(query)).one()
        row: Json = {
            "number": number + 1,
            "at": int(self._now() * 1000),
            "actor": _plain(actor.name),
            "role": actor.role,
            "address": _plain(actor.address),
            "correlation_id": _plain(actor.correlation_id),
            "action": action,
            "target": _plain(target),
            "revision": revision,
            "detail": detail or {},
        }
        row["hash"] = chained(previous, row)
        await connection.execute(AUDIT.insert().values(row))
        await connection.execute(AUDIT_TAIL.update().values(number=row["number"], hash=row["hash"]))
        return Entry(**row)

    async def record(self, actor: Actor, action: str, target: str, detail: Json | None = None) -> Entry:
        """Add a row about something that has no transaction of its own, such as a login that failed."""
        async with self._database.transaction() as connection:
            return await self.append(connection, actor, action, target, detail)

    async def page(
        self, search: Search = EVERYTHING, *, before: int | None = None, skip: int = 0, limit: int = 100
    ) -> list[Entry]:
        """The newest rows that are found, newest first; `before` is the number after which the last page ended."""
        query = select(AUDIT).where(*_conditions(search)).order_by(AUDIT.c.number.desc()).limit(limit).offset(skip)
        if before is not None:
            query = query.where(AUDIT.c.number < before)
        async with self._database.reading() as connection:
            return [_entry(row) for row in await connection.execute(query)]

    async def count(self, search: Search = EVERYTHING) -> int:
        """How many rows are found in all."""
        query = select(func.count()).select_from(AUDIT).where(*_conditions(search))
        async with self._database.reading() as connection:
            return (await connection.execute(query)).scalar_one()

    async def all(self, search: Search = EVERYTHING) -> AsyncIterator[Entry]:
        """Every row that is found, oldest first, read in batches."""
        after = 0
        while True:
            query = select(AUDIT).where(AUDIT.c.number > after, *_conditions(search))
            async with self._database.reading() as connection:
                rows = (await connection.execute(_oldest(query))).all()
            for row in rows:
                yield _entry(row)
            if len(rows) < BATCH:
                return
            after = rows[-1].number

    async def lines(self, search: Search = EVERYTHING) -> AsyncIterator[bytes]:
        """The same as JSON lines."""
        async for entry in self.all(search):
            yield orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)

    async def verify(self) -> Verified:
        """Whether the chain is whole from the oldest row that is kept to the tail, as it is when this begins.

        Where rows were pruned, the last row that tells of it must name the very row that the chain begins after.
        """
        async with self._database.reading() as connection:
            tail = (await connection.execute(select(AUDIT_TAIL.c.number, AUDIT_TAIL.c.hash))).one()
            past = await horizon_of(connection)
            chain = Chain(past.audit, past.audit_hash)
            while chain.number < tail.number and not chain.reason:
                rows = (await connection.execute(_oldest(select(AUDIT).where(AUDIT.c.number > chain.number)))).all()
                chain.take([_entry(row) for row in rows])
        if not chain.reason and chain.hash != tail.hash:
            chain.broken, chain.reason = chain.number, "the tail is not that of the last row"
        if not chain.reason and chain.pruned != (past.audit, past.audit_hash):
            chain.broken, chain.reason = past.audit + 1, f"no row tells that those before {past.audit + 1} were pruned"
        return Verified(past.audit + 1, past.audit_hash, chain.number, chain.hash, chain.broken, chain.reason)


class Chain:
    """Rows that follow each other: `number` and `hash` are those of the last that fitted.

    `pruned`: (number, hash) of the last row that was pruned, as the rows tell it; (0, ""): they tell of none.
    """

    def __init__(self, number: int, hash_: str) -> None:
        self.number = number
        self.hash = hash_
        self.pruned: tuple[int, str] = (0, "")
        self.broken: int | None = None
        self.reason = ""

    def take(self, rows: Sequence[Entry]) -> None:
        """The next rows; none, where there should be some."""
        if not rows:
            self.broken, self.reason = self.number + 1, f"rows after {self.number} are missing"
        for row in rows:
            content = asdict(row)
            if row.number != self.number + 1:
                self.broken, self.reason = self.number + 1, f"row {self.number + 1} is missing"
            elif content.pop("hash") != chained(self.hash, content):
                self.broken, self.reason = row.number, f"row {row.number} is not what was written"
            if self.reason:
                return
            self.number, self.hash = row.number, row.hash
            if row.action == PRUNED:
                self.pruned = row.detail.get("to", 0), row.detail.get("hash", "")


def chained(previous: str, row: Mapping[str, object]) -> str:
    """The hash of a row (without its own) after the row with the hash `previous`."""
    return sha256(previous.encode() + orjson.dumps(dict(row), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _plain(text: str) -> str:
    """What PostgreSQL keeps as text: anything but NUL."""
    return text.replace("\0", "\ufffd")


def _conditions(search: Search) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [AUDIT.c[name] == _plain(value) for name, value in search.equal.items()]
    if search.since is not None:
        found.append(AUDIT.c.at >= search.since)
    if search.until is not None:
        found.append(AUDIT.c.at < search.until)
    if search.text:
        columns = (AUDIT.c.target, AUDIT.c.action, AUDIT.c.actor, cast(AUDIT.c.detail, Text))
        found.append(or_(*(column.icontains(_plain(search.text), autoescape=True) for column in columns)))
    return [and_(*found)] if found else []


def _oldest(query: Select[tuple[object, ...]]) -> Select[tuple[object, ...]]:
    return query.order_by(AUDIT.c.number).limit(BATCH)


def _entry(row: Row[tuple[object, ...]]) -> Entry:
    return Entry(**row._mapping)
