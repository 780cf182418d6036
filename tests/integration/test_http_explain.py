"""POST /explain of a serving data plane: what it says would happen is what happens, and asking takes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from tests.support.client import Response, ask, get, post
from tests.support.gateway import Gateway, document, proxied, running_gateway
from tests.support.origin import answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ERROR = b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno"
PAST = (datetime.now(UTC) - timedelta(days=1)).isoformat()
KEYS = [
    {"key": sha256(b"good").hexdigest(), "name": "anna", "scopes": ["read"]},
    {"key": sha256(b"late").hexdigest(), "name": "bert", "expiresAt": PAST},
]
LIMIT = {"max": 3, "windowMs": 3_600_000}


async def explain(gateway: Gateway, **question: Any) -> Any:
    """The answer of the admin port."""
    body = json.dumps({"path": "/x", "clientIp": "127.0.0.1", **question}).encode()
    answer: Response = await ask(gateway.admin_port, post(body, "/explain", "Connection: close"))
    assert answer.status == 200, answer.body
    return answer.json


def verdict(answer: Any, name: str) -> Any:
    """What a filter would do."""
    [found] = [each for each in answer["filters"] if each["filter"] == name]
    return found


async def test_a_limit_is_told_and_not_taken() -> None:
    """However often it is asked; requests then find what was told, and what refuses is told with its wait."""
    async with proxied(answering(OK), route={"rateLimit": LIMIT}) as (_, gateway):
        for _ in range(5):
            told = verdict(await explain(gateway), "rateLimit")
            assert (told["outcome"], told["limits"][0]["remaining"]) == ("passes", 3)
        for left in (2, 1, 0):
            answer = await gateway.ask(get("/x"))
            assert (answer.status, answer.value("x-ratelimit-remaining")) == (200, str(left))
            if left:
                assert verdict(await explain(gateway), "rateLimit")["limits"][0]["remaining"] == left
        told = await explain(gateway)
        [limit] = verdict(told, "rateLimit")["limits"]
        assert (told["status"], verdict(told, "rateLimit")["outcome"], limit["remaining"]) == (429, "refuses", 0)
        assert limit["retryAfterSeconds"] > 0
        assert (limit["countsBy"], limit["key"], limit["counted"]) == ("ip", "127.0.0.1", "memory")
        other = await explain(gateway, clientIp="203.0.113.9")
        assert verdict(other, "rateLimit")["limits"][0]["remaining"] == 3
        nobody = await explain(gateway, clientIp="")
        assert verdict(nobody, "rateLimit")["outcome"] == "depends"


async def test_a_limit_in_redis_is_not_asked() -> None:
    """To ask Redis would take a request: the limit is told, what is left is not."""
    redis = {"backend": "redis", "redis": {"url": "redis://127.0.0.1:9"}, "global": LIMIT}
    async with running_gateway(document("http://127.0.0.1:9", rateLimit=redis)) as gateway:
        told = verdict(await explain(gateway), "rateLimit")
        [limit] = told["limits"]
        assert (told["outcome"], limit["counted"], "remaining" in limit) == ("depends", "redis", False)


async def test_who_may_call_is_told() -> None:
    """No key, a wrong one, an expired one, one without the scope, a good one: as the request would be answered."""
    route = {"auth": {"type": "apiKey", "mode": "required", "keys": KEYS}, "scopes": ["read"]}
    async with proxied(answering(OK), route=route) as (_, gateway):
        for key, status, detail in (
            (None, 401, "needs an API key in the header X-API-Key"),
            ("wrong", 401, "the API key is not known"),
            ("late", 401, f"the API key of bert expired at {PAST}"),
            ("good", 200, "the API key of anna"),
        ):
            headers = {"x-api-key": key} if key else {}
            told = await explain(gateway, headers=headers)
            assert verdict(told, "apiKey")["detail"] == detail
            answer = await gateway.ask(get("/x", *(f"X-API-Key: {key}" for _ in headers)))
            assert (answer.status, told.get("status", 200)) == (status, status)
        assert verdict(await explain(gateway), "scopes") == {
            "filter": "scopes",
            "outcome": "refuses",
            "status": 403,
            "detail": "needs read; missing: read",
        }
        failures = (await gateway.metrics()).value("auth_failures_total")
        await explain(gateway, headers={"x-api-key": "wrong"})
        assert (await gateway.metrics()).value("auth_failures_total") == failures == 3


async def test_breaker_and_endpoints_are_told() -> None:
    """A breaker that opened is told, with the time until its next try; and so are the endpoints."""
    upstream = {"circuitBreaker": {"failureThreshold": 1}, "retries": 0}
    async with proxied(answering(ERROR), upstream=upstream) as (origin, gateway):
        told = await explain(gateway, method="POST")
        assert (told["circuitBreaker"], told["upstreamPath"]) == ({"state": "closed"}, "/x")
        [endpoint] = told["endpoints"]
        assert (endpoint["address"], endpoint["available"]) == (origin.url.removeprefix("http://"), True)
        await gateway.ask(get("/x"))
        told = (await explain(gateway))["circuitBreaker"]
        assert told["state"] == "open"
        assert 0 < told["retryAfterSeconds"] <= 30


async def test_a_query_may_stand_alone() -> None:
    """With the path, or as a field of its own; both are a mistake."""
    routes = [{"name": "q", "path": "/x", "query": {"v": "1"}}]
    async with proxied(answering(OK), routes=routes) as (_, gateway):
        for question in ({"path": "/x?v=1"}, {"path": "/x", "query": "v=1"}):
            assert (await explain(gateway, **question))["route"] == "q"
        told = await explain(gateway, path="/x?v=2")
        assert [each["reason"] for each in told["routes"]] == ["asks for query v exact '1'"]
        body = b'{"path": "/x?v=1", "query": "v=1"}'
        assert (await ask(gateway.admin_port, post(body, "/explain", "Connection: close"))).status == 400
