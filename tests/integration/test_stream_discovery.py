"""The node's end of the configuration stream, against a scripted control plane over real channels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared import __version__
from shared.capabilities import ANNOUNCED
from shared.faults import Fault
from shared.pb.discovery_pb2 import Held
from tests.integration.stream_control_plane import ControlPlane, DataPlaneNode, NodeStream, control_plane, node
from tests.integration.stream_target import names, route, table

ONE, TWO = table("a"), table("a", "b")


@asynccontextmanager
async def at_one(cache_dir: Path) -> AsyncIterator[tuple[DataPlaneNode, ControlPlane, NodeStream]]:
    """A node that serves revision 1."""
    async with control_plane() as cp, node(cache_dir, cp.address) as one:
        stream = await cp.stream()
        await stream.snapshot(ONE, 1)
        assert (await stream.answer()).ack.revision == 1
        yield one, cp, stream


def kept(cache_dir: Path) -> list[Path]:
    """The files of the generations that are on disk."""
    return list(cache_dir.glob("worker-0/generation-*.lkg"))


async def test_hello_tells_who_comes(tmp_path: Path) -> None:
    """The first message names the node, its instance, version, labels and kinds; it holds nothing yet."""
    async with control_plane() as cp, node(tmp_path, cp.address, node_token="t0ken"):
        stream = await cp.stream()
        hello = stream.hello
        assert (hello.node_id, hello.instance_epoch, hello.version) == ("n/0", "instance", __version__)
        assert (dict(hello.labels), set(hello.capabilities)) == ({"zone": "a"}, {*ANNOUNCED, "ask"})
        assert not hello.HasField("held")
        assert stream.metadata["authorization"] == "Bearer t0ken"


async def test_a_snapshot_is_served_and_acknowledged(tmp_path: Path) -> None:
    """All chunks, one apply, one Ack with nonce, revision and digest; then the node says what it serves."""
    async with control_plane() as cp, node(tmp_path, cp.address) as one:
        stream = await cp.stream()
        await stream.snapshot(TWO, 7)
        ack = (await stream.answer()).ack
        assert (ack.nonce, ack.revision, ack.digest) == ("s7", 7, TWO.digest)
        assert (one.target.applied, one.target.table) == ([7], TWO)
        status = one.discovery.status
        assert (status.source, status.revision, status.connected, status.last_error) == ("stream", 7, True, "")
        assert status.age_seconds is not None


async def test_a_delta_is_served_and_acknowledged(tmp_path: Path) -> None:
    """Only what changed travels; the table after it has the promised digest."""
    async with at_one(tmp_path) as (one, _, stream):
        await stream.delta(ONE, TWO, 1, 2)
        ack = (await stream.answer()).ack
        assert (ack.nonce, ack.revision, ack.digest) == ("d2", 2, TWO.digest)
        assert one.target.table == TWO


async def test_a_refused_revision_leaves_the_old_one(tmp_path: Path) -> None:
    """Nack with kind, name, path and message; the old table serves on, and the next delta starts from it."""
    async with at_one(tmp_path) as (one, _, stream):
        await stream.delta(ONE, table("a", "bad"), 1, 2)
        nack = (await stream.answer()).nack
        assert (nack.nonce, nack.revision, nack.kept_revision) == ("d2", 2, 1)
        [error] = nack.errors
        assert (error.kind, error.name, error.path, error.code) == ("route", "bad", "upstream", "unknown_reference")
        assert (one.target.revision, one.discovery.status.apply_failures) == (1, 1)
        assert "there is no such upstream" in one.discovery.status.last_error
        await stream.delta(ONE, TWO, 1, 3)
        assert (await stream.answer()).ack.revision == 3
        assert one.discovery.status.last_error == ""


async def test_a_bug_in_apply_is_a_nack(tmp_path: Path) -> None:
    """A fault of ours is told like one of the configuration; the stream lives on."""
    async with at_one(tmp_path) as (one, _, stream):
        await stream.delta(ONE, table("a", "bug"), 1, 2)
        nack = (await stream.answer()).nack
        assert (nack.kept_revision, nack.errors[0].code) == (1, "internal")
        await stream.delta(ONE, TWO, 1, 3)
        assert (await stream.answer()).ack.revision == 3
        assert one.target.applied == [1, 3]


@pytest.mark.parametrize("base", [1, 5], ids=["a wrong digest", "a wrong base"])
async def test_a_table_that_cannot_be_verified_is_not_served(tmp_path: Path, base: int) -> None:
    """Resync instead of an apply; the snapshot that follows mends it, and drift is counted."""
    async with at_one(tmp_path) as (one, _, stream):
        await stream.delta(ONE, TWO, base, 2, digest=ONE.digest)
        resync = (await stream.answer()).resync
        assert (resync.nonce, resync.revision) == ("d2", 2)
        assert (one.target.applied, one.discovery.status.drift_detected) == ([1], int(base == 1))
        await stream.snapshot(TWO, 2)
        assert (await stream.answer()).ack.digest == TWO.digest
        assert one.target.table == TWO


async def test_the_same_again_is_acknowledged_without_an_apply(tmp_path: Path) -> None:
    """A repeated snapshot costs no compile."""
    async with at_one(tmp_path) as (one, _, stream):
        await stream.snapshot(ONE, 1)
        assert (await stream.answer()).ack.revision == 1
        assert one.target.applied == [1]


async def test_a_replica_that_lags_behind_does_not_turn_the_node_back(tmp_path: Path) -> None:
    """An older revision of the same epoch is refused; another epoch, a restored store, may count lower."""
    async with control_plane() as cp, node(tmp_path, cp.address) as one:
        stream = await cp.stream()
        await stream.snapshot(TWO, 9)
        assert (await stream.answer()).ack.revision == 9
        await stream.snapshot(ONE, 8)
        nack = (await stream.answer()).nack
        assert (nack.kept_revision, nack.errors[0].code) == (9, "older_revision")
        await stream.snapshot(ONE, 2, epoch="restored")
        assert (await stream.answer()).ack.revision == 2
        assert one.target.applied == [9, 2]


async def test_warnings_of_apply_travel_with_the_ack(tmp_path: Path) -> None:
    """What compile warns of is told to who wrote it."""
    async with control_plane() as cp:
        made = DataPlaneNode(tmp_path, [cp.address])
        made.target.warnings.append(Fault("mirror", "accepted, not enforced yet", "not_enforced", "route", "a"))
        made.start()
        stream = await cp.stream()
        await stream.snapshot(ONE, 1)
        [warning] = (await stream.answer()).ack.warnings
        assert (warning.code, warning.name) == ("not_enforced", "a")
        await made.kill()


async def test_heartbeats_go_both_ways(tmp_path: Path) -> None:
    """The node beats at the control plane's interval with what it serves, and hears how many nodes live."""
    async with at_one(tmp_path) as (one, _, stream):
        await stream.beat(live=5, interval_ms=20)
        beat = (await stream.said()).heartbeat
        assert (beat.revision, beat.digest) == (1, ONE.digest)
        assert one.target.live == [5]


