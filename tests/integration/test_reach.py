"""Two control planes over one PostgreSQL, each with a data plane: questions reach both, whoever is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from controlplane.app import ControlPlane
from controlplane.changes import Change
from controlplane.dry_run import concerned, dry_run, proposed
from controlplane.explaining import explain
from controlplane.plan import Plan
from shared.pb.admin_pb2 import NodeVerdict
from shared.pb.explain_pb2 import SampleRequest
from tests.integration.controlplane_node import until
from tests.integration.rollout_fleet import control_plane
from tests.integration.stream_control_plane import DataPlaneNode, node
from tests.support.configuration import ALICE, route, upstream
from tests.support.postgres import Postgres


@dataclass(slots=True)
class Side:
    """A control plane, and the node that is connected to it."""

    control: ControlPlane
    node: DataPlaneNode

    async def tried(self, *changes: Change) -> dict[str, NodeVerdict]:
        """The verdicts of all nodes on a change."""
        return await self.judged(await self.control.plane.service.plan(changes))

    async def judged(self, plan: Plan, seconds: float = 10.0) -> dict[str, NodeVerdict]:
        """The verdicts of all nodes on a plan."""
        plane = self.control.plane
        views = plane.publisher.trial(plan.table)
        assert views is not None
        targets = concerned(plan, plane.reach.targets(), views)
        verdicts = await dry_run(plane.reach, targets, views, partial(proposed, plan), seconds)
        return {verdict.node: verdict for verdict in verdicts}

    def knows(self, *names: str) -> bool:
        """Whether this control plane shows these nodes, and no others, as connected and current."""
        plane = self.control.plane
        shown = plane.nodes.view(plane.publisher.revision_of)
        return [one.id for one in shown if one.state == "current"] == sorted(names)


@asynccontextmanager
async def sides(server: Postgres, directory: Path) -> AsyncIterator[tuple[Side, Side]]:
    """Two of them, that know each other's nodes: a/0 at the first, b/0 at the second."""
    url = await server.create()
    async with AsyncExitStack() as stack:
        made: list[Side] = []
        for name in ("a", "b"):
            control, _ = await stack.enter_async_context(control_plane(url, directory / name, beat=1.0))
            if not made:
                await control.plane.service.commit([upstream("u"), route("first")], ALICE)
            address = f"127.0.0.1:{control.grpc_port}"
            one = await stack.enter_async_context(node(directory / f"cache-{name}", address, node_id=f"{name}/0"))
            made.append(Side(control, one))
        for side in made:
            await until(partial(side.knows, "a/0", "b/0"))
        yield made[0], made[1]


async def test_a_dry_run_reaches_every_node(postgres: Postgres, tmp_path: Path) -> None:
    """Each compiles exactly the table that it would get, wherever its stream is, and tells what it refuses."""
    async with sides(postgres, tmp_path) as (one, two):
        for asked in (one, two):
            verdicts = await asked.tried(route("second"))
            assert {name: verdict.accepted for name, verdict in verdicts.items()} == {"a/0": True, "b/0": True}
        assert one.node.target.compiled == two.node.target.compiled
        assert all(("route", "second") in table for table in two.node.target.compiled)
        assert two.node.target.revision == 1
        verdicts = await one.tried(route("bad"))
        assert [verdict.errors[0].name for verdict in verdicts.values()] == ["bad", "bad"]


async def test_a_change_of_another_base_is_not_tried(postgres: Postgres, tmp_path: Path) -> None:
    """What was committed between plan and dry run is told by the other replica; nothing else is compiled there."""
    async with sides(postgres, tmp_path) as (one, two):
        plan = await one.control.plane.service.plan([route("second")])
        await two.control.plane.service.commit([route("third")], ALICE)
        verdict = (await one.judged(plan))["b/0"]
        assert verdict.reason == "the change is on top of revision 1, but by now it is 2"
        assert two.node.target.compiled == []


async def test_explain_reaches_every_node(postgres: Postgres, tmp_path: Path) -> None:
    """The answer has the nodes of both, from whichever replica; a node with a bug is a reason."""
    async with sides(postgres, tmp_path) as (one, two):
        for asked in (one, two):
            answer = await explain(asked.control.plane.reach, SampleRequest(path="/a"))
            assert [(each.node, each.route, each.revision) for each in answer.nodes] == [
                ("a/0", "a", 1),
                ("b/0", "a", 1),
            ]


async def test_a_node_that_moves_is_asked_where_it_is(postgres: Postgres, tmp_path: Path) -> None:
    """A node that left the other replica since that told of it is a reason; once it is here, it is asked here."""
    async with sides(postgres, tmp_path) as (one, two):
        plane = one.control.plane
        targets = plane.reach.targets()
        await two.node.kill()
        await until(lambda: not two.control.plane.nodes.connected())
        plan = await plane.service.plan([route("second")])
        views = plane.publisher.trial(plan.table)
        assert views is not None
        found = await dry_run(plane.reach, targets, views, partial(proposed, plan))
        [reason] = [verdict.reason for verdict in found if verdict.node == "b/0"]
        assert reason.startswith("it is not connected to control plane ")
        address = f"127.0.0.1:{one.control.grpc_port}"
        async with node(tmp_path / "cache-b", address, node_id="b/0"):
            await until(lambda: [node.acked for node in plane.nodes.connected()] == [1, 1])
            assert [target.replica for target in plane.reach.targets()] == ["", ""]
            assert {verdict.accepted for verdict in (await one.tried(route("second"))).values()} == {True}
