"""Rollouts over real streams and real databases: who gets what when, what takes a revision back, who may say what."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from grpc import aio

from controlplane.refusal import Refusal
from controlplane.rollout.plan import read_plan
from controlplane.rollout.records import Quarantined, RollingOut
from controlplane.rollout.rollouts import NoRollout, NotPossible
from controlplane.store.audit import Search
from shared.pb.rollout_pb2 import RolloutPlan
from tests.integration.controlplane_node import until
from tests.integration.rollout_fleet import BEAT, Follower, control_plane, fleet
from tests.support.configuration import ALICE, route, upstream


def plan(*percents: float, bake: float = 4 * BEAT, **more: object) -> RolloutPlan:
    """Waves by share; `bake` in seconds."""
    waves = [{"percent": percent} for percent in percents]
    return read_plan({"waves": waves, "bake": round(bake * 1000), **more})


FOREVER = 3600.0


async def test_a_good_revision_comes_in_waves(tmp_path: Path, database_url: str) -> None:
    """First one node of four, then two, then all; each wave only after the one before has served it for a while."""
    async with fleet(database_url, tmp_path, 4) as all_of_it:
        await all_of_it.begin("second", plan(25, 50))
        seen: list[tuple[int, int]] = []
        for node in all_of_it.nodes:
            node.bell.ring()
        while (rollout := await all_of_it.rollout()).state == "running":
            seen.append((rollout.wave, sum(node.revision == 2 for node in all_of_it.nodes)))
            await asyncio.sleep(BEAT / 2)
        assert all(running <= (1, 2)[wave] for wave, running in seen)
        assert {wave for wave, _ in seen} == {0, 1}
        assert rollout.state == "succeeded"
        for node in all_of_it.nodes:
            await node.runs(2)
        assert all(node.ran == [1, 2] for node in all_of_it.nodes)
        await until(lambda: all_of_it.told() == ["started", "wave", "wave", "succeeded"])


async def test_what_a_node_refuses_is_taken_back(tmp_path: Path, database_url: str) -> None:
    """The others never see it; the content before is a revision of its own, and the bad one is in quarantine."""
    async with fleet(database_url, tmp_path, 4) as all_of_it:
        await all_of_it.begin("refused", plan(25, bake=FOREVER))
        rollout = await all_of_it.until_state("rolled_back")
        chosen, others = all_of_it.chosen(rollout)
        assert len(chosen) == 1
        assert rollout.reason == f"refused by {chosen[0].name}"
        assert rollout.rollback_revision == 3
        for node in all_of_it.nodes:
            await node.runs(3)
        assert all(node.ran == [1, 3] for node in others + chosen)
        assert all(("route", "refused") not in node.table for node in all_of_it.nodes)
        service = all_of_it.control.plane.service
        with pytest.raises(Quarantined, match="the change of revision 2 again, which rollout 1 took back"):
            await service.commit([route("refused")], ALICE)
        await service.commit([route("refused")], ALICE, force=True)
        await until(lambda: all_of_it.told() == ["started", "wave", "failed", "rolled_back"])


@pytest.mark.parametrize("name", ["failing", "slow"])
async def test_what_serves_badly_is_taken_back(tmp_path: Path, name: str) -> None:
    """Answers that fail, or come late, on the chosen nodes alone: the figures of both sides tell it."""
    async with fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 5) as all_of_it:
        await all_of_it.begin(name, plan(20, bake=FOREVER))
        rollout = await all_of_it.until_state("rolled_back")
        chosen, others = all_of_it.chosen(rollout)
        assert rollout.reason.startswith("error rate: 50.00%" if name == "failing" else "p99: ")
        for node in all_of_it.nodes:
            await node.runs(3)
        assert [node.ran for node in chosen] == [[1, 2, 3]]
        assert all(node.ran == [1, 3] for node in others)


async def test_a_node_that_never_answers_fails_it(tmp_path: Path) -> None:
    """It has a time to run it; with onFail pause nothing goes back by itself."""
    async with fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 2) as all_of_it:
        await all_of_it.begin("silent", plan(50, applyTimeout=round(4 * BEAT * 1000), onFail="pause"))
        rollout = await all_of_it.until_state("paused")
        [node] = all_of_it.chosen(rollout)[0]
        assert rollout.reason == f"not applied within {4 * BEAT:g} s by {node.name}"
        assert all_of_it.told()[-1] == "paused"


async def test_waves_by_label(tmp_path: Path) -> None:
    """All nodes with the labels and only those; one that comes later with them gets it, one without does not."""
    zones = [{"zone": "a"}, {"zone": "a"}, {"zone": "b"}, {}]
    async with fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 4, zones) as all_of_it:
        waves = {"waves": [{"labels": {"zone": "a"}}], "bake": "1h"}
        await all_of_it.begin("second", read_plan(waves))
        for node in all_of_it.nodes[:2]:
            await node.runs(2)
        stub = all_of_it.control.grpc_port
        late = [("late-a", {"zone": "a"}, 2), ("late-b", {"zone": "b"}, 1)]
        async with aio.insecure_channel(f"127.0.0.1:{stub}") as channel:
            for name, labels, revision in late:
                one = Follower(channel, name, labels)
                await one.start()
                await one.runs(revision)
                await one.stop()
        assert [node.ran for node in all_of_it.nodes] == [[1, 2], [1, 2], [1], [1]]


async def test_nodes_are_shown_at_the_revision_they_are_meant_to_run(tmp_path: Path) -> None:
    """During a rollout every node is current: the chosen ones at the new revision, the others at the old; and a write
    that waits is told whom it has not come to."""
    async with fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 4) as all_of_it:
        plane = all_of_it.control.plane
        rollout = await all_of_it.begin("second", plan(50, bake=FOREVER))
        applied = await asyncio.wait_for(plane.waiting.applied(rollout.revision, 10.0), 10.0)
        rollout = await all_of_it.rollout()
        assert applied.acked + applied.held + len(applied.pending) == 4
        for node in all_of_it.chosen(rollout)[0]:
            await node.runs(2)
        await until(lambda: plane.nodes.states(plane.publisher.revision_of)["current"] == 4)
        desired = {node.id: node.desired_revision for node in plane.nodes.view(plane.publisher.revision_of)}
        assert desired == {node.name: 2 if node.name in rollout.nodes else 1 for node in all_of_it.nodes}


async def test_nothing_else_is_written_meanwhile(tmp_path: Path, database_url: str) -> None:
    """Refused with the rollout's number; forced, it ends the rollout and goes to all nodes at once."""
    async with fleet(database_url, tmp_path, 2) as all_of_it:
        service = all_of_it.control.plane.service
        await all_of_it.begin("second", plan(50, bake=FOREVER))
        with pytest.raises(RollingOut, match="rollout 1 brings revision 2 to the nodes") as refused:
            await service.commit([route("third")], ALICE)
        assert (refused.value.status, refused.value.code) == (409, "rollout_running")
        await service.commit([route("third")], ALICE, force=True)
        for node in all_of_it.nodes:
            await node.runs(3)
        rollout = await all_of_it.until_state("superseded")
        assert (rollout.reason, rollout.ended_by) == ("revision 3 was written over it", "alice")
        await until(lambda: all_of_it.told()[-1] == "superseded")


