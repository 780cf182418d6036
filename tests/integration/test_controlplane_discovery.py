"""ConfigDiscovery.Stream as a node sees it: real channels, raw messages, and all that can go wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc import aio

from controlplane.store import Committed
from shared.pb.discovery_pb2 import Ack, Hello, NodeMessage, ResourceError
from tests.integration.controlplane_node import NodeClient, Server, route, routes, serving, until


@asynccontextmanager
async def connected(count: int = 3, interval: float = 5.0) -> AsyncIterator[tuple[Server, NodeClient]]:
    """A server with a table at revision 1, and a node that runs it."""
    async with serving(interval) as server, aio.insecure_channel(server.target) as channel:
        await server.publish(routes(count))
        node = NodeClient(channel)
        await node.connect()
        await node.accept()
        await until(lambda: state(server) == "current")
        yield server, node


def state(server: Server, name: str = "n/0") -> str:
    """What the registry says about a node."""
    return next(node.state for node in server.nodes.view(server.publisher.revision) if node.id == name)


async def test_a_node_that_holds_nothing_gets_everything() -> None:
    """Hello without a held revision is answered by a snapshot with the digest of the table."""
    async with connected() as (server, node):
        assert node.table == routes(3)
        [seen] = server.nodes.view(1)
        assert (seen.acked_revision, seen.sent_revision, seen.apply_ms) == (1, 1, 1.5)
        assert (seen.version, dict(seen.labels)) == ("1.2.3", {"zone": "a"})
        assert seen.bytes_sent >= node.received


async def test_a_change_travels_as_a_delta() -> None:
    """A node at the revision before gets only what changed."""
    async with connected(1000) as (server, node):
        before = node.received
        await server.publish(node.table.changed([route("r5", "/new")], [("route", "r6")]))
        delta = await node.delta()
        assert (delta.base_revision, delta.revision) == (1, 2)
        assert node.table.digest == delta.digest
        assert node.received - before < 200
        await node.ack(delta.nonce, 2)
        await until(lambda: state(server) == "current")


async def test_a_node_that_is_current_gets_no_configuration() -> None:
    """After a reconnect with the newest revision there is Current, and not a byte of configuration."""
    async with connected() as (server, node):
        node.kill()
        await until(lambda: state(server) == "disconnected")
        await node.connect()
        message = await node.next()
        assert message.WhichOneof("message") == "current"
        assert (message.current.revision, message.current.store_epoch) == (1, "e")
        await until(lambda: state(server) == "current")


async def test_a_node_that_missed_revisions_gets_one_delta() -> None:
    """What happened while a node was away comes as one delta from what it holds."""
    async with connected() as (server, node):
        node.kill()
        await until(lambda: state(server) == "disconnected")
        table = node.table
        for number in range(5):
            table = table.changed([route(f"new{number}")], [])
            await server.publish(table)
        await node.connect()
        delta = await node.delta()
        assert (delta.base_revision, delta.revision, node.table.digest) == (1, 6, table.digest)


async def test_an_unknown_base_gets_everything() -> None:
    """A revision that this control plane never published is no base for a delta."""
    async with connected() as (_, node):
        node.kill()
        assert node.held is not None
        node.held.revision = 77
        await node.connect()
        await node.accept()
        assert node.table == routes(3)


async def test_another_store_epoch_gets_everything() -> None:
    """A node that holds a higher revision of another store is not ahead: it is somewhere else."""
    async with connected() as (_, node):
        node.kill()
        assert node.held is not None
        node.held.revision, node.held.store_epoch = 900, "older store"
        await node.connect()
        last = (await node.snapshot())[-1].snapshot
        assert (last.revision, last.store_epoch) == (1, "e")


async def test_a_restored_store_reaches_connected_nodes() -> None:
    """When the store starts a new epoch, nodes get all of it even though its revision is lower."""
    async with connected() as (server, node):
        await server.publish(routes(2))
        delta = await node.delta()
        await node.ack(delta.nonce, 2)
        await server.publish(routes(1), revision=1, epoch="restored")
        last = (await node.snapshot())[-1].snapshot
        assert (last.revision, last.store_epoch, node.table) == (1, "restored", routes(1))


async def test_known_revision_with_another_digest_is_drift() -> None:
    """A node that claims a known revision under another digest is counted as drifted and gets everything."""
    async with connected() as (server, node):
        node.kill()
        await until(lambda: state(server) == "disconnected")
        assert node.held is not None
        node.held.digest = bytes(16)
        await node.connect()
        await node.accept()
        assert server.nodes.drifts == 1


async def test_large_tables_come_in_chunks() -> None:
    """A table beyond the size of a message comes in several, and the last one is marked."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        table = routes(100).changed([route(f"big{i}", "/" + "x" * 200_000) for i in range(20)], [])
        await server.publish(table)
        node = NodeClient(channel)
        await node.connect()
        chunks = await node.snapshot()
        assert len(chunks) > 3
        assert all(chunk.ByteSize() < 1 << 20 for chunk in chunks)
        assert node.table.digest == chunks[-1].snapshot.digest == table.digest


