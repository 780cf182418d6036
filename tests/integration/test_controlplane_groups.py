"""Node groups on the stream: who gets what, what that costs, and what happens when groups change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpc import aio

from shared.document import read
from shared.table import Table, table_of
from tests.integration.controlplane_node import NodeClient, Server, serving, until

DOCUMENT = """
nodeGroups:
  - {name: red, labels: {zone: a}}
  - {name: blue, labels: {zone: b}}
upstreams:
  - {name: open, url: "http://open"}
  - {name: hidden, url: "http://hidden", nodeGroups: [blue]}
routes:
  - {name: everywhere, path: /open, upstream: open}
  - {name: inside, path: /hidden, upstream: hidden, nodeGroups: [blue]}
"""


def table(text: str = DOCUMENT) -> Table:
    """The resources of a document."""
    return table_of(read(text).config)


@asynccontextmanager
async def two_zones(text: str = DOCUMENT) -> AsyncIterator[tuple[Server, NodeClient, NodeClient]]:
    """A server, a node in zone a and one in zone b; both run revision 1."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        await server.publish(table(text))
        red, blue = (NodeClient(channel, zone, labels={"zone": zone}) for zone in "ab")
        for node in (red, blue):
            await node.connect()
            await node.accept()
        await until(lambda: server.nodes.states(1)["current"] == 2)
        yield server, red, blue


def names(node: NodeClient) -> set[str]:
    """The names of all routes and upstreams that a node holds."""
    return {name for kind, name in node.table if kind in ("route", "upstream")}


async def test_a_node_gets_what_its_groups_need() -> None:
    """Each node's table has the routes of its groups and the upstreams that they lead to."""
    async with two_zones() as (_, red, blue):
        assert names(red) == {"everywhere", "open"}
        assert names(blue) == {"everywhere", "inside", "open", "hidden"}


async def test_a_change_is_told_to_all_and_shown_to_its_group() -> None:
    """A change of one group is a delta for its nodes, and an empty one for the others: all name the same revision."""
    async with two_zones() as (server, red, blue):
        await server.publish(table(DOCUMENT.replace("path: /hidden", "path: /moved")))
        seen, unseen = await blue.delta(), await red.delta()
        assert [upsert.name for upsert in seen.upserts] == ["inside"]
        assert (list(unseen.upserts), list(unseen.removes)) == ([], [])
        await blue.ack(seen.nonce, 2)
        await red.ack(unseen.nonce, 2)
        await until(lambda: server.nodes.states(2)["current"] == 2)


async def test_a_view_is_encoded_once() -> None:
    """A hundred nodes of two groups cost two encodings of a change."""
    async with serving() as server, aio.insecure_channel(server.target) as channel:
        await server.publish(table())
        nodes = [NodeClient(channel, f"n/{i}", labels={"zone": "ab"[i % 2]}) for i in range(100)]
        for node in nodes:
            await node.connect()
            await node.accept()
        await until(lambda: server.nodes.states(1)["current"] == 100)
        before = server.publisher.encoded
        await server.publish(table(DOCUMENT.replace("path: /open", "path: /moved")))
        for node in nodes:
            await node.delta()
        assert server.publisher.encoded - before == 2


async def test_a_node_that_changed_its_group_gets_its_new_view() -> None:
    """It comes back with other labels, holds what it rightly held, and gets all of its new view: that is no drift."""
    async with two_zones() as (server, red, _):
        red.kill()
        await until(lambda: server.nodes.states(1)["disconnected"] == 1)
        red.labels = {"zone": "b"}
        await red.connect()
        await red.accept()
        assert "hidden" in names(red)
        assert server.nodes.drifts == 0


async def test_groups_that_come_and_go() -> None:
    """Connected nodes follow when groups are defined, changed and taken away."""
    undivided = DOCUMENT.replace(", nodeGroups: [blue]", "")
    undivided = undivided[undivided.index("upstreams:") :]
    async with two_zones(undivided) as (server, red, blue):
        assert names(red) == names(blue) == {"everywhere", "inside", "open", "hidden"}
        for revision, text, expected in (
            (2, DOCUMENT, {"everywhere", "open"}),
            (3, DOCUMENT.replace("zone: b", "zone: a"), {"everywhere", "inside", "open", "hidden"}),
            (4, DOCUMENT, {"everywhere", "open"}),
            (5, undivided, {"everywhere", "inside", "open", "hidden"}),
        ):
            await server.publish(table(text))
            await red.accept()
            assert names(red) == expected, revision
        assert server.nodes.drifts == 0