async def test_operators_have_the_last_word(tmp_path: Path, database_url: str) -> None:
    """Pause and resume, promote, abort: by their names, in the audit log, and only where it means something."""
    async with fleet(database_url, tmp_path, 2) as all_of_it:
        rollouts, audit = all_of_it.control.plane.rollouts, all_of_it.control.plane.audit
        await all_of_it.begin("second", plan(50, bake=FOREVER))
        assert (await rollouts.ask(1, "pause", ALICE)).reason == "paused by alice"
        with pytest.raises(NotPossible, match="the rollout is paused"):
            await rollouts.ask(1, "pause", ALICE)
        assert (await rollouts.ask(1, "resume", ALICE)).state == "running"
        assert (await rollouts.ask(1, "promote", ALICE)).state == "succeeded"
        for node in all_of_it.nodes:
            await node.runs(2)
        with pytest.raises(NotPossible):
            await rollouts.ask(1, "abort", ALICE)
        with pytest.raises(NoRollout):
            await rollouts.ask(9, "abort", ALICE)
        await all_of_it.begin("third", plan(50, bake=FOREVER))
        await rollouts.ask(2, "abort", ALICE)
        rollout = await all_of_it.until_state("aborted", id_=2)
        assert (rollout.reason, rollout.ended_by, rollout.rollback_revision) == ("aborted by alice", "alice", 4)
        for node in all_of_it.nodes:
            await node.runs(4)
        actions = [entry.action for entry in await audit.page(Search({"actor": "alice"}))]
        asked = ["rollout.rolling_back", "rollout.succeeded", "rollout.running", "rollout.paused"]
        assert [action for action in actions if action.startswith("rollout.")] == asked


