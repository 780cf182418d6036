"""The audit log: what it holds, how it is searched, and that no change of it stays unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from controlplane.actor import ADMIN, Actor
from controlplane.store.audit import Audit, Search
from controlplane.store.migrate import opened
from controlplane.store.tables import AUDIT, AUDIT_TAIL
from tests.support.configuration import ALICE, plane, route, upstream

BOB = Actor("bob", ADMIN, "2001:db8::1", "req-2")


class Time:
    """Epoch seconds that a test sets, backwards too."""

    def __init__(self) -> None:
        self.seconds = 1_900_000_000.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_write_tells_who_what_and_from_where(database_url: str) -> None:
    """The row of a write has its actor, address, correlation id, revision, and each resource before and after."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), route("a"), message="begin")
        await parts.commit(route("a", priority=5), message="first things first")
        [entry] = await parts.audit.page(limit=1)
        assert (entry.actor, entry.role, entry.address) == ("alice", "operator", "192.0.2.7")
        assert entry.correlation_id == "req-1"
        assert (entry.action, entry.target, entry.revision, entry.number) == ("config.write", "route 'a'", 2, 2)
        [change] = entry.detail["changes"]
        assert (change["before"].get("priority"), change["after"]["priority"]) == (None, 5)
        assert entry.detail["message"] == "first things first"
        assert (await parts.audit.page())[1].target == "configuration"


async def test_search_and_pages(database_url: str) -> None:
    """Rows are found by column, time and text, in pages that stay where they are while more rows come."""
    async with opened(database_url) as database:
        time = Time()
        audit = Audit(database, time)
        for number in range(10):
            time.seconds += 10
            await audit.record(
                BOB if number % 2 else ALICE, "auth.login", f"user {number}", {"agent": f"100%_{number}"}
            )
        page = await audit.page(limit=4)
        await audit.record(BOB, "auth.logout", "user 1")
        rest = await audit.page(limit=4, before=page[-1].number)
        assert [entry.number for entry in page + rest] == [10, 9, 8, 7, 6, 5, 4, 3]
        begin = int((time.seconds - 30) * 1000)
        for search, numbers in (
            (Search({"actor": "bob"}), [11, 10, 8, 6, 4, 2]),
            (Search({"actor": "bob", "target": "user 1"}), [11, 2]),
            (Search({"action": "auth.logout"}), [11]),
            (Search({"correlation_id": "req-1", "address": "192.0.2.7"}), [9, 7, 5, 3, 1]),
            (Search({}, since=begin, until=begin + 20_000), [8, 7]),
            (Search({}, text="100%_3"), [4]),
            (Search({}, text="USER 4"), [5]),
            (Search({}, text="user_4"), []),
            (Search({"actor": "alice"}, text="none"), []),
        ):
            assert [entry.number for entry in await audit.page(search)] == numbers
            assert await audit.count(search) == len(numbers)
        lines = [orjson.loads(line) async for line in audit.lines(Search({"actor": "alice"}))]
        assert [line["number"] for line in lines] == [1, 3, 5, 7, 9]
        assert lines[0] == orjson.loads(orjson.dumps((await audit.page(before=2))[0]))


@asynccontextmanager
async def written(url: str, rows: int = 6) -> AsyncIterator[Audit]:
    async with opened(url) as database:
        audit = Audit(database, Time())
        for number in range(rows):
            await audit.record(ALICE, "auth.login", f"user {number}", {"number": number, "share": 0.1, "text": "é"})
        yield audit


async def test_a_whole_chain_verifies(database_url: str) -> None:
    """Whatever rows hold, and from however many control planes they come, the chain is whole."""
    async with written(database_url) as audit, opened(database_url) as another:
        other = Audit(another)
        await asyncio.gather(*(log.record(BOB, "auth.login", "x") for log in (audit, other) * 10))
        verified = await audit.verify()
        assert (verified.broken, verified.rows) == (None, 26)
        assert verified.hash == (await audit.page(limit=1))[0].hash
        assert await other.verify() == verified


