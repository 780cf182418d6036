"""The measured faults of the gateway that FlexGate replaces: none of them is here."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from shared.faults import ConfigError
from tests.support.client import ask, connected, get, post
from tests.support.gateway import document, proxied, running_gateway
from tests.support.origin import OK, Peer, answering, echo, serving
from tests.support.process import DataPlaneProcess, running_process

AT_ONCE = ("--drain-delay", "0")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]
)
async def test_posted_bodies_do_not_hang(kind: str) -> None:
    """Of any content type, in one segment or two, they arrive as they were sent."""
    body = b'{"a": [1, 2, 3]}'
    async with proxied(echo) as (_, gateway), connected(gateway.port) as client:
        assert (await client.ask(post(body, "/", f"Content-Type: {kind}"))).json["body"] == body.decode()
        data = post(body, "/", f"Content-Type: {kind}")
        await client.send(data[:-5])
        assert (await client.ask(data[-5:], method="POST")).json["body"] == body.decode()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_method_lists_are_enforced(method: str) -> None:
    """A method that a route does not list is 405, and reaches nobody."""
    async with proxied(echo, route={"methods": ["GET"]}) as (origin, gateway):
        assert (await gateway.ask(get("/", method=method))).status == 405
        assert origin.received == []


async def test_unknown_keys_stop_the_start() -> None:
    """A limiter that is silently off because of a typing mistake cannot happen: every unknown key is named."""
    text = document("http://127.0.0.1:1", route={"rateLimits": {"max": 1}}, ratelimit={"enabled": True})
    with pytest.raises(ConfigError) as refused:
        async with running_gateway(text):
            pass
    told = str(refused.value)
    assert "rateLimits" in told
    assert "rateLimit" in told
    assert {fault.path for fault in refused.value.faults} >= {"routes[0].rateLimits", "ratelimit"}


async def test_timeouts_are_answered() -> None:
    """504 in the shape of every error, not a socket that resets."""

    async def hangs(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with proxied(hangs, upstream={"timeout": 300}) as (_, gateway):
        answer = await gateway.ask(get())
        assert (answer.status, answer.json["error"]) == (504, "Gateway Timeout")


async def test_a_foreign_origin_is_no_error() -> None:
    """A request that comes from a page of another site is served like any other."""
    async with proxied(echo) as (_, gateway):
        assert (await gateway.ask(get("/", "Origin: https://elsewhere.example"))).status == 200


async def test_a_new_route_needs_no_restart() -> None:
    """An edited file is served within a moment, at a higher revision, on connections that stay open."""
    routes = [{"path": "/old"}]
    async with proxied(echo, routes=routes) as (origin, gateway), connected(gateway.port) as client:
        before = await client.ask(get("/old"))
        assert (await client.ask(get("/new"))).status == 404
        await gateway.reconfigure(document(origin.url, routes=[*routes, {"path": "/new"}]))
        after = await client.ask(get("/new"))
        assert (after.status, after.json["target"]) == (200, "/new")
        assert int(after.value("x-config-version") or 0) > int(before.value("x-config-version") or 0)


async def test_a_bad_edit_changes_nothing() -> None:
    """The old configuration goes on serving, and the refusal is counted; the next good edit takes over."""
    async with proxied(echo, routes=[{"path": "/old"}]) as (origin, gateway):
        before = (await gateway.ask(get("/old"))).value("x-config-version")
        gateway.config.write_text("routes: [\n")
        await gateway.until_refused()
        answer = await gateway.ask(get("/old"))
        assert (answer.status, answer.value("x-config-version")) == (200, before)
        await gateway.reconfigure(document(origin.url, routes=[{"path": "/new"}]))
        assert (await gateway.ask(get("/new"))).status == 200


async def test_pools_survive_edits() -> None:
    """A new configuration keeps the connections to upstreams that it still has."""
    async with proxied(echo) as (origin, gateway):
        await gateway.ask(get())
        await gateway.reconfigure(document(origin.url, routes=[{"path": "/*"}, {"path": "/more"}]))
        await gateway.ask(get())
        assert origin.connections == 1


async def requests_logged(node: DataPlaneProcess) -> list[dict[str, Any]]:
    """Every request line that a process wrote, once it has ended."""
    node.signal(signal.SIGTERM)
    assert await node.ended() == 0
    return [record for record in node.records if record.get("event") == "request.completed"]


@pytest.mark.parametrize(
    ("sampling", "successes", "errors"),
    [
        ({"successRate": 0, "errorRate": 1}, 0, 5),
        ({"successRate": 1, "errorRate": 0}, 5, 0),
        ({"successRate": 1}, 5, 5),
    ],
)
async def test_log_sampling_is_obeyed(sampling: dict[str, float], successes: int, errors: int) -> None:
    """Rates of nothing and of everything, for successes and for errors apart."""
    async with serving(answering(OK)) as origin:
        text = document(origin.url, routes=[{"path": "/a"}], logging={"sampling": sampling})
        async with running_process(text, *AT_ONCE) as node:
            for _ in range(5):
                assert (await ask(node.port, get("/a"))).status == 200
                assert (await ask(node.port, get("/none"))).status == 404
            lines = await requests_logged(node)
    statuses = [line["http"]["statusCode"] for line in lines]
    assert (statuses.count(200), statuses.count(404)) == (successes, errors)


async def test_a_log_line_tells_all_and_no_secrets() -> None:
    """The record of CONTRACT section 6; credentials, cookies and redacted query values are nowhere in it."""
    logging = {"sampling": {"successRate": 1}, "redact": ["token"]}
    async with serving(answering(OK)) as origin:
        text = document(origin.url, routes=[{"path": "/users/:id"}], logging=logging)
        async with running_process(text, *AT_ONCE) as node:
            secrets = ["Authorization: Bearer hidden-1", "Cookie: session=hidden-2", "X-API-Key: hidden-3"]
            data = get("/users/7?token=hidden-4&page=2", *secrets, "User-Agent: tests", "X-Correlation-ID: abc")
            assert (await ask(node.port, data)).status == 200
            (line,) = await requests_logged(node)
    assert (line["level"], line["correlationId"], line["metadata"]["route"]) == ("info", "abc", "/users/:id")
    http = line["http"]
    assert (http["method"], http["statusCode"], http["clientIp"], http["userAgent"]) == (
        "GET",
        200,
        "127.0.0.1",
        "tests",
    )
    assert http["path"].startswith("/users/7?")
    assert "page=2" in http["path"]
    assert {"host", "duration", "statusCode", "attempts"} <= set(line["upstream"])
    assert line["duration"] >= 0
    assert "hidden" not in json.dumps(line)
