"""Rollouts over REST and gRPC: begun, shown, steered and refused in the same words; and dry runs of a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from shared.pb.admin_pb2 import BeginRolloutRequest, GetRolloutRequest, ListRolloutsRequest, SteerRolloutRequest
from shared.pb.admin_pb2_grpc import AdminStub
from shared.pb.rollout_pb2 import RolloutPlan, Wave
from tests.integration.controlplane_node import until
from tests.integration.rollout_fleet import fleet
from tests.integration.test_controlplane_app import AS_BOSS, rest
from tests.support.deadline import eventually


def document(*names: str) -> str:
    """An upstream and routes with these names."""
    routes = [{"name": name, "path": f"/{name}/*", "upstream": "u"} for name in names]
    return json.dumps({"upstreams": [{"name": "u", "url": "http://u.internal"}], "routes": routes})


PLAN = {"waves": [{"percent": 50}], "bake": "1h"}


async def test_rest_begins_shows_and_steers(tmp_path: Path) -> None:
    """201 with the rollout; 409 while it runs, 400 with every fault, 404 for what is not there."""
    async with fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 2) as all_of_it, rest(all_of_it.control) as client:
        body = {"document": document("first", "second"), "plan": PLAN}
        status, planned, _ = await client.ask("/api/rollouts?dryRun=1", "POST", json=body)
        assert (status, planned["dryRun"]) == (200, True)
        status, begun, _ = await client.ask("/api/rollouts?message=more", "POST", json=body)
        assert (status, begun["id"], begun["state"], begun["waves"]) == (201, 1, "running", 1)
        await until(lambda: sum(node.revision == 2 for node in all_of_it.nodes) == 1)
        status, shown, _ = await client.ask("/api/rollouts/1")
        assert (status, shown["baseRevision"], shown["revision"], len(shown["nodes"])) == (200, 1, 2, 1)
        assert (shown["startedBy"], shown["message"], shown["wave"]) == ("admin-token", "more", 1)
        status, refused, _ = await client.ask("/api/rollouts", "POST", json={**body, "document": document("third")})
        assert (status, refused["code"]) == (409, "rollout_running")
        faulty = {"document": "routes: [{path: /x}]", "plan": {"waves": []}}
        status, refused, _ = await client.ask("/api/rollouts", "POST", json=faulty)
        assert (status, refused["details"][0]["path"]) == (400, "plan.waves")
        assert (await client.ask("/api/rollouts", "POST", data=b"x"))[0] == 415
        assert (await client.ask("/api/rollouts", "POST", json={"plna": 1}))[0] == 400
        status, paused, _ = await client.ask("/api/rollouts/1/pause", "POST")
        assert (status, paused["state"], paused["reason"]) == (200, "paused", "paused by admin-token")
        status, refused, _ = await client.ask("/api/rollouts/1/pause", "POST")
        assert (status, refused["code"]) == (409, "rollout_state")
        for path in ("/api/rollouts/9", "/api/rollouts/x"):
            assert (await client.ask(path))[0] == 404
        assert (await client.ask("/api/rollouts/9/abort", "POST"))[0] == 404
        assert (await client.ask("/api/rollouts/1/promote", "POST"))[1]["state"] == "succeeded"
        status, refused, _ = await client.ask("/api/rollouts", "POST", json=body)
        assert (status, "nothing to roll out" in refused["message"]) == (409, True)


async def test_rollouts_are_listed_by_pages(tmp_path: Path) -> None:
    """The newest first; a cursor goes on where the page ended."""
    async with fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 1) as all_of_it, rest(all_of_it.control) as client:
        for number in range(3):
            body = {"document": document("first", *(f"r{index}" for index in range(number + 1))), "plan": PLAN}
            assert (await client.ask("/api/rollouts", "POST", json=body))[0] == 201
            assert (await client.ask(f"/api/rollouts/{number + 1}/promote", "POST"))[0] == 200
        _, page, _ = await client.ask("/api/rollouts?limit=2")
        assert [one["id"] for one in page["rollouts"]] == [3, 2]
        _, page, _ = await client.ask(f"/api/rollouts?limit=2&cursor={page['nextCursor']}")
        assert ([one["id"] for one in page["rollouts"]], page["nextCursor"]) == ([1], "")
        for query in ("limit=x", "limit=0", "limit=1001", "cursor=x"):
            assert (await client.ask(f"/api/rollouts?{query}"))[0] == 400, query
        assert len((await client.ask("/api/rollouts?cursor="))[1]["rollouts"]) == 3


@pytest.mark.parametrize("body", [{}, {"document": None}, {"document": 5}, {"document": {"routes": []}}])
async def test_a_rollout_without_a_document_is_refused(tmp_path: Path, body: dict[str, object]) -> None:
    """No text is not the empty configuration, which would take everything away."""
    async with fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 1) as all_of_it, rest(all_of_it.control) as client:
        status, refused, _ = await client.ask("/api/rollouts", "POST", json={**body, "plan": PLAN})
        assert (status, [one["path"] for one in refused["details"]]) == (400, ["document"]), refused
        assert all_of_it.control.plane.publisher.revision == 1


async def test_grpc_has_the_same_verbs(tmp_path: Path) -> None:
    """Begin, get, list and steer, with gRPC's words for what is refused."""
    async with (
        fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 1) as all_of_it,
        aio.insecure_channel(f"127.0.0.1:{all_of_it.control.grpc_port}") as channel,
    ):
        admin = AdminStub(channel)
        begin = BeginRolloutRequest(yaml=document("first", "second"), plan=RolloutPlan(waves=[Wave(percent=100)]))
        assert (await admin.BeginRollout(begin, metadata=AS_BOSS)).revision == 2
        assert (await admin.GetRollout(GetRolloutRequest(id=1), metadata=AS_BOSS)).state == "running"
        paused = await admin.SteerRollout(SteerRolloutRequest(id=1, verb="pause"), metadata=AS_BOSS)
        assert paused.state == "paused"
        listed = await admin.ListRollouts(ListRolloutsRequest(), metadata=AS_BOSS)
        assert [rollout.id for rollout in listed.rollouts] == [1]
        for call, code in (
            (admin.BeginRollout(BeginRolloutRequest(), metadata=AS_BOSS), grpc.StatusCode.INVALID_ARGUMENT),
            (admin.GetRollout(GetRolloutRequest(id=7), metadata=AS_BOSS), grpc.StatusCode.NOT_FOUND),
            (
                admin.SteerRollout(SteerRolloutRequest(id=1, verb="x"), metadata=AS_BOSS),
                grpc.StatusCode.INVALID_ARGUMENT,
            ),
            (
                admin.SteerRollout(SteerRolloutRequest(id=1, verb="pause"), metadata=AS_BOSS),
                grpc.StatusCode.FAILED_PRECONDITION,
            ),
        ):
            with pytest.raises(aio.AioRpcError) as refused:
                await call
            assert refused.value.code() == code


async def test_a_transaction_may_carry_a_rollout(tmp_path: Path) -> None:
    """Changes of single resources come in waves, too; a plan with faults refuses all of it."""
    async with fleet(f"sqlite:///{tmp_path}/f.db", tmp_path, 2) as all_of_it, rest(all_of_it.control) as client:
        resource = {"name": "second", "path": "/second/*", "upstream": "u"}
        changes = [{"action": "create", "kind": "route", "name": "second", "resource": resource}]
        body = {"changes": changes, "rollout": {"waves": [{"percent": 500}]}}
        status, refused, _ = await client.ask("/api/transactions", "POST", json=body)
        assert (status, refused["details"][0]["path"]) == (400, "rollout.waves[0].percent")
        status, done, _ = await client.ask("/api/transactions", "POST", json={**body, "rollout": PLAN})
        assert (status, done["revision"]) == (200, 2)
        await until(lambda: sum(node.revision == 2 for node in all_of_it.nodes) == 1)

        async def nodes() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await client.ask("/api/nodes"))[1]["nodes"]
            return found

        # The node that runs it may not have been heard yet.
        known = await eventually(nodes, lambda found: {node["state"] for node in found} == {"current"})
        assert sorted(node["desiredRevision"] for node in known) == [1, 2]
