"""Access over REST and gRPC, against a whole control plane: who gets in, with what, and who does not."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc import aio

from controlplane.actor import ROLES
from controlplane.app import ControlPlane
from controlplane.auth.address import networks
from controlplane.auth.credential import mint
from controlplane.auth.roles import GRPC, OPEN, REST, covers, rest_role
from controlplane.rest import application
from shared.faults import ConfigError
from shared.pb import admin_pb2, discovery_pb2, enrolment_pb2, telemetry_pb2
from shared.pb.access_pb2 import (
    CreateTokenRequest,
    CreateUserRequest,
    DeleteUserRequest,
    ListTokensRequest,
    ListUsersRequest,
    RevokeTokenRequest,
    UpdateUserRequest,
)
from shared.pb.admin_pb2 import ListNodesRequest
from shared.pb.admin_pb2_grpc import AdminStub
from tests.integration.test_controlplane_app import AS_BOSS, BAD, Client, rest, started

PASSWORD = "correct horse battery"
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def browser(control_plane: ControlPlane) -> AsyncIterator[Client]:
    """A client with a cookie jar and without a token of its own."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Client(control_plane.rest_port, session, token="")


async def add_user(client: Client, name: str = "ada", role: str = "operator") -> None:
    body = {"name": name, "role": role, "password": PASSWORD, "email": f"{name}@example.com"}
    status, shown, _ = await client.ask("/api/users", "POST", json=body)
    assert (status, shown["name"], shown["role"]) == (201, name, role)


async def add_token(client: Client, role: str, name: str = "") -> dict[str, str]:
    """The headers of a new token."""
    status, made, _ = await client.ask("/api/tokens", "POST", json={"name": name or role, "role": role})
    assert status == 201
    return {"Authorization": f"Bearer {made['secret']}"}


async def log_in(page: Client, **more: Any) -> dict[str, Any]:
    body = {"name": "ada", "password": PASSWORD, "cookies": True, **more}
    status, grant, _ = await page.ask("/api/auth/login", "POST", json=body)
    assert status == 200, grant
    return dict(grant)


