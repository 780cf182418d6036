"""REST of the resources against a whole control plane over its database: every verb, and what goes wrong with each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from controlplane.app import ControlPlane, running
from controlplane.settings import Settings
from tests.integration.test_controlplane_app import BOSS, Client, rest

USERS = {"path": "/users/*", "upstream": "http://users.internal:8080", "methods": ["GET"]}


@asynccontextmanager
async def api(directory: Path, **changes: Any) -> AsyncIterator[tuple[Client, ControlPlane]]:
    """A client of a control plane over a database of its own."""
    given: dict[str, Any] = {"port": 0, "grpc_port": 0, "admin_token": BOSS, "api_rate_limit": 0}
    given |= {"database": f"sqlite:///{directory / 'flexgate.db'}", "state_dir": directory / "state", **changes}
    settings = Settings(**given)
    async with asyncio.timeout(60), running(settings) as control_plane, rest(control_plane) as client:
        yield client, control_plane


def at(name: str, kind: str = "routes") -> str:
    return f"/api/{kind}/{quote(name, safe='')}"


async def test_a_route_in_the_shape_of_the_contract(tmp_path: Path) -> None:
    """A route whose upstream is a URL makes the upstream; the answer is the route, where it is and its etag."""
    async with api(tmp_path) as (client, _):
        body = USERS | {
            "rateLimit": {"requests": 100, "window": "60s"},
            "circuitBreaker": {"enabled": True, "threshold": 7},
        }
        status, made, response = await client.ask("/api/routes", "POST", json=body)
        assert status == 201, made
        assert (made["id"], made["upstream"], made["upstreamName"], made["methods"], made["enabled"]) == (
            1,
            "http://users.internal:8080",
            "http-users.internal-8080",
            ["GET"],
            True,
        )
        assert made["rateLimit"] == {"requests": 100, "window": "60s"}
        assert made["circuitBreaker"] == {"enabled": True, "threshold": 7}
        assert response.headers["X-Config-Version"] == "1"
        status, found, again = await client.ask(response.headers["Location"])
        assert (status, found) == (200, made)
        assert again.headers["ETag"] == response.headers["ETag"]
        _, [upstream], _ = await client.ask("/api/upstreams")
        assert upstream["circuitBreaker"] == {"failureThreshold": 7, "enabled": True}
        status, other, _ = await client.ask("/api/routes", "POST", json={"path": "/v2", "targetUrl": USERS["upstream"]})
        assert (status, other["upstreamName"], other["id"]) == (201, made["upstreamName"], 2)


async def test_putting_what_was_got_changes_nothing(tmp_path: Path) -> None:
    """PUT(GET(x)) is the same revision for every kind, with secrets redacted and defaults shown."""
    async with api(tmp_path) as (client, _):
        settings = {
            "proxy": {"maxBodySize": "10mb"},
            "security": {"auth": {"type": "apiKey", "keys": [{"name": "x", "key": "b" * 64}]}},
        }
        assert (await client.ask("/api/settings", "PUT", json=settings))[0] == 200
        key = {"name": "old", "consumer": "ada", "key": "a" * 64}
        for path, body in (
            ("upstreams", {"name": "u", "endpoints": ["http://a.internal", "http://b.internal"]}),
            ("upstreams", {"name": "one", "url": "http://a.internal"}),
            (
                "routes",
                {
                    "name": "a",
                    "path": "/a",
                    "upstream": "u",
                    "auth": "required",
                    "rateLimit": {"max": 5, "window": "1500ms"},
                },
            ),
            (
                "routes",
                {
                    "name": "b",
                    "path": "/b",
                    "split": [{"upstream": "u", "weight": 1}, {"upstream": "one", "weight": 2}],
                },
            ),
            ("routes", {"name": "c", "path": "/c", "upstream": "one", "enabled": True, "timeout": "2s"}),
            (
                "routes",
                {"name": "d", "path": "/d", "upstream": "one", "requestHeaders": {"set": {"X-Api-Key": "s3cret"}}},
            ),
            ("consumers", {"name": "ada", "groups": ["ops"]}),
            ("keys", key),
            ("keys", {"name": "new", "consumer": "ada"}),
        ):
            status, made, _ = await client.ask(f"/api/{path}", "POST", json=body)
            assert status == 201, made
        before = str((await client.ask("/api/revisions"))[1]["total"])
        for path in ("routes", "upstreams", "consumers", "keys"):
            for item in (await client.ask(f"/api/{path}"))[1]:
                status, after, answer = await client.ask(at(item["name"], path), "PUT", json=item)
                assert (status, after) == (200, item)
                assert answer.headers["X-Config-Version"] == before, item
        _, shown, _ = await client.ask("/api/settings")
        assert shown["proxy"]["maxBodySize"] == 10 * 1024 * 1024
        assert shown["security"]["auth"]["keys"][0]["key"] == "[redacted]"
        _, _, answer = await client.ask("/api/settings", "PUT", json=shown)
        assert answer.headers["X-Config-Version"] == before


async def test_preconditions(tmp_path: Path) -> None:
    """A stale etag is 412 and changes nothing; a malformed one is 400; * asks only that it is there."""
    async with api(tmp_path) as (client, _):
        _, made, response = await client.ask("/api/routes", "POST", json=USERS | {"name": "users"})
        first = response.headers["ETag"]
        changed = made | {"methods": ["GET", "POST"]}
        status, _, response = await client.ask(at("users"), "PUT", json=changed, headers={"If-Match": first})
        assert status == 200
        for stale in (first, f"W/{response.headers['ETag']}", '""'):
            status, body, _ = await client.ask(at("users"), "PUT", json=made, headers={"If-Match": stale})
            assert (status, body["code"]) == (412, "stale")
            assert (await client.ask(at("users"), "DELETE", headers={"If-Match": stale}))[0] == 412
            assert (await client.ask(at("users"), "PATCH", json={}, headers={"If-Match": stale}))[0] == 412
        assert (await client.ask(at("users"), "PUT", json=made, headers={"If-Match": "x"}))[0] == 400
        assert (await client.ask(at("users"), "PUT", json=made, headers={"If-None-Match": "*"}))[0] == 412
        assert (await client.ask(at("new"), "PUT", json=USERS | {"path": "/new"}, headers={"If-Match": "*"}))[0] == 404
        several = f'"other", {response.headers["ETag"]}'
        assert (await client.ask(at("users"), "PUT", json=made, headers={"If-Match": several}))[0] == 200
        status, _, _ = await client.ask(at("new"), "PUT", json=USERS | {"path": "/new"}, headers={"If-None-Match": "*"})
        assert status == 201


async def test_of_two_writers_with_one_etag_one_wins(tmp_path: Path) -> None:
    """Of several writers that read the same, exactly one may write; merge patches without an etag all land."""
    async with api(tmp_path) as (client, _):
        _, made, response = await client.ask("/api/routes", "POST", json=USERS | {"name": "users"})
        headers = {"If-Match": response.headers["ETag"]}
        asked = [
            client.ask(at("users"), "PUT", json=made | {"metadata": {"by": str(n)}}, headers=headers) for n in range(8)
        ]
        assert sorted([status for status, _, _ in await asyncio.gather(*asked)]) == [200] + 7 * [412]
        asked = [client.ask(at("users"), "PATCH", json={"metadata": {f"m{n}": "x"}}) for n in range(8)]
        assert [status for status, _, _ in await asyncio.gather(*asked)] == 8 * [200]
        assert {f"m{n}" for n in range(8)} <= (await client.ask(at("users")))[1]["metadata"].keys()


async def test_everything_wrong_at_once(tmp_path: Path) -> None:
    """All faults come in one answer, at the paths that were written, with suggestions; nothing is changed."""
    async with api(tmp_path) as (client, plane):
        body = {"path": "users", "upstraem": "u", "upstream": "none", "rateLimit": {"requests": -1, "window": "soon"}}
        status, answer, _ = await client.ask("/api/routes", "POST", json=body)
        assert (status, answer["error"], answer["code"]) == (400, "Bad Request", "invalid")
        told = {detail["path"]: detail["message"] for detail in answer["details"]}
        assert told.keys() >= {"path", "upstraem", "rateLimit.requests", "rateLimit.window"}
        assert "did you mean upstream" in told["upstraem"]
        status, answer, _ = await client.ask("/api/routes", "POST", json={"path": "/a", "upstream": "none"})
        assert [detail["path"] for detail in answer["details"]] == ["upstream"]
        body = {"path": "/a", "upstream": "ftp://x"}
        assert (await client.ask("/api/routes", "POST", json=body))[1]["details"][0]["path"] == "upstream"
        assert (await client.ask("/api/routes?dryrun=1", "POST", json=USERS))[1]["message"] == (
            "unknown query parameter dryrun; did you mean dryRun?"
        )
        assert (await client.ask("/api/routes", "POST", data="x=1"))[0] == 415
        assert (await client.ask("/api/routes", "POST", json=[1]))[0] == 400
        assert plane.plane.publisher.revision == 0


async def test_strange_bodies(tmp_path: Path) -> None:
    """What is nested too deep, or holds what no text has, is refused as a fault of the request."""
    async with api(tmp_path) as (client, _):
        assert (await client.ask("/api/settings", "PATCH", json={"logging": {"level": "debug"}}))[0] == 200
        await client.ask("/api/routes", "POST", json=USERS | {"name": "users"})
        for depth, expected in ((20, 200), (60, 400), (900, 400), (1000, 400)):
            text = '{"bodySchema":' + '{"a":' * depth + "1" + "}" * depth + "}"
            headers = {"Content-Type": "application/json"}
            assert (await client.ask(at("users"), "PATCH", data=text, headers=headers))[0] == expected, depth
            assert (await client.ask("/api/routes", "POST", data=text, headers=headers))[0] == 400
        status, _, _ = await client.ask("/api/routes?message=a%00", "POST", json=USERS | {"path": "/b"})
        assert status == 400
        assert (await client.ask("/api/audit?search=%00"))[0] == 400


async def test_patch_merges(tmp_path: Path) -> None:
    """A merge patch changes what it names, by any of its names; null takes away; the rest stays."""
    async with api(tmp_path) as (client, _):
        body = USERS | {
            "name": "users",
            "rateLimit": {"requests": 100, "window": "60s"},
            "requestHeaders": {"set": {"X-A": "1"}},
        }
        status, made, _ = await client.ask("/api/routes", "POST", json=body)
        assert status == 201, made
        patch = {"rateLimit": {"max": 7}, "requestHeaders": {"set": {"X-A": None, "X-B": "2"}}, "methods": None}
        _, after, _ = await client.ask(at("users"), "PATCH", json=patch)
        assert after.get("rateLimit") == {"requests": 7, "window": "60s"}
        assert (after["requestHeaders"], after["methods"]) == ({"set": {"X-B": "2"}}, [])
        _, after, _ = await client.ask(
            at("users"), "PATCH", json={"upstream": "http://other.internal", "rateLimit": None}
        )
        assert (after["upstreamName"], "rateLimit" in after) == ("http-other.internal", False)
        assert (await client.ask(at("users"), "PATCH", json={"circuitBreaker": None}))[0] == 400
        _, after, _ = await client.ask(at("users"), "PATCH", json={"circuitBreaker": {"threshold": "50%"}})
        assert after["circuitBreaker"] == {"enabled": True, "threshold": "50%"}
        assert (await client.ask(at("none"), "PATCH", json={}))[0] == 404
        status, _, _ = await client.ask(
            at("users"), "PATCH", data=b'{"enabled": false}', headers={"Content-Type": "application/merge-patch+json"}
        )
        assert status == 200


async def test_what_is_referenced_stays(tmp_path: Path) -> None:
    """An upstream that a route needs is not deleted, and the answer names the route; then it is."""
    async with api(tmp_path) as (client, _):
        _, made, _ = await client.ask("/api/routes", "POST", json=USERS | {"name": "users"})
        status, body, _ = await client.ask(at(made["upstreamName"], "upstreams"), "DELETE")
        assert (status, body["code"]) == (409, "referenced")
        assert "route 'users'" in body["message"]
        assert (await client.ask(at("users"), "DELETE"))[:2] == (204, "")
        assert (await client.ask("/api/upstreams/1", "DELETE"))[0] == 204
        assert (await client.ask(at("users"), "DELETE"))[0] == 404


async def test_an_idempotency_key(tmp_path: Path) -> None:
    """The same request twice is one write and one answer; another with the same key is refused."""
    async with api(tmp_path) as (client, plane):
        headers = {"Idempotency-Key": "k-1"}
        status, first, one = await client.ask("/api/routes", "POST", json=USERS, headers=headers)
        again, second, two = await client.ask("/api/routes", "POST", json=USERS, headers=headers)
        assert (status, first, one.headers["ETag"]) == (again, second, two.headers["ETag"])
        assert (one.headers.get("Idempotent-Replayed"), two.headers["Idempotent-Replayed"]) == (None, "true")
        status, body, _ = await client.ask("/api/routes", "POST", json=USERS | {"path": "/x"}, headers=headers)
        assert (status, body["code"]) == (422, "idempotency_key_reused")
        committed = plane.plane.service.committed
        assert committed is not None and committed.revision == 1  # the publisher may still be on its way
        await client.ask("/api/consumers", "POST", json={"name": "ada"})
        headers = {"Idempotency-Key": "k-2"}
        _, first, _ = await client.ask("/api/keys", "POST", json={"consumer": "ada"}, headers=headers)
        status, second, _ = await client.ask("/api/keys", "POST", json={"consumer": "ada"}, headers=headers)
        assert (status, first["secret"][:4], "secret" in second) == (201, "fgk_", False)
        assert first.keys() - second.keys() == {"secret"}


async def test_a_repeated_request_is_not_refused_for_what_the_first_one_did(tmp_path: Path) -> None:
    """What was created is there, what was deleted is gone: the second request is answered as the first one was."""
    async with api(tmp_path) as (client, _):
        await client.ask("/api/consumers", "POST", json={"name": "ada"})
        made: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [
            ("POST", "/api/keys", {"name": "k", "consumer": "ada"}, {}),
            ("POST", "/api/routes", USERS | {"name": "users"}, {}),
            ("PATCH", at("users"), {"methods": ["PUT"]}, {"If-Match": "*"}),
            ("POST", "/api/keys/1/rotate", {"grace": "1h"}, {}),
            ("DELETE", "/api/routes/1", {}, {}),
            ("DELETE", at("k", "keys"), {}, {}),
        ]
        for number, (method, path, body, more) in enumerate(made):
            headers = {"Idempotency-Key": f"n{number}"} | more
            more_body = {} if method == "DELETE" else {"json": body}
            first, _, _ = await client.ask(path, method, headers=headers, **more_body)
            second, _, answer = await client.ask(path, method, headers=headers, **more_body)
            assert (first == second, first < 300, answer.headers.get("Idempotent-Replayed")) == (True, True, "true"), (
                path
            )


async def test_keys(tmp_path: Path) -> None:
    """A key is shown when it is made and when it is rotated, and never again; the old one works on for the grace."""
    async with api(tmp_path) as (client, _):
        await client.ask("/api/consumers", "POST", json={"name": "ada"})
        _, made, _ = await client.ask("/api/keys", "POST", json={"consumer": "ada", "scopes": ["read"]})
        assert (made["name"], made["key"], made["enabled"]) == ("ada", "[redacted]", True)
        assert made["secret"] not in str(await client.ask("/api/keys"))
        status, rotated, _ = await client.ask("/api/keys/ada/rotate", "POST", json={"grace": "24h"})
        assert (status, rotated["name"]) == (200, "ada")
        assert rotated["secret"] != made["secret"]
        assert [one["name"] for one in (await client.ask("/api/keys"))[1]] == ["ada", "ada~1"]
        assert (await client.ask("/api/keys/ada/rotate", "POST", json={"grace": "soon", "x": 1}))[1]["details"] == [
            {"path": "x", "message": "unknown key; known here: grace", "code": "unknown_key"},
            {
                "path": "grace",
                "message": "expected a number of milliseconds or a duration such as 30s, got 'soon'",
                "code": "type",
            },
        ]
        assert (await client.ask("/api/keys/ada~1", "DELETE"))[0] == 204
        status, body, _ = await client.ask(
            "/api/keys", "POST", json={"name": "h", "type": "hmac", "consumer": "ada", "key": "id", "secret": "s" * 32}
        )
        assert (status, body["secret"]) == (201, "[redacted]"), body


async def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    """`dryRun=1` tells each field that would change, and what would be warned of or guarded; nothing is written."""
    async with api(tmp_path) as (client, plane):
        status, body, _ = await client.ask("/api/routes?dryRun=1", "POST", json=USERS)
        assert (status, body["dryRun"], body["revision"], body["nodes"]) == (200, True, 0, [])
        assert [(one["kind"], one["action"]) for one in body["changes"]] == [
            ("settings", "create"),
            ("upstream", "create"),
            ("route", "create"),
        ]
        assert plane.plane.publisher.revision == 0
        await client.ask("/api/routes", "POST", json=USERS | {"name": "users"})
        _, body, _ = await client.ask(f"{at('users')}?dryRun=nodes", "PATCH", json={"methods": ["GET", "POST"]})
        assert body["changes"][0]["fields"] == [{"path": "methods", "before": ["GET"], "after": ["GET", "POST"]}]
        assert body["verdicts"] == []
        _, body, _ = await client.ask("/api/keys?dryRun=1", "POST", json={"name": "k", "consumer": "none"})
        assert [detail["path"] for detail in body["details"]] == ["consumer"]


async def test_warnings_come_with_the_plan_and_with_the_write(tmp_path: Path) -> None:
    """What is taken and does nothing yet is told before and after; what was answered can be put back all the same."""
    async with api(tmp_path) as (client, _):
        body = USERS | {"name": "users", "cache": {"ttl": "5s"}}
        for path, status in (("/api/routes?dryRun=1", 200), ("/api/routes", 201)):
            found, answer, _ = await client.ask(path, "POST", json=body)
            assert (found, [warning["path"] for warning in answer["warnings"]]) == (status, ["cache"])
        assert (await client.ask(at("users"), "PUT", json=answer))[0] == 200
        assert "warnings" not in (await client.ask(at("users")))[1]


async def test_lists_are_read_page_by_page(tmp_path: Path) -> None:
    """Every resource that stays is seen once, in the order of ids, whatever is written between two pages."""
    async with api(tmp_path) as (client, _):
        for number in range(10):
            await client.ask("/api/upstreams", "POST", json={"name": f"u{number}", "url": f"http://u{number}.internal"})
        names, cursor = [], ""
        for turn in range(20):
            _, items, response = await client.ask(f"/api/upstreams?limit=3{cursor}")
            names += [item["name"] for item in items]
            if turn == 0:
                assert response.headers["X-Total-Count"] == "10"
                await client.ask("/api/upstreams/u1", "DELETE")
                await client.ask("/api/upstreams/u5", "DELETE")
                await client.ask("/api/upstreams", "POST", json={"name": "u1", "url": "http://again.internal"})
            if "X-Next-Cursor" not in response.headers:
                break
            cursor = f"&cursor={response.headers['X-Next-Cursor']}"
        assert names == ["u0", "u1", "u2", "u3", "u4", "u6", "u7", "u8", "u9", "u1"]
        assert [one["name"] for one in (await client.ask("/api/upstreams?search=U7"))[1]] == ["u7"]
        assert (await client.ask("/api/upstreams?colour=red"))[0] == 400
