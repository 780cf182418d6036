"""Revisions: who made which, what lies between two, and the way back. On SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from controlplane.changes import Change, Put
from controlplane.plan import steps_of
from controlplane.refusal import Guarded
from controlplane.store.consistency import findings
from controlplane.store.history import NoRevision, Wanted
from controlplane.store.tables import CHANGES
from shared.document import read
from shared.faults import ConfigError
from shared.pb.resources_pb2 import Credential
from shared.table import SETTINGS, unpack
from tests.support.configuration import ALICE, Plane, delete, plane, route, upstream


async def written(parts: Plane) -> None:
    """Three revisions."""
    await parts.commit(upstream("u"), route("a"), message="begin")
    await parts.commit(route("a", priority=5), route("b"), message="more")
    await parts.service.replace(read("upstreams: [{name: u, url: 'http://u.internal'}]"), ALICE, message="empty")


async def test_revisions_are_listed(database_url: str) -> None:
    """Newest first, in pages, with who, what and why; filtered by actor, action and resource."""
    async with plane(database_url) as parts:
        await written(parts)
        history = parts.store.history
        page = await history.page(limit=2)
        assert [(one.revision, one.action, one.message, one.changes) for one in page] == [
            (3, "apply", "empty", 2),
            (2, "write", "more", 2),
        ]
        assert [one.revision for one in await history.page(before=2)] == [1]
        assert (page[0].actor, page[0].correlation_id, page[0].epoch) == (
            "alice",
            "req-1",
            (await parts.newest()).epoch,
        )
        assert page[0].digest == (await parts.newest()).table.digest.hex()
        assert await history.count() == 3
        for wanted, revisions in (
            (Wanted(actor="bob"), []),
            (Wanted(action="write"), [2, 1]),
            (Wanted(key=("route", "b")), [3, 2]),
            (Wanted(key=("upstream", "u")), [1]),
        ):
            assert [one.revision for one in await history.page(wanted)] == revisions
            assert await history.count(wanted) == len(revisions)
        with pytest.raises(NoRevision, match="there is no revision 4"):
            await history.get(4)


async def test_what_lies_between_two_revisions(database_url: str) -> None:
    """In either direction, by resource and field; what was changed and changed back is not told."""
    async with plane(database_url) as parts:
        await written(parts)
        history = parts.store.history
        steps = {(s.action, *s.key): [f.path for f in s.fields] for s in steps_of(await history.between(1, 2))}
        assert steps == {("update", "route", "a"): ["priority"], ("create", "route", "b"): []}
        assert [(c.action, *c.key) for c in await history.between(1, 3)] == [("delete", "route", "a")]
        assert [(c.action, *c.key) for c in await history.between(3, 1)] == [("create", "route", "a")]
        assert await history.between(2, 2) == ()
        assert {c.key for c in await history.between(0, 1)} == {SETTINGS, ("upstream", "u"), ("route", "a")}
        assert await history.changes(2) == await history.between(1, 2)
        with pytest.raises(NoRevision):
            await history.between(1, 9)


async def test_a_rollback_is_a_new_revision(database_url: str) -> None:
    """It has the old content, ids included, goes through plan, check and guard, and can itself be rolled back."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), *(route(f"r{number}") for number in range(8)))
        old = await parts.newest()
        await parts.commit(*(delete("route", f"r{number}") for number in range(8)), upstream("v"), force=True)
        plan = await parts.service.plan_rollback(1)
        assert {step.action for step in plan.steps} == {"create", "delete"}
        outcome = await parts.service.rollback(1, ALICE)
        assert (outcome.committed.revision, outcome.committed.table.digest) == (3, old.table.digest)
        assert (await parts.store.history.get(3)).message == "back to revision 1"
        with pytest.raises(Guarded):
            await parts.service.rollback(2, ALICE)
        await parts.service.rollback(2, ALICE, force=True)
        assert unpack(await parts.resource("upstream", "v")).id == 2  # type: ignore[attr-defined]  # an upstream
        with pytest.raises(NoRevision):
            await parts.service.rollback(9, ALICE)
        assert await findings(parts.database) == []


async def test_a_rollback_is_checked(database_url: str) -> None:
    """Old content that is not good any more, by the rules of today, is refused with its faults."""
    async with plane(database_url) as parts:
        await parts.commit(upstream("u"), route("a"))
        await parts.commit(delete("route", "a"))
        bad = {"name": "a", "id": 1, "path": "a", "upstream": "u"}  # as a version with other rules would have kept it
        async with parts.database.transaction() as connection:
            await connection.execute(update(CHANGES).where(CHANGES.c.revision == 2).values(before=bad))
        with pytest.raises(ConfigError, match="a path starts with"):
            await parts.service.rollback(1, ALICE)


WRITES = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, 0, 1, 2])), max_size=3, unique_by=lambda w: w[0]),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WRITES, st.data())
async def test_any_revision_can_be_brought_back(tmp_path_factory: Any, writes: Any, data: st.DataObject) -> None:
    """Whatever was written, a rollback to any revision makes the very table of that revision."""
    async with plane(f"sqlite:///{tmp_path_factory.mktemp('store')}/flexgate.db") as parts:
        await parts.commit(upstream("u"))
        digests = {1: (await parts.newest()).table.digest}
        for write in writes:
            there = {name for kind, name in (await parts.newest()).table if kind == "route"}
            changes: list[Change] = [
                delete("route", name) if priority is None else route(name, priority=priority)
                for name, priority in write
                if priority is not None or name in there
            ]
            committed = (await parts.commit(*changes)).committed
            digests[committed.revision] = committed.table.digest
        wanted = data.draw(st.sampled_from(sorted(digests)))
        outcome = await parts.service.rollback(wanted, ALICE)
        assert outcome.committed.table.digest == digests[wanted]
        assert await findings(parts.database) == []


async def test_secrets_come_back_with_a_rollback(database_url: str) -> None:
    """What is not shown is kept all the same."""
    async with plane(database_url) as parts:
        consumer = read("consumers: [{name: c}]").config.consumers[0]
        secret = Credential(consumer="c", type="hmac", key="id", secret="hunter2")
        await parts.commit(Put("consumer", "c", consumer), Put("credential", "k", secret))
        await parts.commit(delete("credential", "k"))
        await parts.service.rollback(1, ALICE)
        assert unpack(await parts.resource("credential", "k")).secret == "hunter2"  # type: ignore[attr-defined]  # a credential