async def test_a_restart_goes_on_where_it_was(tmp_path: Path, database_url: str) -> None:
    """The new process holds back what the old one did, sends no node back, and drives on from the same second."""
    async with AsyncExitStack() as first:
        all_of_it = await first.enter_async_context(fleet(database_url, tmp_path, 4))
        nodes = all_of_it.nodes
        await all_of_it.begin("second", plan(20, bake=FOREVER))
        await until(lambda: sum(node.revision == 2 for node in nodes) == 1)
        rollout = await all_of_it.rollout()
        before = await all_of_it.control.plane.rollouts.records.get(1)
    async with control_plane(database_url, tmp_path) as (control, channel):
        again = [Follower(channel, node.name) for node in nodes]
        for old, node in zip(nodes, again, strict=True):
            node.held, node.table = old.held, old.table
            await node.start()
        stranger = Follower(channel, "stranger")
        await stranger.start()
        await stranger.runs(1)
        records = control.plane.rollouts.records
        record = await records.get(1)
        assert before is not None
        async with asyncio.timeout(20):
            while record is None or record.driver == before.driver:
                await asyncio.sleep(BEAT)
                record = await records.get(1)
        assert record.rollout.state == "running"
        assert record.rollout.nodes == rollout.nodes
        await until(lambda: all(node.ran for node in again))
        assert [node.ran for node in again] == [[2] if node.name in rollout.nodes else [1] for node in again]
        assert (await control.plane.rollouts.ask(1, "promote", ALICE)).state == "succeeded"
        for node in (*again, stranger):
            await node.runs(2)
            await node.stop()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_replicas_drive_as_one(tmp_path: Path, database_url: str) -> None:
    """Nodes of both count, whoever drives; what one node refuses is taken back on both; nothing is done twice."""
    async with (
        fleet(database_url, tmp_path / "a", 2) as all_of_it,
        control_plane(database_url, tmp_path / "b") as (second, channel),
    ):
        more = [Follower(channel, f"m/{number}") for number in range(2)]
        for node in more:
            await node.start()
            await node.runs(1)
        rollout = await all_of_it.begin("second", plan(50, 100))
        await all_of_it.until_state("succeeded", "rolling_back", "rolled_back")
        rollout = await all_of_it.rollout()
        assert (rollout.state, sorted(rollout.nodes)) == ("succeeded", ["m/0", "m/1", "n/0", "n/1"])
        for node in (*all_of_it.nodes, *more):
            await node.runs(2)
        await all_of_it.begin("refused", plan(100, bake=FOREVER))
        rollout = await all_of_it.until_state("rolled_back", id_=2)
        for node in (*all_of_it.nodes, *more):
            await node.runs(4)
        assert second.plane.service.committed is not None
        assert second.plane.publisher.revision == rollout.rollback_revision == 4
        for node in more:
            await node.stop()


async def test_another_replica_takes_over(tmp_path: Path, database_url: str) -> None:
    """The one that drives stops; its nodes come to the other, which finishes what was begun."""
    async with control_plane(database_url, tmp_path / "b") as (second, channel):
        async with fleet(database_url, tmp_path / "a", 2) as all_of_it:
            await all_of_it.begin("second", plan(50, bake=20 * BEAT))
            await until(lambda: sum(node.revision == 2 for node in all_of_it.nodes) == 1)
        again = [Follower(channel, node.name) for node in all_of_it.nodes]
        for old, node in zip(all_of_it.nodes, again, strict=True):
            node.held, node.table = old.held, old.table
            await node.start()
        for node in again:
            await node.runs(2)
        await until(lambda: any(event.name == "config.rollout.succeeded" for event in second.plane.events.newest()))
        for node in again:
            await node.stop()


async def test_the_first_revision_cannot_be_staged(tmp_path: Path) -> None:
    """There is nothing to go back to, and it is said; nothing is written."""
    async with control_plane(f"sqlite:///{tmp_path}/f.db", tmp_path) as (control, _):
        with pytest.raises(Refusal, match="there is nothing to go back to"):
            await control.plane.service.commit([upstream("u"), route("a")], ALICE, rollout=plan(10))
        assert control.plane.service.committed is None
