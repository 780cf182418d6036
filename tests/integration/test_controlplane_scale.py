"""What an edit costs with many nodes: counted, not timed."""

from __future__ import annotations

import asyncio

from grpc import aio

from tests.integration.controlplane_node import NodeClient, route, routes, serving, until

NODES = 100
ROUTES = 10_000
EDITS = 5


async def test_an_edit_is_encoded_once_for_all_nodes() -> None:
    """100 nodes follow edits of one route among 10 000: each edit is encoded once, and is small on the wire."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        table = routes(ROUTES)
        await server.publish(table)
        nodes = [NodeClient(channel, f"n/{number}") for number in range(NODES)]
        for node in nodes:
            # What a data plane keeps on disk: the test is about edits, not about a hundred copies of a snapshot.
            node.table, node.held = table, None
        first = nodes[0]
        await first.connect()
        await first.accept()
        for node in nodes[1:]:
            node.held = first.held
            await node.connect()
            assert (await node.next()).WhichOneof("message") == "current"
        assert server.publisher.encoded == 1
        received = [node.received for node in nodes]

        for edit in range(EDITS):
            table = table.changed([route("r7", f"/edit/{edit}")], [])
            await server.publish(table)
            await asyncio.gather(*(_follow(node) for node in nodes))
            await until(lambda: server.nodes.states(server.publisher.revision)["current"] == NODES)

        assert server.publisher.encoded == 1 + EDITS
        assert all(node.table.digest == table.digest for node in nodes)
        assert all(node.received - before < EDITS * 200 for node, before in zip(nodes, received, strict=True))


async def test_nodes_at_different_revisions_share_what_they_can() -> None:
    """A delta is encoded once for each base that some node holds, however many nodes hold it."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        table = routes(100)
        await server.publish(table)
        nodes = [NodeClient(channel, f"n/{number}") for number in range(12)]
        for index, node in enumerate(nodes):
            if index in {4, 8}:
                table = table.changed([route(f"extra{index}")], [])
                await server.publish(table)
            await node.connect()
            await node.accept()
            node.kill()
        await until(lambda: server.nodes.live == 0)
        table = table.changed([], [("route", "r0")])
        await server.publish(table)
        before = server.publisher.encoded
        for node in nodes:
            await node.connect()
            await _follow(node)
        assert server.publisher.encoded - before == 3
        assert all(node.table.digest == table.digest for node in nodes)


async def _follow(node: NodeClient) -> None:
    delta = await node.delta()
    await node.ack(delta.nonce, delta.revision)