async def test_newest_only() -> None:
    """While an answer is due nothing is sent; then comes the newest, and what lies between is counted superseded."""
    async with connected() as (server, node):
        table = node.table
        await server.publish(table := table.changed([route("first")], []))
        delta = await node.delta()
        for number in range(4):
            await server.publish(table := table.changed([route(f"more{number}")], []))
        await node.ack(delta.nonce, delta.revision)
        delta = await node.delta()
        assert (delta.base_revision, delta.revision, node.table.digest) == (2, 6, table.digest)
        [seen] = server.nodes.view(6)
        assert (seen.superseded, seen.state) == (3, "applying")


async def test_a_refused_revision_is_not_sent_again() -> None:
    """A NACK keeps the old table and the reasons; the next revision comes as a delta from what was kept."""
    async with connected() as (server, node):
        kept = node.table
        await server.publish(kept.changed([route("bad")], []))
        delta = await node.delta()
        error = ResourceError(
            kind="route", name="bad", path="upstream", code="unknown", message="there is no such upstream"
        )
        node.table = kept
        await node.nack(delta.nonce, 2, 1, error)
        await until(lambda: state(server) == "nacked")
        [seen] = server.nodes.view(2)
        assert (seen.nacked_revision, seen.acked_revision, list(seen.errors)) == (2, 1, [error])
        assert server.nodes.nacks == 1

        node.kill()
        await until(lambda: state(server) == "disconnected")
        await node.connect()
        await until(lambda: state(server) == "nacked")
        await server.publish(kept.changed([route("good")], []))
        delta = await node.delta()  # and no message about revision 2 before it
        assert (delta.base_revision, delta.revision) == (1, 3)
        await node.ack(delta.nonce, 3)
        await until(lambda: state(server) == "current")
        assert not server.nodes.view(3)[0].errors


async def test_a_new_process_may_try_a_refused_revision() -> None:
    """Quarantine is of the process that refused: its successor may have another version or other files."""
    async with connected() as (server, node):
        await server.publish(routes(4))
        delta = await node.delta()
        await node.nack(delta.nonce, 2, 1)
        await until(lambda: state(server) == "nacked")
        node.kill()
        node.epoch, node.held = "b", None
        await node.connect()
        await node.accept()
        assert node.table == routes(4)


async def test_resync_brings_everything_and_is_counted() -> None:
    """A node that cannot verify a delta gets the whole table of the same revision."""
    async with connected() as (server, node):
        await server.publish(routes(4))
        delta = await node.delta()
        await node.resync(delta.nonce, delta.revision)
        await node.accept()
        assert node.table == routes(4)
        await until(lambda: state(server) == "current")
        assert server.nodes.drifts == 1


async def test_resync_does_not_go_on_for_ever() -> None:
    """A node that cannot verify three full snapshots is left in peace, and shown with the reason."""
    async with connected() as (server, node):
        await server.publish(routes(4))
        await node.resync((await node.delta()).nonce, 2)
        for _ in range(3):
            last = (await node.snapshot())[-1].snapshot
            await node.resync(last.nonce, last.revision)
        await until(lambda: state(server) == "nacked")
        assert "full snapshots failed" in server.nodes.view(2)[0].errors[0].message


async def test_a_wrong_digest_in_an_ack_is_drift() -> None:
    """An Ack is believed only with the digest of what was sent."""
    async with connected() as (server, node):
        await server.publish(routes(4))
        delta = await node.delta()
        await node.say(NodeMessage(ack=Ack(nonce=delta.nonce, revision=2, digest=bytes(16))))
        await node.accept()
        assert server.nodes.drifts == 1


async def test_a_heartbeat_that_contradicts_the_ack_is_drift() -> None:
    """A node that serves something else than it acknowledged gets everything."""
    async with connected() as (server, node):
        await node.beat()
        assert node.held is not None
        node.held.digest = bytes(16)
        await node.beat()
        await node.accept()
        assert (node.table, server.nodes.drifts) == (routes(3), 1)


async def test_repeated_answers_mean_nothing() -> None:
    """A duplicate Ack or Nack, or one with a made-up nonce, changes nothing."""
    async with connected() as (server, node):
        await node.ack("1", 1)
        await node.nack("1", 1, 0)
        await node.nack("made up", 1, 0)
        await server.publish(routes(4))
        delta = await node.delta()
        assert delta.base_revision == 1
        assert server.nodes.nacks == 0


