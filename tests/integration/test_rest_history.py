"""REST of what spans resources: transactions, documents, revisions, the audit log, waiting for nodes."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path

from grpc import aio

from controlplane.rest import DOCUMENT_BYTES
from tests.integration.controlplane_node import NodeClient
from tests.integration.test_rest_resources import USERS, api, at
from tests.support.postgres import running_postgres

DOCUMENT = """
security: {auth: {type: apiKey, keys: [{name: ci, key: "%s"}]}}
upstreams: [{name: u, url: "http://u.internal"}]
routes: [{name: a, path: /a, upstream: u}, {name: b, path: /b, upstream: u}]
""" % ("c" * 64)


async def test_a_transaction(tmp_path: Path) -> None:
    """Changes that need each other land together, as one revision; with one fault, nothing does."""
    async with api(tmp_path) as (client, plane):
        changes = [
            {"action": "create", "kind": "upstream", "name": "u", "resource": {"url": "http://u.internal"}},
            {"action": "put", "kind": "route", "name": "a", "resource": {"path": "/a", "upstream": "u"}},
            {"action": "patch", "kind": "settings", "resource": {"proxy": {"timeout": "9s"}}},
        ]
        status, body, _ = await client.ask("/api/transactions", "POST", json={"changes": changes[:2]})
        assert (status, body["revision"]) == (200, 1), body
        assert {(one["kind"], one["action"]) for one in body["changes"]} >= {
            ("upstream", "create"),
            ("route", "create"),
        }
        changes[1]["resource"] = {"path": "a", "upstream": "none", "methds": []}
        changes[0]["action"] = "put"
        status, body, _ = await client.ask("/api/transactions", "POST", json={"changes": changes})
        assert status == 400
        assert {detail["path"] for detail in body["details"]} >= {"changes[1].resource.methds"}
        changes[1] = {"action": "delete", "kind": "route", "name": "a"}
        status, body, _ = await client.ask("/api/transactions", "POST", json={"changes": changes})
        assert (status, body["revision"]) == (200, 2), body
        assert (await client.ask("/api/settings"))[1]["proxy"]["timeout"] == {"request": 9000}
        bads: list[object] = [
            {},
            {"changes": []},
            {"changes": [1]},
            {"changes": [{"action": "x", "kind": "y"}], "z": 1},
        ]
        for bad in bads:
            assert (await client.ask("/api/transactions", "POST", json=bad))[0] == 400
        assert plane.plane.service.committed is not None
        assert plane.plane.service.committed.revision == 2


async def test_a_document(tmp_path: Path) -> None:
    """A document is compared, applied in one revision and exported; what comes back redacted keeps its secrets."""
    async with api(tmp_path) as (client, plane):
        status, body, _ = await client.ask("/api/config/diff", "POST", data=DOCUMENT)
        assert (status, len(body["changes"]), body["revision"]) == (200, 4, 0), body
        status, body, _ = await client.ask("/api/config/apply?message=first", "POST", data=DOCUMENT)
        assert (status, body["revision"]) == (200, 1)
        for form in ("yaml", "json"):
            _, text, response = await client.ask(f"/api/config/export?format={form}")
            assert "c" * 64 not in str(text)
            text = text if form == "yaml" else json.dumps(text)
            assert response.content_type == f"application/{form}"
            status, body, answer = await client.ask("/api/config/apply", "POST", data=text)
            assert (status, body["changes"]) == (200, []), body
            assert answer.headers["X-Config-Version"] == "1"
        committed = plane.plane.service.committed
        assert committed is not None
        assert committed.config.settings.security.auth.keys[0].key == "c" * 64
        status, body, _ = await client.ask("/api/config/apply", "POST", data=DOCUMENT.replace("path: /b", "pth: /b"))
        assert (status, body["details"][0]["path"]) == (400, "routes[1].pth")
        status, body, _ = await client.ask("/api/config/apply", "POST", data=text.replace('"ci"', '"other"'))
        assert (status, body["details"][0]["code"]) == (400, "redacted")


async def test_revisions(tmp_path: Path) -> None:
    """Every write is a revision that tells who, when and what; an earlier one can be brought back."""
    async with api(tmp_path) as (client, _):
        await client.ask("/api/config/apply?message=first", "POST", data=DOCUMENT)
        await client.ask(at("a"), "PATCH", json={"methods": ["GET"]}, headers={"X-Correlation-ID": "mine"})
        await client.ask(at("b"), "DELETE")
        _, body, _ = await client.ask("/api/revisions?limit=2")
        assert (body["total"], [one["revision"] for one in body["revisions"]]) == (3, [3, 2])
        _, body, _ = await client.ask(f"/api/revisions?limit=2&cursor={body['nextCursor']}")
        assert ([one["message"] for one in body["revisions"]], body["nextCursor"]) == (["first"], "")
        assert (await client.ask("/api/revisions?kind=route&name=b"))[1]["total"] == 2
        _, body, _ = await client.ask("/api/revisions/2")
        assert (body["actor"], body["correlationId"], body["changes"][0]["fields"]) == (
            "admin-token",
            "mine",
            [{"path": "methods", "before": None, "after": ["GET"]}],
        )
        _, body, _ = await client.ask("/api/revisions/3/diff?from=1")
        assert {(one["name"], one["action"]) for one in body["changes"]} == {("a", "update"), ("b", "delete")}
        _, body, _ = await client.ask("/api/revisions/1/rollback?dryRun=1", "POST")
        assert {(one["name"], one["action"]) for one in body["changes"]} == {("a", "update"), ("b", "create")}
        status, body, _ = await client.ask("/api/revisions/1/rollback", "POST")
        assert (status, body["revision"]) == (200, 4)
        assert (await client.ask(at("b")))[0] == 200
        for wrong in ("/api/revisions/99", "/api/revisions/x", "/api/revisions/99/diff"):
            assert (await client.ask(wrong))[0] == 404
        assert (await client.ask("/api/revisions/99/rollback", "POST"))[0] == 404


async def test_a_guarded_change_needs_force(tmp_path: Path) -> None:
    """Taking most routes away is refused until it is meant; the plan says so before."""
    async with api(tmp_path) as (client, _):
        routes = ",".join(f"{{path: /r{n}, upstream: u}}" for n in range(12))
        await client.ask("/api/config/apply", "POST", data=DOCUMENT[: DOCUMENT.index("routes")] + f"routes: [{routes}]")
        _, body, _ = await client.ask("/api/config/diff", "POST", data=DOCUMENT)
        assert "12 of 12" in body["needsForce"]
        status, body, _ = await client.ask("/api/config/apply", "POST", data=DOCUMENT)
        assert (status, body["code"]) == (409, "needs_force")
        assert (await client.ask("/api/config/apply?force=1", "POST", data=DOCUMENT))[0] == 200


async def test_the_audit_log(tmp_path: Path) -> None:
    """Who did what is searched, paged both ways, exported and verified."""
    async with api(tmp_path) as (client, _):
        for number in range(5):
            await client.ask(
                f"/api/upstreams?message=m{number}", "POST", json={"name": f"u{number}", "url": "http://u.x"}
            )
        _, body, _ = await client.ask("/api/audit?action=config.write&pageSize=2")
        assert (body["total"], body["page"], body["pageSize"], len(body["logs"])) == (5, 1, 2, 2)
        _, second, _ = await client.ask(f"/api/audit?action=config.write&pageSize=2&cursor={body['nextCursor']}")
        assert second["logs"] == (await client.ask("/api/audit?action=config.write&pageSize=2&page=2"))[1]["logs"]
        assert [one["target"] for one in body["logs"] + second["logs"]] == [f"upstream 'u{n}'" for n in (4, 3, 2, 1)]
        assert (await client.ask("/api/audit?search=m3"))[1]["total"] == 1
        status, text, response = await client.ask("/api/audit/export")
        assert (status, response.content_type) == (200, "application/x-ndjson")
        _, verified, _ = await client.ask("/api/audit/verify")
        assert (verified["valid"], verified["rows"]) == (True, len(text.splitlines()))
        for wrong in ("page=0", "since=soon", "pageSize=x", "page=1&cursor=MQ==", "who=x"):
            assert (await client.ask(f"/api/audit?{wrong}"))[0] == 400


async def test_a_write_waits_for_the_nodes(tmp_path: Path) -> None:
    """`Prefer: wait` answers when the nodes run the revision, and says which do not, and why."""
    async with api(tmp_path) as (client, plane):
        await client.ask("/api/routes", "POST", json=USERS | {"name": "users"})
        async with aio.insecure_channel(f"127.0.0.1:{plane.grpc_port}") as channel:
            node = NodeClient(channel, "pod/0")
            await node.connect()
            await node.accept()
            patch = client.ask(at("users"), "PATCH", json={"methods": ["GET", "PUT"]}, headers={"Prefer": "wait=20"})
            waiting = asyncio.create_task(patch)
            delta = await node.delta()
            await node.ack(delta.nonce, delta.revision, delta.store_epoch)
            status, body, response = await waiting
            assert (status, response.headers["Preference-Applied"]) == (200, "wait=20")
            applied = body["applied"]
            assert (applied["revision"], applied["nodes"], applied["acked"], applied["failed"]) == (2, 1, 1, [])
            _, seen, _ = await client.ask("/api/nodes/pod%2F0")
            assert (seen["id"], seen["ackedRevision"]) == ("pod/0", 2)
            assert (await client.ask("/api/nodes/none"))[0] == 404
            _, body, _ = await client.ask(at("users"), "DELETE", headers={"Prefer": "respond-async, wait=0"})
            assert [one["node"] for one in body["applied"]["pending"]] == ["pod/0"]


async def test_a_database_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    """Writes are 503 and leave nothing half-done, reads of what is known go on; when it is back, so are writes."""
    with running_postgres() as server:
        url = await server.create()
        async with api(tmp_path, database=url) as (client, _):
            assert (await client.ask("/api/routes", "POST", json=USERS | {"name": "users"}))[0] == 201
            await asyncio.to_thread(server.stop)
            status, body, response = await client.ask(at("users"), "PATCH", json={"methods": ["PUT"]})
            assert (status, "data planes are not affected" in body["message"]) == (503, True)
            assert response.headers["Retry-After"]
            assert (await client.ask(at("users")))[1]["methods"] == ["GET"]
            assert (await client.ask("/api/audit"))[0] == 503
            await asyncio.to_thread(server.start)
            assert (await client.ask(at("users"), "PATCH", json={"methods": ["PUT"]}))[0] == 200
            assert (await client.ask("/api/audit/verify"))[1]["valid"]


async def test_a_filter_that_nothing_can_pass_is_refused(tmp_path: Path) -> None:
    """`enabled=yes` gave an empty list, which reads as if no route were enabled."""
    async with api(tmp_path) as (client, _):
        status, body, _ = await client.ask("/api/routes?enabled=yes")
        assert (status, body["details"][0]["path"]) == (400, "enabled")
        assert (await client.ask("/api/routes?enabled=false"))[:2] == (200, [])


async def test_a_body_that_is_too_large_is_told_how_large_it_may_be(tmp_path: Path) -> None:
    """413 with both sizes."""
    async with api(tmp_path) as (client, _):
        data, headers = BytesIO(b" " * (DOCUMENT_BYTES + 1)), {"Content-Type": "application/json"}
        status, body, _ = await client.ask("/api/routes", "POST", data=data, headers=headers)
        assert status == 413
        assert str(DOCUMENT_BYTES) in body["message"]