async def test_what_text_cannot_hold_is_replaced(database_url: str) -> None:
    """PostgreSQL's text has no NUL: whoever logs in under such a name is audited all the same, and can be found."""
    async with opened(database_url) as database:
        audit = Audit(database)
        await audit.record(Actor("a\0b", ADMIN), "auth.failed", "user '\0'", {"name": "\0"})
        [entry] = await audit.page(Search({"actor": "a\0b"}, text="'\0'"))
        assert (entry.actor, entry.target) == ("a\ufffdb", "user '\ufffd'")
        assert (await audit.verify()).broken is None


TAMPERING: dict[str, tuple[Any, int, str]] = {
    "a changed detail": (update(AUDIT).where(AUDIT.c.number == 3).values(detail={"number": 9}), 3, "is not what"),
    "a changed actor": (update(AUDIT).where(AUDIT.c.number == 1).values(actor="bob"), 1, "is not what"),
    "a changed time": (update(AUDIT).where(AUDIT.c.number == 6).values(at=1), 6, "is not what"),
    "a removed row": (delete(AUDIT).where(AUDIT.c.number == 4), 4, "is missing"),
    "removed first rows": (delete(AUDIT).where(AUDIT.c.number < 3), 1, "is missing"),
    "a removed end": (delete(AUDIT).where(AUDIT.c.number > 4), 5, "are missing"),
    "a moved tail": (update(AUDIT_TAIL).values(hash="0"), 6, "the tail is not"),
}


@pytest.mark.parametrize("what", TAMPERING)
async def test_tampering_is_found(database_url: str, what: str) -> None:
    """The first row that does not fit is told, whatever was done to it."""
    statement, broken, reason = TAMPERING[what]
    async with written(database_url) as audit, opened(database_url) as database:
        async with database.transaction() as connection:
            await connection.execute(statement)
        verified = await audit.verify()
        assert (verified.broken, verified.rows) == (broken, broken if what == "a moved tail" else broken - 1)
        assert reason in verified.reason


async def test_a_row_put_in_between_is_found(database_url: str) -> None:
    """Rows cannot be swapped or doubled either: each one's number and hash are its own."""
    async with written(database_url) as audit, opened(database_url) as database:
        async with database.transaction() as connection:
            row = (await connection.execute(select(AUDIT).where(AUDIT.c.number == 2))).one()
            await connection.execute(delete(AUDIT).where(AUDIT.c.number == 5))
            await connection.execute(insert(AUDIT).values({**row._mapping, "number": 5}))
        assert (await audit.verify()).broken == 5


async def test_a_clock_that_goes_back_changes_no_order(database_url: str) -> None:
    """Rows, revisions and what is newest follow their numbers; times are only shown."""
    async with opened(database_url) as database:
        time = Time()
        audit = Audit(database, time)
        for _ in range(3):
            await audit.record(ALICE, "auth.login", "x")
            time.seconds -= 86_400
        assert [entry.number for entry in await audit.page()] == [3, 2, 1]
        assert (await audit.verify()).broken is None


async def test_clocks_that_differ_between_control_planes(database_url: str) -> None:
    """A control plane a day ahead and one a day behind write one line; the newest is the last one written."""
    ahead, behind = Time(), Time()
    ahead.seconds += 86_400
    async with plane(database_url, ahead) as first, plane(database_url, behind) as second:
        await first.commit(upstream("u"), route("a", priority=1))
        await second.commit(route("a", priority=2))
        await first.commit(route("b"))
        await second.commit(route("a", priority=3))
        assert (await first.newest()).revision == 4
        assert (await first.newest()).table.digest == (await second.newest()).table.digest
        revisions = await first.store.history.page()
        assert [one.revision for one in revisions] == [4, 3, 2, 1]
        assert revisions[0].at < revisions[1].at


TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(detail=st.dictionaries(TEXT, VALUE, max_size=3))
async def test_any_detail_is_verified(tmp_path_factory: Any, detail: dict[str, Any]) -> None:
    """What is read back is what was hashed, for any JSON."""
    async with opened(f"sqlite:///{tmp_path_factory.mktemp('audit')}/flexgate.db") as database:
        audit = Audit(database)
        await audit.record(ALICE, "x", "y", detail)
        assert (await audit.verify()).broken is None