async def test_live_count_reaches_nodes() -> None:
    """Heartbeats tell how many nodes are live, soon after one comes or goes."""
    async with connected(interval=0.2) as (server, node), aio.insecure_channel(server.target) as channel:
        await node.until_live(1)
        other = NodeClient(channel, "n/1")
        await other.connect()
        await other.accept()
        await node.until_live(2)
        other.kill()
        await node.beat()
        await node.until_live(1)


async def test_a_silent_node_is_given_up() -> None:
    """A node that says nothing for three intervals is closed and shown as disconnected."""
    async with connected(interval=0.1) as (server, node):
        code, reason = await node.end()
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "nothing heard" in reason
        await until(lambda: state(server) == "disconnected")


async def test_the_newest_instance_wins() -> None:
    """A second process with the same id takes over; the first is told so, and may not throw it out again."""
    async with connected() as (server, first), aio.insecure_channel(server.target) as channel:
        second = NodeClient(channel, epoch="b")
        await second.connect()
        await second.accept()
        code, reason = await first.end()
        assert (code, "took over" in reason) == (grpc.StatusCode.ABORTED, True)
        await first.connect()
        code, reason = await first.end()
        assert (code, "--node-id" in reason) == (grpc.StatusCode.ALREADY_EXISTS, True)
        assert server.nodes.live == 1
        second.kill()
        await until(lambda: server.nodes.live == 0)
        await first.connect()
        assert (await first.next()).WhichOneof("message") == "current"


async def test_a_half_open_stream_is_replaced() -> None:
    """The same process on a new stream replaces its old one without fuss."""
    async with connected() as (server, old), aio.insecure_channel(server.target) as channel:
        new = NodeClient(channel)
        new.held = old.held
        await new.connect()
        assert (await new.next()).WhichOneof("message") == "current"
        assert (await old.end())[0] is grpc.StatusCode.ABORTED
        assert (server.nodes.live, state(server)) == (1, "current")


async def test_killed_mid_snapshot() -> None:
    """A connection that dies within a snapshot leaves nothing behind, and the node gets it from the start again."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        await server.publish(routes(50_000))
        node = NodeClient(channel)
        await node.connect()
        await node.next()
        node.kill()
        await until(lambda: server.nodes.live == 0)
        await node.connect()
        await node.accept()
        assert len(node.table) == 50_000


async def test_hello_comes_first_and_once() -> None:
    """A stream that begins otherwise, has no name, or says Hello twice is refused."""
    async with connected() as (server, node), aio.insecure_channel(server.target) as channel:
        rude = NodeClient(channel, "n/1")
        for message in (NodeMessage(), NodeMessage(ack=Ack()), NodeMessage(hello=Hello(node_id="x"))):
            await rude.connect()
            rude.kill()
            rude._call = rude._stub.Stream()
            await rude.say(message)
            assert (await rude.end())[0] is grpc.StatusCode.INVALID_ARGUMENT
        await node.say(NodeMessage(hello=Hello(node_id="n/0", instance_epoch="a")))
        assert (await node.end())[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_drain_sends_nodes_elsewhere() -> None:
    """On shutdown nodes are told to go, the control plane waits until they have gone, and refuses new ones."""
    async with connected() as (server, node):
        draining = asyncio.create_task(server.discovery.drain(20.0))
        message = await node.next()
        assert "shutting down" in message.drain.reason
        assert not draining.done()
        await node.call.done_writing()
        assert (await node.end())[0] is grpc.StatusCode.OK
        await draining
        await node.connect()
        assert (await node.end())[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_node_that_ignores_drain_is_cut_off() -> None:
    """When the grace is over, the streams that are left end with a reason."""
    async with connected() as (server, node):
        await server.discovery.drain(0.0)
        assert (await node.end())[0] is grpc.StatusCode.UNAVAILABLE
        assert server.nodes.live == 0


async def test_a_replica_that_lags_looks_before_it_sends() -> None:
    """A node comes with a newer revision of the same store: the store is read again, and nothing older is sent."""
    async with connected() as (server, node):
        node.kill()
        await until(lambda: state(server) == "disconnected")
        assert node.held is not None
        newer = node.table.changed([route("r9")], [])
        node.held.revision, node.held.digest = 2, newer.digest
        following = asyncio.create_task(server.publisher.run())
        try:
            await asyncio.sleep(0)  # its first look is over: the store has nothing new
            server.store.committed = Committed("e", 2, newer)
            await node.connect()
            message = await node.next()
            assert (message.WhichOneof("message"), message.current.revision) == ("current", 2)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
