"""What the gateway says itself: one shape of errors, its own fields on every answer, and the system endpoints."""

from __future__ import annotations

import socket
from datetime import datetime

import pytest

from tests.support.client import ask, connected, get, post
from tests.support.gateway import Gateway, document, proxied, running_gateway
from tests.support.origin import OK, answering, answering_once, echo

DEPRECATED = {"path": "/*", "deprecated": "use /v2"}
ROUTES = [{"path": "/a", "methods": ["GET", "POST"]}, {"path": "/users/:id"}, {"path": "/broken"}]


@pytest.mark.parametrize(
    ("data", "status", "error"),
    [
        (get("/none"), 404, "Not Found"),
        (get("/a", method="DELETE"), 405, "Method Not Allowed"),
        (get("/a", "Bad Name: x"), 400, "Bad Request"),
        (get("/a%00"), 400, "Bad Request"),
        (post(b"x" * 20, "/a"), 413, "Content Too Large"),
        (get("/broken"), 502, "Bad Gateway"),
        (get("/a", method="get"), 400, "Bad Request"),
    ],
)
async def test_errors_have_one_shape(data: bytes, status: int, error: str) -> None:
    """JSON with error, message and the correlation id of the header; nothing about the inside."""
    script = answering_once(b"garbage\r\n\r\n")
    async with proxied(script, routes=ROUTES, proxy={"maxBodySize": 10}) as (origin, gateway):
        answer = await gateway.ask(data)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert set(answer.json) <= {"error", "message", "correlationId", "retryAfter"}
    assert answer.json["message"]
    assert answer.json["correlationId"] == answer.value("x-correlation-id")
    assert (answer.value("content-type") or "").startswith("application/json")
    for inside in ("127.0.0.1", str(origin.port), "Traceback", ".py"):
        assert inside not in answer.body.decode()


@pytest.mark.parametrize(
    "data",
    [
        get("/a"),
        get("/none"),
        get("/a", method="DELETE"),
        get("/a b"),
        get("/broken"),
        get("/health"),
        get("/a", "Host: y"),
    ],
    ids=["relayed", "404", "405", "400 target", "502", "system", "400 host"],
)
async def test_every_answer_names_the_gateway(data: bytes) -> None:
    """API version, the revision that served it and the correlation id, once each, on whatever answer."""

    async with proxied(echo, routes=ROUTES) as (_, gateway):
        answer = await gateway.ask(data)
        version = (await gateway.admin("/version")).json["configVersion"]
    assert answer.value("x-api-version") == "1.0.0"
    assert answer.value("x-config-version") == str(version)
    assert answer.value("x-correlation-id")


async def test_a_wrong_method_is_told_the_right_ones() -> None:
    """405 with Allow; HEAD goes with GET or is listed, and the origin hears nothing."""
    async with proxied(echo, routes=ROUTES) as (origin, gateway):
        answer = await gateway.ask(get("/a", method="PUT"))
        assert answer.status == 405
        assert {"GET", "POST"} <= {name.strip() for name in (answer.value("allow") or "").split(",")}
        assert origin.received == []


async def test_a_deprecated_route_says_so() -> None:
    """With the reason, on its answers and on no others."""
    async with proxied(echo, routes=[DEPRECATED, {"path": "/v2"}]) as (_, gateway):
        assert (await gateway.ask(get("/v1"))).value("x-deprecated") == "use /v2"
        assert (await gateway.ask(get("/v2"))).value("x-deprecated") is None


async def test_errors_to_head_have_no_body() -> None:
    """But the fields of one; the connection goes on."""
    async with proxied(echo, routes=ROUTES) as (_, gateway), connected(gateway.port) as client:
        answer = await client.ask(get("/none", method="HEAD"))
        assert (answer.status, answer.body) == (404, b"")
        assert int(answer.value("content-length") or 0) > 0
        assert (await client.ask(get("/a"))).status == 200


async def test_an_http_10_client_gets_an_error_it_can_read() -> None:
    """With a length, and closed after."""
    async with proxied(echo, routes=ROUTES) as (_, gateway), connected(gateway.port) as client:
        answer = await client.ask(get("/none", version="1.0"))
        assert (answer.status, answer.json["error"]) == (404, "Not Found")
        assert await client.closed()


async def both_ports(gateway: Gateway, path: str) -> list[tuple[int, object]]:
    answers = [await ask(port, get(path, "Connection: close")) for port in (gateway.port, gateway.admin_port)]
    return [(answer.status, answer.json) for answer in answers]


async def test_the_version_is_told_on_both_ports() -> None:
    """Name, versions, revision, Python and uptime."""
    async with proxied(echo) as (_, gateway):
        for status, body in await both_ports(gateway, "/version"):
            assert status == 200
            assert isinstance(body, dict)
            assert {"name", "version", "apiVersion", "configVersion", "python", "uptime"} <= set(body)
            assert body["apiVersion"] == "1.0.0"


