"""Pruning of history: what goes, what stays whatever its age, and that what is left is whole. On both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from controlplane.changes import Change
from controlplane.store.audit import Audit
from controlplane.store.consistency import findings
from controlplane.store.history import NoRevision, Pruned
from controlplane.store.pruning import DAY, STEP, Keep, Pruner
from controlplane.store.sql import SqlStore
from controlplane.store.tables import AUDIT, CHANGES, HORIZON, RESOURCES, REVISIONS
from tests.support.configuration import ALICE, Plane, delete, plane, route, upstream

FOREVER = float("inf")
DRAWN = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Days:
    """A clock that stands still until a test lets days pass; epoch seconds."""

    def __init__(self) -> None:
        self.seconds = 21_990 * DAY  # midnight

    def __call__(self) -> float:
        return self.seconds

    def pass_by(self, days: float) -> None:
        self.seconds += days * DAY


async def at_once(_seconds: float) -> None:
    """A pause that is none."""


def pruner(parts: Plane, clock: Days, *, held: list[int] | None = None, **keep: Any) -> Pruner:
    """Prunes with `held` revisions that somebody needs."""

    async def holder(_connection: object, _epoch: str) -> list[int]:
        return held or []

    kept = Keep(**({"revisions": 1, "revisions_for": FOREVER, "audit_for": FOREVER} | keep))
    return Pruner(parts.database, parts.audit, kept, holders=[holder], now=clock, sleep=at_once)


@asynccontextmanager
async def daily(url: str, writes: int = 9) -> AsyncIterator[tuple[Plane, Days]]:
    """A configuration that is changed once a day: revision 1 has the upstream, the others a route each."""
    clock = Days()
    async with plane(url, clock) as parts:
        await parts.commit(upstream("u"))
        for number in range(writes - 1):
            clock.pass_by(1)
            await parts.commit(route("abc"[number % 3], priority=number))
        yield parts, clock


async def kept(parts: Plane) -> list[int]:
    """The revisions that are left, oldest first."""
    return [one.revision for one in await parts.store.history.page()][::-1]


@pytest.mark.parametrize(
    ("keep", "held", "oldest"),
    [
        ({}, [], 1),
        ({"revisions_for": 3 * DAY}, [], 6),
        ({"revisions_for": 3 * DAY, "revisions": 5}, [], 5),
        ({"revisions_for": 3 * DAY, "revisions": 50}, [], 1),
        ({"revisions_for": 3 * DAY}, [3], 3),
        ({"revisions_for": 3 * DAY}, [8, 4], 4),
        ({"revisions_for": 3 * DAY}, [8], 6),
        ({"revisions_for": DAY / 24}, [], 9),
    ],
)
async def test_what_is_old_goes_and_what_is_needed_stays(
    database_url: str, keep: dict[str, Any], held: list[int], oldest: int
) -> None:
    """By age; but never the newest so many, and never what somebody holds on to, nor what comes after it."""
    async with daily(database_url) as (parts, clock):
        clock.pass_by(0.5)
        pruning = pruner(parts, clock, held=held, **keep)
        await pruning.prune()
        assert await kept(parts) == list(range(oldest, 10))
        assert (pruning.oldest, pruning.revisions) == (oldest, oldest - 1)
        assert await findings(parts.database) == []
        rows = [(one.target, one.detail) for one in await parts.audit.page() if one.action == "history.prune"]
        changes = oldest if oldest > 1 else 0  # settings and upstream in the first, then one each
        told = [(f"revisions to {oldest - 1}", {"from": 1, "to": oldest - 1, "changes": changes})]
        assert rows == (told if oldest > 1 else [])
        await pruning.prune()
        assert await parts.audit.count() == 9 + len(rows), "a second pass finds nothing, and writes nothing"


async def test_what_is_asked_of_pruned_history_is_told(database_url: str) -> None:
    """Show, diff and rollback name what was pruned and the oldest that is kept; the rest works as before."""
    async with daily(database_url) as (parts, clock):
        five = [(one.key, one.after) for one in await parts.store.history.between(0, 5)]
        await pruner(parts, clock, revisions=5, revisions_for=DAY).prune()
        history, service = parts.store.history, parts.service
        for asking in (
            history.get(4),
            history.changes(4),
            history.between(4, 9),
            history.between(9, 4),
            service.rollback(4, ALICE),
            service.plan_rollback(4),
        ):
            with pytest.raises(Pruned, match=r"^revision 4 was pruned; oldest kept is 5$"):
                await asking
        with pytest.raises(Pruned, match=r"^revision 0 was pruned; oldest kept is 5$"):
            await history.between(0, 9)
        for unknown in (10, 11):
            with pytest.raises(NoRevision, match=f"there is no revision {unknown}"):
                await history.get(unknown)
        assert [one.key for one in await history.changes(5)] == [("route", "a")]
        assert {one.key for one in await history.between(5, 9)} == {("route", name) for name in "abc"}
        outcome = await service.rollback(5, ALICE)
        table = outcome.committed.table
        assert {key: table[key] for key in table} == {key: after for key, after in five if after is not None}
        assert await findings(parts.database) == []


async def test_one_large_revision_goes_in_one_piece(database_url: str) -> None:
    """A revision with more changes than a step has rows is pruned in a step of its own."""
    clock = Days()
    async with plane(database_url, clock) as parts:
        await parts.commit(upstream("u"))
        await parts.commit(*(route(f"r{number}") for number in range(STEP + 5)))
        await parts.commit(route("r0", priority=1))
        clock.pass_by(2)
        await parts.commit(route("r0", priority=2))
        await pruner(parts, clock, revisions_for=DAY).prune()
        assert await kept(parts) == [4]
        async with parts.database.reading() as connection:
            assert (await connection.execute(select(func.count()).select_from(CHANGES))).scalar_one() == 1
        told = [one.detail["to"] for one in await parts.audit.page() if one.action == "history.prune"]
        assert told == [3, 2, 1]
        assert await findings(parts.database) == []


async def test_a_replica_that_slept_through_a_pruning_is_right_again(database_url: str) -> None:
    """What was deleted in revisions that it never saw, and that are pruned, is gone there, too."""
    clock = Days()
    async with plane(database_url, clock) as parts, plane(database_url, clock) as sleeper:
        await parts.commit(upstream("u"), route("a"), route("b"))
        await sleeper.newest()
        await parts.commit(delete("route", "a"))
        clock.pass_by(9)
        await parts.commit(route("b", priority=3))
        await pruner(parts, clock, revisions_for=DAY).prune()
        assert await kept(parts) == [3]
        woken = await sleeper.newest()
        assert woken.revision == 3
        assert woken.table.digest == (await parts.newest()).table.digest
        assert ("route", "a") not in woken.table


async def test_one_control_plane_prunes_at_a_time(database_url: str) -> None:
    """Several that start together prune everything once between them, and writers get through meanwhile."""
    async with daily(database_url) as (parts, clock), plane(database_url, clock) as other:
        clock.pass_by(30)
        pruners = [pruner(one, clock, revisions=2, revisions_for=DAY) for one in (parts, other, parts, other)]
        await asyncio.gather(*(one.prune() for one in pruners), other.commit(route("z")))
        await pruners[0].prune()
        assert sum(one.revisions for one in pruners) == (await kept(parts))[0] - 1
        assert await findings(parts.database) == []


# ---- the audit log


async def test_a_pruned_audit_log_verifies_from_its_anchor(database_url: str) -> None:
    """The chain begins after the last row that was pruned, whose hash is that of the export made before."""
    async with daily(database_url) as (parts, clock):
        before = [entry async for entry in parts.audit.all()]
        whole = await parts.audit.verify()
        assert (whole.first, whole.anchor, whole.rows, whole.broken) == (1, "", 9, None)
        clock.pass_by(0.5)
        pruning = pruner(parts, clock, audit_for=3 * DAY)
        await pruning.prune()
        verified = await parts.audit.verify()
        assert (verified.first, verified.anchor, verified.rows) == (6, before[4].hash, 10)
        assert (verified.broken, verified.reason, pruning.rows) == (None, "", 5)
        last = (await parts.audit.page(limit=1))[0]
        assert (last.action, last.detail) == ("audit.prune", {"from": 1, "to": 5, "hash": before[4].hash})
        assert [entry.number async for entry in parts.audit.all()] == [6, 7, 8, 9, 10]
        assert await findings(parts.database) == []


@pytest.mark.parametrize("edit", ["row", "anchor", "hash", "told", "none"])
async def test_a_forged_beginning_shows(database_url: str, edit: str) -> None:
    """Whoever removes old rows by hand and moves the anchor does not find the row that tells of it."""
    async with daily(database_url) as (parts, clock):
        await pruner(parts, clock, audit_for=5 * DAY).prune()
        first = (await parts.audit.verify()).first
        [next_, *_] = [entry async for entry in parts.audit.all()]
        async with parts.database.transaction() as connection:
            if edit in {"row", "anchor"}:
                await connection.execute(AUDIT.delete().where(AUDIT.c.number == first))
            if edit == "anchor":
                await connection.execute(update(HORIZON).values(audit=first, audit_hash=next_.hash))
            if edit == "hash":
                await connection.execute(update(HORIZON).values(audit_hash="0" * 64))
            if edit == "told":
                await connection.execute(update(AUDIT).where(AUDIT.c.action == "audit.prune").values(detail={}))
        verified = await parts.audit.verify()
        assert (verified.broken is None) == (edit == "none"), verified


async def test_everything_may_be_old(database_url: str) -> None:
    """A log in which nothing was written for long is pruned to the rows that tell of it, and goes on."""
    async with daily(database_url) as (parts, clock):
        clock.pass_by(999)
        await pruner(parts, clock, audit_for=DAY, revisions_for=DAY).prune()
        assert await kept(parts) == [9]
        assert [entry.action async for entry in parts.audit.all()] == ["history.prune", "audit.prune"]
        await parts.commit(route("z"))
        assert (await parts.audit.verify()).broken is None
        assert await findings(parts.database) == []


async def test_a_pass_ends_whatever_the_clocks_say(tmp_path: Any) -> None:
    """Where the clock of who prunes is days ahead, the rows that tell of it look old at once; they wait."""
    clock, ahead = Days(), Days()
    ahead.pass_by(9)
    async with plane(f"sqlite:///{tmp_path}/flexgate.db", clock) as parts:
        for number in range(3):
            await parts.audit.record(ALICE, "session.login", f"user/{number}")
        pruning = pruner(parts, ahead, audit_for=DAY)
        for rows in (3, 4):
            await pruning.prune()
            assert (pruning.rows, await parts.audit.count()) == (rows, 1)
        assert (await parts.audit.verify()).broken is None


async def test_the_log_is_pruned_in_steps(tmp_path: Any) -> None:
    """More rows than a step has go in several transactions, each of them told; young rows are left."""
    clock = Days()
    async with plane(f"sqlite:///{tmp_path}/flexgate.db", clock) as parts:
        async with parts.database.transaction() as connection:
            for number in range(2 * STEP + 10):
                await parts.audit.append(connection, ALICE, "session.login", f"user/{number}")
        clock.pass_by(2)
        await parts.audit.record(ALICE, "session.login", "user/young")
        await pruner(parts, clock, audit_for=DAY).prune()
        assert [entry.target async for entry in parts.audit.all()] == [
            "user/young",
            *(f"audit to {number}" for number in (STEP, 2 * STEP, 2 * STEP + 10)),
        ]
        assert (await parts.audit.verify()).broken is None


# ---- at any time

PASSES = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "prune", "rollback", "days"]),
        st.integers(0, 9),
        st.integers(1, 6),
    ),
    min_size=3,
    max_size=25,
)


class Model:
    """What every revision was, by its digest, and which may have been pruned."""

    def __init__(self) -> None:
        self.digests: dict[int, bytes] = {}
        self.times: dict[int, float] = {}

    def wrote(self, store: SqlStore, now: float) -> None:
        assert store.newest is not None
        self.digests.setdefault(store.newest.revision, store.newest.table.digest)
        self.times.setdefault(store.newest.revision, now)


@DRAWN
@given(PASSES, st.data())
async def test_pruned_at_any_time_what_is_left_is_right(
    tmp_path_factory: Any, passes: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    """Whatever is written, rolled back and pruned in whatever order: no revision goes that is young, among the newest,
    or held; what is kept can be shown, compared and brought back, what is not says so; log and database verify.
    """
    clock, model = Days(), Model()
    async with plane(f"sqlite:///{tmp_path_factory.mktemp('store')}/flexgate.db", clock) as parts:
        await parts.commit(upstream("u"))
        model.wrote(parts.store, clock.seconds)
        for what, first, second in passes:
            if what == "days":
                clock.pass_by(second / 2)
            elif what == "write":
                await _write(parts, "abc"[first % 3], second)
            elif what == "rollback":
                await _roll_back(parts, model, data.draw(st.integers(1, max(model.digests) + 1)))
            else:
                held = data.draw(st.lists(st.sampled_from(sorted(model.digests)), max_size=2))
                await _prune(parts, model, clock, held, newest=first + 1, days=second)
            model.wrote(parts.store, clock.seconds)
        assert await findings(parts.database) == []
        left = await kept(parts)
        assert left == list(range(left[0], max(model.digests) + 1))
        fresh = SqlStore(parts.database, Audit(parts.database))
        committed = await fresh.read()
        assert committed is not None
        assert committed.table.digest == model.digests[left[-1]]


async def _write(parts: Plane, name: str, priority: int) -> None:
    there = ("route", name) in (await parts.newest()).table
    change: Change = delete("route", name) if there and priority % 2 else route(name, priority=priority)
    await parts.commit(change, force=True)


async def _roll_back(parts: Plane, model: Model, wanted: int) -> None:
    oldest, newest = (await kept(parts))[0], max(model.digests)
    if wanted > newest:
        with pytest.raises(NoRevision, match=f"there is no revision {wanted}"):
            await parts.service.rollback(wanted, ALICE, force=True)
    elif wanted < oldest and oldest > 1:
        with pytest.raises(Pruned, match=f"revision {wanted} was pruned; oldest kept is {oldest}"):
            await parts.service.rollback(wanted, ALICE, force=True)
    else:
        outcome = await parts.service.rollback(wanted, ALICE, force=True)
        assert outcome.committed.table.digest == model.digests[wanted]
        assert await parts.store.history.between(wanted, outcome.committed.revision) == ()


async def _prune(parts: Plane, model: Model, clock: Days, held: list[int], *, newest: int, days: int) -> None:
    before = await kept(parts)
    keep = {"revisions": newest, "revisions_for": days * DAY, "audit_for": days * DAY}
    await pruner(parts, clock, held=held, **keep).prune()
    after = await kept(parts)
    gone = set(before) - set(after)
    head = max(model.digests)
    assert all(model.times[one] < clock.seconds - days * DAY for one in gone)
    assert all(one <= head - newest for one in gone)
    assert not gone or max(gone) < min(held, default=head + 1)
    verified = await parts.audit.verify()
    assert verified.broken is None, verified.reason
    async with parts.database.reading() as connection:
        counted = (
            select(func.count()).select_from(CHANGES).where(CHANGES.c.revision.not_in(select(REVISIONS.c.revision)))
        )
        assert (await connection.execute(counted)).scalar_one() == 0
        resources = (await connection.execute(select(func.count()).select_from(RESOURCES))).scalar_one()
    assert resources == len((await parts.newest()).table)