async def test_a_silent_control_plane_is_left(tmp_path: Path) -> None:
    """Nothing heard for three intervals: the node dials again, and says what it holds."""
    async with at_one(tmp_path) as (one, cp, stream):
        await stream.beat(interval_ms=10)
        again = await cp.stream()
        assert again.hello.held == Held(revision=1, digest=ONE.digest, store_epoch="e")
        await again.current(1)
        await again.beat(live=3)
        await one.until(lambda: one.target.live[-1:] == [3], "the heartbeat")
        assert one.target.applied == [1]
        assert one.discovery.status.connected


async def test_being_sent_elsewhere_costs_no_pause(tmp_path: Path) -> None:
    """Drain: the next address at once; who is sent away again pauses."""
    async with (
        control_plane() as first,
        control_plane() as second,
        node(tmp_path, first.address, second.address) as one,
    ):
        stream = await first.stream()
        await stream.snapshot(ONE, 1)
        await stream.answer()
        await stream.drain()
        stream = await second.stream()
        assert (stream.hello.held.revision, one.pauses.asked) == (1, [])
        await stream.drain()
        await first.stream()
        assert len(one.pauses.asked) == 1


async def test_addresses_are_tried_in_turn_and_ever_more_slowly(tmp_path: Path) -> None:
    """Full jitter from 0.2 s, doubling to 30 s; it starts anew once a control plane was there."""
    async with control_plane() as gone:
        dead = gone.address
    async with control_plane() as cp:
        made = DataPlaneNode(tmp_path, [dead] * 9 + [cp.address])
        made.start()
        stream = await cp.stream()
        assert made.pauses.asked == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
        await stream.beat()
        stream.over.set()
        await cp.stream()
        assert made.pauses.asked[9:] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
        await made.kill()


async def test_an_unreachable_control_plane_is_told(tmp_path: Path) -> None:
    """The status says that there is no connection, to whom, and that nothing is served."""
    async with control_plane() as gone:
        dead = gone.address
    async with node(tmp_path, dead) as one:
        await one.pauses.bell.until(lambda: bool(one.pauses.asked), "the first attempt's end")
        status = one.discovery.status
        assert (status.connected, status.source, status.control_plane) == (False, "none", dead)
        assert status.age_seconds is None
        assert status.last_error.startswith(f"control plane {dead}: unavailable: ")


async def test_a_node_boots_from_what_it_kept_and_is_told_that_it_is_current(tmp_path: Path) -> None:
    """After a restart: served at once, Hello with what is held, and no configuration travels."""
    async with control_plane() as cp:
        async with node(tmp_path, cp.address, trust_after=0.0) as first:
            stream = await cp.stream()
            await stream.snapshot(TWO, 4)
            await stream.answer()
            while not kept(tmp_path):
                await stream.beat()  # the keeper writes in its own time; each turn is real I/O
        assert first.discovery.status.save_failures == 0
        made = DataPlaneNode(tmp_path, [cp.address])
        made.discovery.boot()
        assert (made.target.revision, made.discovery.status.source) == (4, "cache")
        assert names(made.target.table or table()) == {"a", "b"}
        made.start()
        stream = await cp.stream()
        assert stream.hello.held == Held(revision=4, digest=TWO.digest, store_epoch="e")
        await made.kill()


async def test_many_deltas_at_once_end_at_the_newest(tmp_path: Path) -> None:
    """Whatever was skipped on the way, the last revision is served and acknowledged."""
    async with at_one(tmp_path) as (one, _, stream):
        before, number = ONE, 1
        for number in range(2, 40):
            after = before.changed([route(f"r{number}")], ())
            await stream.delta(before, after, number - 1, number)
            before = after
        while (await stream.answer()).ack.revision != number:
            pass
        assert one.target.table == before
        assert one.target.applied == sorted(one.target.applied)


async def test_a_stream_that_is_refused_is_told(tmp_path: Path) -> None:
    """The control plane's reason (a bad token, a node id in use) stands in the status."""
    async with control_plane() as cp, node(tmp_path, cp.address) as one:
        stream = await cp.stream()
        stream.refuse("this token is not known")
        await cp.stream()
        assert "unauthenticated: this token is not known" in one.discovery.status.last_error
