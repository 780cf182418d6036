"""Write and wait: the answer comes when the nodes have answered, and tells who did not and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from grpc import aio

from controlplane.waiting import Waiting
from shared.pb.admin_pb2 import Applied
from shared.pb.discovery_pb2 import ResourceError
from shared.table import Table
from tests.integration.controlplane_node import NodeClient, Server, route, routes, serving, until
from tests.integration.stream_control_plane import node
from tests.integration.stream_target import table
from tests.support.deadline import DEADLINE

LONG = 30.0


@asynccontextmanager
async def clients(*names: str) -> AsyncIterator[tuple[Server, list[NodeClient], Table]]:
    """A server at revision 1, and nodes that run it."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        first = routes(3)
        await server.publish(first)
        made = [NodeClient(channel, name) for name in names]
        for one in made:
            await one.connect()
            await one.accept()
        await until(lambda: server.nodes.states(1)["current"] == len(names))
        yield server, made, first


def waiting(server: Server, revision: int, seconds: float = LONG) -> asyncio.Task[Applied]:
    """The answer to come."""
    return asyncio.create_task(Waiting(server.nodes, server.publisher).applied(revision, seconds))


async def follow(one: NodeClient) -> None:
    """Take a delta and run it."""
    delta = await one.delta()
    await one.ack(delta.nonce, delta.revision)


async def test_it_returns_when_all_have_acknowledged() -> None:
    """Asked before it was published; not before the last node, and then at once."""
    async with clients("a", "b", "c") as (server, nodes, first):
        answer = waiting(server, 2)
        await asyncio.sleep(0)
        await server.publish(first.changed([route("new")], []))
        for one in nodes[1:]:
            await follow(one)
        await until(lambda: server.nodes.states(2)["current"] == 2)
        assert not answer.done()
        await follow(nodes[0])
        applied = await asyncio.wait_for(answer, DEADLINE)
        assert (applied.revision, applied.nodes, applied.acked, applied.held) == (2, 3, 3, 0)
        assert not applied.failed
        assert not applied.pending


async def test_who_refuses_is_told_with_the_reason() -> None:
    """A refusal is an answer: nothing is waited for beyond it."""
    async with clients("a", "b") as (server, (good, bad), first):
        await server.publish(first.changed([route("new")], []))
        answer = waiting(server, 2)
        await follow(good)
        delta = await bad.delta()
        error = ResourceError(kind="route", name="new", path="upstream", message="no such upstream")
        await bad.nack(delta.nonce, 2, 1, error)
        applied = await asyncio.wait_for(answer, DEADLINE)
        assert (applied.nodes, applied.acked) == (2, 1)
        assert [(failed.node, list(failed.errors)) for failed in applied.failed] == [("b", [error])]


async def test_a_silent_node_is_pending_when_the_time_is_over() -> None:
    """The others count all the same."""
    async with clients("a", "b") as (server, (good, _), first):
        await server.publish(first.changed([route("new")], []))
        await follow(good)
        await until(lambda: server.nodes.states(2)["current"] == 1)
        applied = await waiting(server, 2, 0.05)
        assert (applied.nodes, applied.acked) == (2, 1)
        assert [(one.node, one.reason) for one in applied.pending] == [("b", "it has not answered yet")]


async def test_a_node_that_leaves_is_not_waited_for() -> None:
    """It is told as pending; one that comes meanwhile counts, once it runs the revision."""
    async with clients("a", "b") as (server, (one, gone), first):
        await server.publish(first.changed([route("new")], []))
        answer = waiting(server, 2)
        await gone.delta()
        gone.kill()
        await until(lambda: server.nodes.live == 1)
        await follow(one)
        applied = await asyncio.wait_for(answer, DEADLINE)
        assert (applied.nodes, applied.acked) == (2, 1)
        assert [(left.node, left.reason) for left in applied.pending] == [("b", "it disconnected")]


async def test_a_node_that_comes_back_counts() -> None:
    """It left with the revision unanswered, and runs it after it reconnected."""
    async with clients("a", "b") as (server, (one, other), first):
        await server.publish(first.changed([route("new")], []))
        answer = waiting(server, 2)
        await other.delta()
        other.kill()
        await until(lambda: server.nodes.live == 1)
        await other.connect()
        await other.delta()
        await until(lambda: server.nodes.live == 2)
        await follow(one)
        await until(lambda: server.nodes.states(2)["current"] == 1)
        assert not answer.done()
        await other.ack("1-2", 2)
        assert (await asyncio.wait_for(answer, DEADLINE)).acked == 2


async def test_a_newer_revision_counts() -> None:
    """A node that was never sent the revision, because a newer one was there, has applied it with that."""
    async with clients("a") as (server, [one], first):
        second = first.changed([route("new")], [])
        await server.publish(second)
        delta = await one.delta()
        answer = waiting(server, 3)
        await server.publish(second.changed([route("newer")], []))
        await server.publish(second.changed([route("newest")], []))
        await one.ack(delta.nonce, 2)
        await follow(one)
        assert one.held is not None
        assert one.held.revision == 4
        assert (await asyncio.wait_for(answer, DEADLINE)).acked == 1


async def test_without_nodes_it_returns_at_once() -> None:
    """Nobody to wait for, once it is published."""
    async with serving() as server:
        await server.publish(routes(1))
        assert await asyncio.wait_for(waiting(server, 1), DEADLINE) == Applied(revision=1)


async def test_real_nodes_answer(tmp_path: Path) -> None:
    """Two data planes' own side of the stream: one revision that both serve, one that both refuse."""
    async with serving() as server, AsyncExitStack() as running:
        await server.publish(table("a"))
        for name in ("x", "y"):
            await running.enter_async_context(node(tmp_path / name, server.target, node_id=name))
        await until(lambda: server.nodes.states(1)["current"] == 2)
        for names, acked, failed in ((("a", "b"), 2, 0), (("a", "bad"), 0, 2)):
            await server.publish(table(*names))
            applied = await asyncio.wait_for(waiting(server, server.publisher.revision), DEADLINE)
            assert (applied.acked, len(applied.failed)) == (acked, failed)


async def test_a_restored_store_begins_anew() -> None:
    """What nodes acknowledged of another line of revisions, however high, says nothing of this one."""
    async with clients("a") as (server, [one], first):
        await server.publish(first, revision=50)
        await follow(one)
        await until(lambda: server.nodes.states(50)["current"] == 1)
        await server.publish(first.changed([route("old")], []), revision=3, epoch="restored")
        await one.snapshot()
        answer = waiting(server, 3)
        await asyncio.sleep(0)
        assert not answer.done()
        await one.ack("3", 3, "restored")
        assert (await asyncio.wait_for(answer, DEADLINE)).acked == 1