@pytest.mark.parametrize("path", ["/health", "/health/live"])
async def test_liveness_is_told_on_both_ports(path: str) -> None:
    """Status, time in ISO 8601 UTC and version."""
    async with proxied(echo) as (_, gateway):
        for status, body in await both_ports(gateway, path):
            assert isinstance(body, dict)
            assert (status, body["status"]) == (200, "UP")
            assert datetime.fromisoformat(body["timestamp"].replace("Z", "+00:00")).tzinfo is not None
            assert body["version"]


async def test_readiness_does_not_depend_on_upstreams() -> None:
    """A dead upstream leaves the gateway able to serve the others: still 200, with the checks listed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with running_gateway(document(f"http://127.0.0.1:{taken.getsockname()[1]}")) as gateway:
            assert (await gateway.ask(get("/a"))).status == 502
            for status, body in await both_ports(gateway, "/health/ready"):
                assert isinstance(body, dict)
                assert status == 200
                assert body["status"] in ("UP", "DEGRADED")
                assert set(body["checks"]) == {"config", "upstreams", "redis", "controlPlane"}


async def test_deep_health_is_on_the_admin_port_only() -> None:
    """What is inside is for operators: on the traffic port that path is traffic."""
    async with proxied(echo) as (origin, gateway):
        deep = await gateway.admin("/health/deep")
        assert deep.status == 200
        assert {"uptime", "circuitBreakers", "upstreams", "pools", "memory", "config"} <= set(deep.json)
        assert (await gateway.ask(get("/health/deep"))).json["target"] == "/health/deep"
        assert (await gateway.ask(get("/config_dump"))).json["target"] == "/config_dump"
        assert len(origin.received) == 2


async def test_the_config_dump_tells_no_secrets() -> None:
    """Routes and upstreams in full; hashes of keys not."""
    keys = [{"key": "0123456789abcdef" * 4, "name": "Client A"}]
    async with proxied(echo, security={"auth": {"type": "apiKey", "keys": keys}}) as (origin, gateway):
        dump = await gateway.admin("/config_dump")
        assert dump.status == 200
        assert str(origin.port) in dump.body.decode()
        assert "0123456789abcdef" not in dump.body.decode()


async def test_system_endpoints_can_be_taken_off_the_traffic_port() -> None:
    """`systemEndpoints: false`: their paths are traffic there, and stay on the admin port."""
    async with proxied(echo, proxy={"systemEndpoints": False}) as (_, gateway):
        for path in ("/version", "/health", "/health/ready", "/metrics"):
            assert (await gateway.ask(get(path))).json["target"] == path
            assert (await gateway.admin(path)).status == 200


async def test_a_post_to_a_system_path_is_traffic() -> None:
    """Only GET and HEAD are the gateway's there."""
    async with proxied(echo) as (_, gateway):
        assert (await gateway.ask(post(b"a", "/version"))).json["target"] == "/version"
        head = await gateway.ask(get("/version", method="HEAD"))
        assert (head.status, head.body) == (200, b"")


async def test_metrics_can_be_switched_off() -> None:
    """Without them /metrics is a path like any other on the traffic port, and 404 on the admin port."""
    async with proxied(answering(OK), metrics={"enabled": False}) as (origin, gateway):
        assert (await gateway.ask(get("/metrics"))).status == 200
        assert len(origin.received) == 1
        assert (await gateway.admin("/metrics")).status == 404


async def test_metrics_carry_templates_and_never_paths() -> None:
    """However many paths are asked for, labels come from the configuration and from HTTP's own words."""
    async with proxied(answering(OK), routes=ROUTES) as (_, gateway):
        for path in ("/users/1", "/users/2", "/users/3", "/none/1", "/none/2", "/a"):
            await gateway.ask(get(path))
        await gateway.ask(get("/a", method="PROPFIND"))
        await gateway.ask(b"INVENTED /a HTTP/1.1\r\nHost: x\r\n\r\n")
        found = await gateway.settled()
    labels = found.labels("http_requests_total", "route")
    assert len(labels) <= 4
    assert not any(part in label for label in labels for part in ("1", "2", "3", "none/"))
    assert found.value("http_requests_total", route="/users/:id", status="200", method="GET") == 3
    assert "INVENTED" not in found.labels("http_requests_total", "method")
    assert found.value("http_request_duration_ms_count", route="/users/:id") == 3
    assert found.value("upstream_requests_total", upstream="origin") == 4
    assert found.value("config_revision") >= 1


async def test_bodies_are_counted_in_bytes() -> None:
    """Both directions, without their framing."""
    async with proxied(answering(OK)) as (_, gateway):
        await gateway.ask(post(b"12345"))
        found = await gateway.settled()
    assert found.value("http_request_size_bytes_sum", method="POST") == 5
    assert found.value("http_response_size_bytes_sum", method="POST") == 2
