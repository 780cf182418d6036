"""gRPC Admin against a whole control plane over its database: the verbs of REST, with gRPC's codes and details."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]  # no stubs exist
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs exist
from grpc import aio

from controlplane.grpc_errors import DETAILS
from shared.pb import admin_pb2 as pb
from shared.pb.admin_pb2_grpc import AdminStub
from shared.pb.discovery_pb2 import ResourceKey
from shared.pb.resources_pb2 import Consumer, Credential, Route, Upstream
from tests.integration.test_controlplane_app import AS_BOSS
from tests.integration.test_rest_resources import api

UPSTREAM = pb.Item(upstream=Upstream(name="u", url="http://u.internal"))
ROUTE = pb.Item(route=Route(name="a", path="/a", upstream="u"))


class Admin:
    """The stub, as an admin calls it."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub = AdminStub(channel)

    async def ask(self, method: str, request: Any) -> Any:
        return await getattr(self._stub, method)(request, metadata=AS_BOSS)

    async def refused(self, method: str, request: Any) -> tuple[grpc.StatusCode, list[str]]:
        """The code, and the fields of its details."""
        with pytest.raises(aio.AioRpcError) as caught:
            await self.ask(method, request)
        found = dict(caught.value.trailing_metadata() or ()).get(DETAILS, b"")
        status, fields = Status.FromString(found), []
        for detail in status.details:
            bad = BadRequest()
            assert detail.Unpack(bad)
            fields += [violation.field for violation in bad.field_violations]
        return caught.value.code(), fields


@asynccontextmanager
async def admin(directory: Path) -> AsyncIterator[Admin]:
    async with (
        api(directory) as (_, plane),
        aio.insecure_channel(f"127.0.0.1:{plane.grpc_port}") as channel,
    ):
        yield Admin(channel)


async def test_resources_are_written_and_read(tmp_path: Path) -> None:
    """Several changes land together; a resource is listed, read with its etag, replaced and deleted."""
    async with admin(tmp_path) as client:
        both = pb.CommitRequest(changes=[pb.Change(create=UPSTREAM), pb.Change(create=ROUTE)])
        written = await client.ask("Commit", both)
        assert (written.revision, {one.action for one in written.changes}) == (1, {"create"})
        listed = await client.ask("ListResources", pb.ListResourcesRequest(kind="route", filters={"upstream": "u"}))
        assert ([one.route.name for one in listed.items], listed.total) == (["a"], 1)
        item = await client.ask("GetResource", pb.GetResourceRequest(kind="route", name="1"))
        item.route.methods.append("GET")
        plan = pb.PutResourceRequest(item=item, options=pb.WriteOptions(dry_run=True, ask_nodes=True))
        planned = await client.ask("PutResource", plan)
        assert (planned.dry_run, planned.changes[0].fields[0].path, planned.changes[0].fields[0].after) == (
            True,
            "methods",
            '["GET"]',
        )
        put = pb.PutResourceRequest(item=item, if_match=item.etag, options=pb.WriteOptions(wait_ms=10))
        written = await client.ask("PutResource", put)
        assert (written.revision, written.applied.revision) == (2, 2)
        assert await client.refused("PutResource", put) == (grpc.StatusCode.ABORTED, [])
        gone = pb.CommitRequest(changes=[pb.Change(delete=ResourceKey(kind="route", name="a"))])
        assert (await client.ask("Commit", gone)).revision == 3
        assert (await client.ask("Rollback", pb.RollbackRequest(revision=1))).revision == 4