async def test_every_verb_stands_in_the_table(tmp_path: Path) -> None:
    """Each route of the router and each method of each gRPC service has a least role, and no line is for nothing."""
    async with started(tmp_path) as (control_plane, _):
        app = application(control_plane.plane)
        verbs = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    assert [verb for verb in verbs if rest_role(*verb) is None] == []
    used = {rest_key(*verb) for verb in verbs}
    assert [verb for verb in REST if rest_key(*verb) not in used] == []
    methods = {
        f"/{service.full_name}/{method.name}"
        for module in (admin_pb2, discovery_pb2, enrolment_pb2, telemetry_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods == {method for method in GRPC if method.startswith("/flexgate.")}


def rest_key(method: str, path: str) -> tuple[str, str]:
    return ("GET" if method == "HEAD" else method, path.replace("{id}", "{name}"))


async def test_nothing_is_open_but_probes(tmp_path: Path) -> None:
    """Without a credential, or with a wrong one, nothing answers; not even whether a path exists."""
    async with started(tmp_path) as (control_plane, _), browser(control_plane) as anyone:
        app = application(control_plane.plane)
        paths = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
        for method, path in sorted(paths):
            if rest_role(method, path) == OPEN or method == "HEAD":
                continue
            for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {mint('fgt')}"}):
                status, body, response = await anyone.ask(path, method, headers=headers)
                assert (status, response.headers["WWW-Authenticate"]) == (401, 'Bearer realm="flexgate"'), (
                    method,
                    path,
                )
                assert body.keys() == {"error", "message", "correlationId"}
        assert (await anyone.ask("/api/nothing"))[0] == 401
        for path in ("/health", "/health/live", "/health/ready"):
            assert (await anyone.ask(path))[0] == 200


async def test_roles_on_every_verb(tmp_path: Path) -> None:
    """Each role may use each verb exactly where the table says so: 403 where not, something else where it may."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        tokens = {role: await add_token(client, role) for role in ROLES}
        for (method, path), least in REST.items():
            target = path.replace("{id}", "x").replace("{name}", "none")
            for role in ROLES:
                status, body, _ = await client.ask(target, method, headers=tokens[role])
                assert (status == 403) is (least != OPEN and not covers(role, least)), (method, path, role, body)


async def test_bearer_tokens_of_every_shape(tmp_path: Path) -> None:
    """Huge, cut, doubled or strange credentials are refused with 401, and the control plane stays well."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        good = (await add_token(client, "viewer"))["Authorization"]
        strange = [
            good[:-1],
            good + "x",
            good + " " + good,
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Bearer a.b.c",
            "bearer",
        ]
        strange += [
            "Bearer " + "a" * 7000,
            "Bearer fgt_" + "0" * 5000,
            "Bearer " + "." * 4000,
            f"Bearer \u00e9{'a' * 50}",
        ]
        for header in strange:
            assert (await client.ask("/api/nodes", headers={"Authorization": header}))[0] == 401, header[:80]
        doubled = [("Authorization", good), ("Authorization", good)]
        async with client.session.get(client.base + "/api/nodes", headers=doubled) as response:
            assert response.status == 401
        assert (await client.ask("/api/nodes", headers={"Authorization": good.replace("Bearer", "bEARER")}))[0] == 200


async def test_tokens_over_rest(tmp_path: Path) -> None:
    """The secret is in one answer and no other; a revoked token is refused with the next request."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        body = {"name": "ci", "role": "operator", "expiresInDays": 30}
        status, made, response = await client.ask("/api/tokens", "POST", json=body)
        assert (status, response.headers["Location"]) == (201, "/api/tokens/ci")
        assert made["token"]["createdBy"] == "admin-token"
        headers = {"Authorization": f"Bearer {made['secret']}"}
        assert (await client.ask("/api/nodes", headers=headers))[0] == 200
        assert (await client.ask("/api/auth/session", headers=headers))[1]["role"] == "operator"
        for path in ("/api/tokens", "/api/tokens/ci", f"/api/tokens/{made['token']['id']}"):
            status, shown, _ = await client.ask(path)
            assert status == 200
            assert made["secret"] not in json.dumps(shown)
            assert made["token"]["prefix"] in json.dumps(shown)
        assert (await client.ask("/api/tokens", "POST", json=body))[0] == 409
        assert (await client.ask("/api/tokens/ci", "DELETE"))[0] == 204
        assert (await client.ask("/api/nodes", headers=headers))[0] == 401
        assert (await client.ask("/api/tokens/ci", "DELETE"))[0] == 404


@pytest.mark.parametrize(
    ("content", "status", "paths"),
    [
        (b'{"name": 5, "role": "root", "colour": "red"}', 400, {"name", "colour"}),
        (b'{"name": "a b", "role": "root"}', 400, {"name", "role"}),
        (b"[]", 400, set()),
        (b"{", 400, set()),
        (b'{"name": "\xff"}', 400, set()),
        (b'{"name": "a", "role": "viewer", "expiresInDays": -1}', 400, {"expiresInDays"}),
        (b'{"name": "' + b"a" * 70_000 + b'"}', 413, set()),
        (b'{"name": "a\\u0000", "role": "viewer"}', 400, {"name"}),
        (b"[" * 60_000, 400, set()),
    ],
)
async def test_bodies_that_make_no_sense(tmp_path: Path, content: bytes, status: int, paths: set[str]) -> None:
    """Every fault at once with its field, whatever was sent; nothing is made."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        found, body, _ = await client.ask("/api/tokens", "POST", data=content, headers=JSON)
        assert (found, {detail["path"] for detail in body.get("details", [])}) == (status, paths)
        assert (await client.ask("/api/tokens"))[1]["total"] == 0
        assert (await client.ask("/api/tokens", "POST", data=content))[0] == 415


async def test_users_over_rest(tmp_path: Path) -> None:
    """Made, listed, changed, removed; a password is in no answer, and the last admin stays."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        await add_user(client, "ada", "admin")
        await add_user(client, "bob", "viewer")
        _, listed, _ = await client.ask("/api/users?role=viewer")
        assert [user["name"] for user in listed["users"]] == ["bob"]
        assert PASSWORD not in json.dumps((await client.ask("/api/users"))[1])
        status, bob, _ = await client.ask("/api/users/bob", "PATCH", json={"role": "operator", "disabled": True})
        assert (status, bob["role"], bob["disabled"], bob["email"]) == (200, "operator", True, "bob@example.com")
        assert (await client.ask("/api/users/ada", "PATCH", json={"role": "viewer"}))[0] == 409
        assert (await client.ask("/api/users/ada", "PATCH", json={"name": "eve"}))[0] == 400
        assert (await client.ask("/api/users/ada", "DELETE"))[0] == 409
        assert (await client.ask("/api/users/bob", "DELETE"))[0] == 204
        assert (await client.ask("/api/users/bob"))[0] == 404


async def test_a_login_without_cookies(tmp_path: Path) -> None:
    """For programs of people: tokens in the answer; no cookie is set, and no header is needed beside the token."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as admin, browser(control_plane) as page:
        await add_user(admin)
        grant = await log_in(page, cookies=False)
        assert not list(page.session.cookie_jar)
        headers = {"Authorization": f"Bearer {grant['accessToken']}"}
        assert (await page.ask("/api/auth/session", headers=headers))[1]["user"]["name"] == "ada"
        assert (await page.ask("/api/routes", "POST", headers=headers))[0] == 409
        again = {"refreshToken": grant["refreshToken"]}
        status, fresh, _ = await page.ask("/api/auth/refresh", "POST", json=again)
        assert (status, fresh["user"]["name"]) == (200, "ada")
        headers = {"Authorization": f"Bearer {fresh['accessToken']}"}
        assert (await page.ask("/api/auth/logout", "POST", headers=headers))[0] == 204
        assert (await page.ask("/api/nodes", headers=headers))[0] == 401
        assert (await page.ask("/api/auth/refresh", "POST", json=again))[0] == 401


async def test_a_browsers_login(tmp_path: Path) -> None:
    """Cookies that no script reads and no other site sends; what writes needs the CSRF token as well."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as admin, browser(control_plane) as page:
        await add_user(admin)
        grant = await log_in(page)
        assert (grant["accessToken"], grant["refreshToken"]) == ("", "")
        for cookie in page.session.cookie_jar:
            assert cookie["httponly"], cookie.key
            assert cookie["samesite"] == "Strict"
        session = (await page.ask("/api/auth/session"))[1]
        assert (session["name"], session["csrfToken"]) == ("ada", grant["csrfToken"])
        own = {"X-CSRF-Token": grant["csrfToken"], "Origin": page.base}
        assert (await page.ask("/api/routes", "POST", headers=own))[0] == 409
        assert (await page.ask("/api/auth/refresh", "POST", json={}, headers={"Origin": page.base}))[0] == 200
        assert (await page.ask("/api/auth/session"))[0] == 200
        assert (await page.ask("/api/auth/logout", "POST", headers=own))[0] == 204
        assert (await page.ask("/api/auth/session"))[0] == 401
        assert not [cookie for cookie in page.session.cookie_jar if cookie.value]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "guessed"},
        {"X-CSRF-Token": "RIGHT", "Origin": "https://evil.example"},
        {"X-CSRF-Token": "RIGHT", "Origin": "null"},
        {"X-CSRF-Token": "RIGHT", "Origin": ""},
        {"X-CSRF-Token": "RIGHT", "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF-Token": "RIGHT", "Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_sites_request_is_refused(tmp_path: Path, method: str, headers: dict[str, str]) -> None:
    """Even with the user's cookies: without the token, or from a foreign page, nothing is written."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as admin, browser(control_plane) as page:
        await add_user(admin)
        grant = await log_in(page)
        given = {name: value.replace("RIGHT", grant["csrfToken"]) for name, value in headers.items()}
        status, body, _ = await page.ask("/api/routes/x", method, headers=given)
        assert status == 403, body
        assert control_plane.plane.auth.failures.counts == {"csrf": 1}


async def test_a_foreign_page_neither_logs_in_nor_refreshes(tmp_path: Path) -> None:
    """A login that a foreign page sends is refused, as JSON or as a form; so is a refresh by cookie."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as admin, browser(control_plane) as page:
        await add_user(admin)
        body, evil = {"name": "ada", "password": PASSWORD, "cookies": True}, {"Origin": "https://evil.example"}
        assert (await page.ask("/api/auth/login", "POST", json=body, headers=evil))[0] == 403
        assert (await page.ask("/api/auth/login", "POST", data=body))[0] == 415
        assert (
            await page.ask("/api/auth/login", "POST", data=json.dumps(body), headers={"Content-Type": "text/plain"})
        )[0] == 415
        await log_in(page)
        for headers in ({}, evil, {"Sec-Fetch-Site": "cross-site"}):
            assert (await page.ask("/api/auth/refresh", "POST", json={}, headers=headers))[0] == 403
        status, _, response = await page.ask("/api/nodes", headers=evil)
        assert status == 200
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_cookies_are_secure_where_the_public_url_is(tmp_path: Path) -> None:
    """Behind TLS the cookies have the prefixes and the flag, and the public origin is the one that counts."""
    async with (
        started(tmp_path, public_url="https://flexgate.example") as (control_plane, _),
        rest(control_plane) as admin,
        browser(control_plane) as page,
    ):
        await add_user(admin)
        body = {"name": "ada", "password": PASSWORD, "cookies": True}
        origin = {"Origin": "https://flexgate.example"}
        assert (await page.ask("/api/auth/login", "POST", json=body, headers={"Origin": page.base}))[0] == 403
        _, _, response = await page.ask("/api/auth/login", "POST", json=body, headers=origin)
        cookies = {line.partition("=")[0]: line for line in response.headers.getall("Set-Cookie")}
        assert cookies.keys() == {"__Host-flexgate", "__Secure-flexgate-refresh"}
        for line in cookies.values():
            assert "Secure" in line
            assert "HttpOnly" in line
            assert "SameSite=Strict" in line


async def test_logins_are_slowed_down_over_rest(tmp_path: Path) -> None:
    """The sixth failed try waits, and says how long; tokens go on working."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        await add_user(client)
        body = {"name": "ada", "password": "wrong password"}
        answers = [await client.ask("/api/auth/login", "POST", json=body) for _ in range(6)]
        assert [status for status, _, _ in answers] == [401] * 5 + [429]
        assert 1 <= int(answers[-1][2].headers["Retry-After"]) <= 60
        assert (await client.ask("/api/nodes"))[0] == 200
        _, events, _ = await client.ask("/api/events?event=auth.failure")
        assert {event["data"]["subject"] for event in events["events"]} == {"password", "throttled"}
        assert 'auth_failures_total{reason="password"} 5.0' in (await client.ask("/metrics"))[1]


async def test_requests_of_a_credential_are_limited(tmp_path: Path) -> None:
    """By credential: one that asks too often waits, others do not; probes and metrics never do."""
    async with started(tmp_path, api_rate_limit=20) as (control_plane, _), rest(control_plane) as client:
        other = await add_token(client, "viewer")
        statuses = [(await client.ask("/api/status"))[0] for _ in range(20)]
        assert statuses == [200] * 19 + [429]
        status, body, response = await client.ask("/api/status")
        assert (status, body["error"]) == (429, "Too Many Requests")
        assert 1 <= int(response.headers["Retry-After"]) <= 3
        assert (await client.ask("/api/status", headers=other))[0] == 200
        assert (await client.ask("/metrics"))[0] == 200
        assert (await client.ask("/health/ready"))[0] == 200


async def test_a_foreign_name_is_refused_on_loopback(tmp_path: Path) -> None:
    """A web page that points its own name at 127.0.0.1 does not get to the API, not even to the login."""
    async with started(tmp_path) as (control_plane, _), browser(control_plane) as page, rest(control_plane) as client:
        evil = {"Host": "evil.example"}
        assert (await page.ask("/api/config", headers=evil))[0] == 403
        assert (await page.ask("/api/auth/login", "POST", json={}, headers=evil))[0] == 403
        assert (await page.ask("/api/auth/login", "POST", json={}, headers={"Host": "localhost:1"}))[0] == 401
        assert (await client.ask("/api/config", headers=evil))[0] == 200


async def test_the_first_start_makes_an_admin_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a file for its owner alone, and not in the log; a later start makes none, even after it was revoked."""
    file = tmp_path / "state" / "admin-token"
    async with started(tmp_path, admin_token="") as (control_plane, _), rest(control_plane) as client:
        secret = file.read_text().strip()
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        assert secret not in caplog.text
        client.token = secret
        assert (await client.ask("/api/auth/session"))[1] == {
            "name": "bootstrap",
            "role": "admin",
            "kind": "token",
            "csrfToken": "",
        }
        await add_token(client, "admin", "mine")
        assert (await client.ask("/api/tokens/bootstrap", "DELETE"))[0] == 204
    file.unlink()
    async with started(tmp_path, admin_token="") as (control_plane, _), rest(control_plane) as client:
        assert not file.exists()
        client.token = secret
        assert (await client.ask("/api/nodes"))[0] == 401


async def test_a_start_that_is_refused_makes_no_token(tmp_path: Path) -> None:
    """Nobody would see it: it is made by the first start that serves."""
    file = tmp_path / "state" / "admin-token"
    with pytest.raises(ConfigError):
        async with started(tmp_path, BAD, admin_token=""):
            pass
    assert not file.exists()
    async with started(tmp_path, admin_token=""):
        assert file.exists()


async def test_a_given_admin_token_makes_no_other(tmp_path: Path) -> None:
    """With --admin-token nothing is left lying about."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        assert not (tmp_path / "state" / "admin-token").exists()
        assert (await client.ask("/api/tokens"))[1]["total"] == 0


async def test_access_over_grpc(tmp_path: Path) -> None:
    """The same verbs, roles and rules as REST."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        async with aio.insecure_channel(f"127.0.0.1:{control_plane.grpc_port}") as channel:
            admin = AdminStub(channel)
            made = await admin.CreateToken(CreateTokenRequest(name="ci", role="viewer"), metadata=AS_BOSS)
            viewer = [("authorization", f"Bearer {made.secret}")]
            assert not (await admin.ListNodes(ListNodesRequest(), metadata=viewer)).nodes
            with pytest.raises(aio.AioRpcError) as error:
                await admin.ListTokens(ListTokensRequest(), metadata=viewer)
            assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert [one.name for one in (await admin.ListTokens(ListTokensRequest(), metadata=AS_BOSS)).tokens] == [
                "ci"
            ]
            wrong = CreateUserRequest(name="ada", role="root", password="short")
            with pytest.raises(aio.AioRpcError, match=r"role: .*password: "):
                await admin.CreateUser(wrong, metadata=AS_BOSS)
            right = CreateUserRequest(name="ada", role="admin", password=PASSWORD)
            correlated = [*AS_BOSS, ("x-correlation-id", "mine")]
            await admin.CreateUser(right, metadata=correlated)
            await admin.UpdateUser(UpdateUserRequest(name="ada", email="a@example.com"), metadata=AS_BOSS)
            [user] = (await admin.ListUsers(ListUsersRequest(), metadata=AS_BOSS)).users
            assert (user.name, user.email) == ("ada", "a@example.com")
            with pytest.raises(aio.AioRpcError) as error:
                await admin.DeleteUser(DeleteUserRequest(name="ada"), metadata=AS_BOSS)
            assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            await admin.RevokeToken(RevokeTokenRequest(name="ci"), metadata=AS_BOSS)
            with pytest.raises(aio.AioRpcError) as error:
                await admin.ListNodes(ListNodesRequest(), metadata=viewer)
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        entries = [entry async for entry in control_plane.plane.audit.all()]
        [row] = [entry for entry in entries if entry.action == "user.create"]
        assert (row.actor, row.role, row.address, row.correlation_id) == ("admin-token", "admin", "127.0.0.1", "mine")
        assert (await client.ask("/api/nodes"))[0] == 200


async def test_the_client_behind_a_trusted_proxy_is_the_one_that_counts(tmp_path: Path) -> None:
    """Its address is what tries are counted by and the audit log tells; from others X-Forwarded-For says nothing."""
    async with (
        started(tmp_path, trusted_proxies=networks("127.0.0.0/8")) as (control_plane, _),
        rest(control_plane) as client,
    ):
        for number in range(6):
            body = {"name": f"nobody{number}", "password": "x"}
            headers = {"X-Forwarded-For": f"198.51.100.1, 203.0.113.{number}"}
            assert (await client.ask("/api/auth/login", "POST", json=body, headers=headers))[0] == 401
        addresses = [entry.address async for entry in control_plane.plane.audit.all()]
        assert addresses == [f"203.0.113.{number}" for number in range(6)]


async def test_many_logins_at_once(tmp_path: Path) -> None:
    """A hundred tries of one address that begin together are five."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        tries = [
            client.ask("/api/auth/login", "POST", json={"name": f"u{number}", "password": "x"}) for number in range(100)
        ]
        statuses = [status for status, _, _ in await asyncio.gather(*tries)]
        assert (statuses.count(401), statuses.count(429)) == (5, 95)
