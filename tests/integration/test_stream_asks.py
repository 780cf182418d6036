"""What nodes are asked over the stream, both planes ours: what real nodes answer, and the reasons where none comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from grpc import aio

from controlplane.asking import MOST_WAITING, Asking
from controlplane.dry_run import dry_run
from controlplane.explaining import NobodyAnsweredError, explain
from controlplane.reach import Reach
from shared.pb.admin_pb2 import NodeVerdict
from shared.pb.discovery_pb2 import Answer, NodeMessage
from shared.pb.explain_pb2 import SampleRequest
from shared.pb.replica_pb2 import ProposedChange
from shared.table import Table
from tests.integration.controlplane_node import NodeClient, Server, serving, until
from tests.integration.stream_control_plane import node
from tests.integration.stream_target import route, table
from tests.support.deadline import DEADLINE


async def tried(
    server: Server, wanted: Table, asking: Asking | None = None, seconds: float = 10.0
) -> list[NodeVerdict]:
    """The verdicts of all connected nodes on a table."""
    views = server.publisher.trial(wanted)
    assert views is not None
    reach = Reach(server.nodes, asking=asking)
    return await dry_run(reach, reach.targets(), views, ProposedChange, seconds)


async def test_a_node_tries_a_change_and_does_not_serve_it(tmp_path: Path) -> None:
    """It compiles exactly the table that it would get, and goes on with its own."""
    async with serving() as server:
        await server.publish(table("a", "b"))
        async with node(tmp_path, server.target) as one:
            await until(lambda: server.nodes.states(1)["current"] == 1)
            [verdict] = await tried(server, table("a", "c"))
            assert (verdict.node, verdict.accepted, verdict.reason) == ("n/0", True, "")
            assert one.target.compiled == [table("a", "c")]
            assert one.target.applied == [1]
            assert one.discovery.status.revision == 1


async def test_a_refused_change_tells_where(tmp_path: Path) -> None:
    """With kind, name, path and message; the node's status shows no error, since it serves what it should."""
    async with serving() as server:
        await server.publish(table("a"))
        async with node(tmp_path, server.target) as one:
            await until(lambda: server.nodes.states(1)["current"] == 1)
            [verdict] = await tried(server, table("a", "bad"))
            [error] = verdict.errors
            assert (verdict.accepted, error.name, error.path) == (False, "bad", "upstream")
            [verdict] = await tried(server, table("a", "bug"))
            assert "ZeroDivisionError" in verdict.errors[0].message
            assert one.discovery.status.last_error == ""


async def test_a_large_change_comes_in_chunks(tmp_path: Path) -> None:
    """10 000 new routes, more than one message: the node puts them together before it tries them."""
    large = Table(route(f"r{number}", "u" * 200) for number in range(10_000))
    async with serving() as server:
        await server.publish(table("a"))
        async with node(tmp_path, server.target) as one:
            await until(lambda: server.nodes.states(1)["current"] == 1)
            assert [verdict.accepted for verdict in await tried(server, large)] == [True]
            assert one.target.compiled == [large]


async def test_dry_runs_queue(tmp_path: Path) -> None:
    """One at a time on a node, in order, while configuration goes on being served."""
    async with serving() as server:
        await server.publish(table("a"))
        async with node(tmp_path, server.target) as one:
            await until(lambda: server.nodes.states(1)["current"] == 1)
            asking = Asking()
            wanted = [table("slow"), table("a", "x"), table("a", "y")]
            running = [asyncio.create_task(tried(server, each, asking)) for each in wanted]
            await until(lambda: one.target.trials == 1)
            await server.publish(table("a", "b"))
            await one.until(lambda: one.target.revision == 2, "the new revision beside a dry run")
            assert one.target.compiled == []
            one.target.release.set()
            verdicts = [verdict for each in running for verdict in await each]
            assert one.target.compiled == wanted
            assert [verdict.accepted for verdict in verdicts] == [True] * 3


async def test_who_cannot_answer_is_a_reason(tmp_path: Path) -> None:
    """Too old, silent, gone in mid-question: each is told, none is waited for beyond the deadline."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        await server.publish(table("a"))
        clients = {name: NodeClient(channel, name) for name in ("gone", "old", "silent")}
        for name, client in clients.items():
            client.capabilities = [] if name == "old" else ["ask"]
            await client.connect()
            await client.accept()
        await until(lambda: server.nodes.states(1)["current"] == 3)
        asked = asyncio.create_task(tried(server, table("b"), seconds=0.5))
        assert (await clients["gone"].next()).WhichOneof("message") == "ask"
        clients["gone"].kill()
        verdicts = {verdict.node: verdict.reason for verdict in await asked}
        assert verdicts == {
            "gone": "it disconnected",
            "old": "version 1.2.3 of the data plane cannot be asked; upgrade it",
            "silent": "it did not answer within 0.5 s",
        }


async def test_a_late_answer_is_for_nobody(tmp_path: Path) -> None:
    """An answer to what is not waited for changes nothing, and does not end the stream."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        await server.publish(table("a"))
        client = NodeClient(channel)
        await client.connect()
        await client.accept()
        await client.say(NodeMessage(answer=Answer(id="7", refused="too late")))
        await server.publish(table("b"))
        await client.delta()


async def test_questions_of_a_silent_node_are_bounded() -> None:
    """Beyond a number that wait, the next are refused at once; a question that is given up makes room."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        await server.publish(table("a"))
        client = NodeClient(channel)
        client.capabilities = ["ask"]
        await client.connect()
        await client.accept()
        await until(lambda: server.nodes.states(1)["current"] == 1)
        asking = Asking()
        waiting = [asyncio.create_task(tried(server, table("b"), asking)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        [verdict] = await tried(server, table("b"), asking)
        assert verdict.reason == f"{MOST_WAITING} questions wait for its answer already"
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        [verdict] = await tried(server, table("b"), asking, 0.05)
        assert verdict.reason == "it did not answer within 0.05 s"


async def test_explain_asks_the_nodes(tmp_path: Path) -> None:
    """One node tells the way, at the newest revision; without any node that is said."""
    async with serving() as server:
        await server.publish(table("a"))
        with pytest.raises(NobodyAnsweredError, match="no data plane is connected"):
            await explain(Reach(server.nodes), SampleRequest(path="/a"))
        async with node(tmp_path, server.target):
            await until(lambda: server.nodes.states(1)["current"] == 1)
            answer = await explain(Reach(server.nodes), SampleRequest(path="/a"))
            assert (answer.node, answer.explanation.route, answer.explanation.revision) == ("n/0", "a", 1)
            assert [(each.node, each.route) for each in answer.nodes] == [("n/0", "a")]
            with pytest.raises(NobodyAnsweredError, match="n/0: explaining failed: ZeroDivisionError"):
                await explain(Reach(server.nodes), SampleRequest(path="/bug"))


async def test_a_base_that_moved_is_a_reason(tmp_path: Path) -> None:
    """A change from a revision that the node left meanwhile is refused, never tried on top of something else."""
    async with serving() as server:
        await server.publish(table("a"))
        async with node(tmp_path, server.target) as one:
            await until(lambda: server.nodes.states(1)["current"] == 1)
            [known] = server.nodes.connected()
            views = server.publisher.trial(table("a", "c"))
            await server.publish(table("a", "b"))
            await until(lambda: known.acked == 2)
            known.acked = 1
            assert views is not None
            reach = Reach(server.nodes)
            [verdict] = await dry_run(reach, reach.targets(), views, ProposedChange, DEADLINE)
            assert verdict.reason == "the change starts from revision 1, and this node serves revision 2"
            assert one.target.compiled == []