async def test_what_is_refused_has_a_code_and_its_reasons(tmp_path: Path) -> None:
    """Faults are INVALID_ARGUMENT with their fields; what is not there, taken or needed has codes of its own."""
    async with admin(tmp_path) as client:
        bad = pb.PutResourceRequest(item=pb.Item(route=Route(path="a", upstream="none")))
        code, fields = await client.refused("PutResource", bad)
        assert (code, set(fields)) == (grpc.StatusCode.INVALID_ARGUMENT, {"path", "upstream"})
        await client.ask("Commit", pb.CommitRequest(changes=[pb.Change(create=UPSTREAM), pb.Change(create=ROUTE)]))
        for method, request, expected in (
            ("PutResource", pb.PutResourceRequest(item=ROUTE, create=True), grpc.StatusCode.ALREADY_EXISTS),
            ("GetResource", pb.GetResourceRequest(kind="route", name="x"), grpc.StatusCode.NOT_FOUND),
            ("GetResource", pb.GetResourceRequest(kind="x", name="x"), grpc.StatusCode.NOT_FOUND),
            (
                "DeleteResource",
                pb.DeleteResourceRequest(kind="upstream", name="u"),
                grpc.StatusCode.FAILED_PRECONDITION,
            ),
            ("Rollback", pb.RollbackRequest(revision=9), grpc.StatusCode.NOT_FOUND),
            ("ListResources", pb.ListResourcesRequest(kind="x"), grpc.StatusCode.INVALID_ARGUMENT),
            ("ListResources", pb.ListResourcesRequest(kind="route", cursor="!"), grpc.StatusCode.INVALID_ARGUMENT),
            (
                "ListResources",
                pb.ListResourcesRequest(kind="route", filters={"x": ""}),
                grpc.StatusCode.INVALID_ARGUMENT,
            ),
            ("PutResource", pb.PutResourceRequest(), grpc.StatusCode.INVALID_ARGUMENT),
            ("Commit", pb.CommitRequest(changes=[pb.Change()]), grpc.StatusCode.INVALID_ARGUMENT),
            ("ApplyConfig", pb.ApplyConfigRequest(yaml="rotes: []"), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            assert (await client.refused(method, request))[0] is expected, (method, request)


async def test_keys_and_repeated_requests(tmp_path: Path) -> None:
    """A key's secret is told once, also where the request comes again; what was read redacted is kept when written."""
    async with admin(tmp_path) as client:
        await client.ask("PutResource", pb.PutResourceRequest(item=pb.Item(consumer=Consumer(name="ada"))))
        create = pb.CreateKeyRequest(
            credential=Credential(consumer="ada"), options=pb.WriteOptions(idempotency_key="k")
        )
        made, again = await client.ask("CreateKey", create), await client.ask("CreateKey", create)
        assert (made.name, made.secret[:4], again.secret, again.write.replayed) == ("ada", "fgk_", "", True)
        item = await client.ask("GetResource", pb.GetResourceRequest(kind="credential", name="ada"))
        assert item.credential.key == "[redacted]"
        same = await client.ask("PutResource", pb.PutResourceRequest(item=item))
        assert (same.revision, list(same.changes)) == (2, [])
        rotated = await client.ask("RotateKey", pb.RotateKeyRequest(name="ada", grace_seconds=60))
        assert rotated.secret not in {"", made.secret}


async def test_history(tmp_path: Path) -> None:
    """Revisions, what lies between them, and the audit log, as in REST."""
    async with admin(tmp_path) as client:
        yaml = 'upstreams: [{name: u, url: "http://u.x"}]\nroutes: [{name: a, path: /a, upstream: u}]'
        await client.ask("ApplyConfig", pb.ApplyConfigRequest(yaml=yaml, options=pb.WriteOptions(message="first")))
        await client.ask("DeleteResource", pb.DeleteResourceRequest(kind="route", name="a"))
        listed = await client.ask("ListRevisions", pb.ListRevisionsRequest(limit=1))
        assert (listed.total, listed.revisions[0].revision) == (2, 2)
        before = await client.ask("ListRevisions", pb.ListRevisionsRequest(before=2))
        assert [one.message for one in before.revisions] == ["first"]
        diff = await client.ask("DiffRevisions", pb.DiffRevisionsRequest(**{"from": 1, "to": 2}))
        assert [(one.name, one.action) for one in diff.changes] == [("a", "delete")]
        found = await client.ask("SearchAudit", pb.SearchAuditRequest(action="config.apply"))
        assert (found.total, found.entries[0].revision) == (1, 1)
        assert (await client.ask("VerifyAudit", pb.VerifyAuditRequest())).valid


@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1])
async def test_numbers_that_no_database_keeps(tmp_path: Path, number: int) -> None:
    """What is numbered so high is not there; a page before it is the newest."""
    async with admin(tmp_path) as client:
        yaml = 'upstreams: [{name: u, url: "http://u.x"}]\nroutes: [{name: a, path: /a, upstream: u}]'
        await client.ask("ApplyConfig", pb.ApplyConfigRequest(yaml=yaml))
        for method, asked in (
            ("DiffRevisions", pb.DiffRevisionsRequest(**{"from": 1, "to": number})),
            ("DiffRevisions", pb.DiffRevisionsRequest(**{"from": number, "to": 1})),
            ("Rollback", pb.RollbackRequest(revision=number)),
            ("GetRollout", pb.GetRolloutRequest(id=number)),
            ("SteerRollout", pb.SteerRolloutRequest(id=number, verb="pause")),
        ):
            assert (await client.refused(method, asked))[0] is grpc.StatusCode.NOT_FOUND, method
        assert (await client.ask("ListRevisions", pb.ListRevisionsRequest(before=number))).revisions[0].revision == 1
        assert (await client.ask("SearchAudit", pb.SearchAuditRequest(before=number))).entries
        assert not (await client.ask("ListRollouts", pb.ListRolloutsRequest(before=number))).rollouts


async def test_methods_that_are_not_there(tmp_path: Path) -> None:
    """A method of no service is UNIMPLEMENTED, which makes clients fall back to the reflection that there is."""
    async with api(tmp_path) as (_, plane), aio.insecure_channel(f"127.0.0.1:{plane.grpc_port}") as channel:
        for method in ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/flexgate.v1.Admin/Nothing"):
            call: Any = channel.unary_unary(method)
            with pytest.raises(aio.AioRpcError) as caught:
                await call(b"", metadata=AS_BOSS)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            with pytest.raises(aio.AioRpcError) as caught:
                await call(b"")
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
