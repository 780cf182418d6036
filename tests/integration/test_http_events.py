"""What a data plane tells on /events: failures and refusals of requests, and nothing of what went well."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import get
from tests.support.gateway import Gateway, document, proxied, running_gateway
from tests.support.origin import OK, answering

FAILING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


async def events(gateway: Gateway, query: str = "") -> list[Any]:
    found: list[Any] = (await gateway.admin(f"/events{query}")).json["events"]
    return found


async def test_answers_that_are_fine_tell_nothing() -> None:
    """Nor does what the client got wrong."""
    async with proxied(answering(OK), routes=[{"path": "/a"}]) as (_, gateway):
        assert [(await gateway.ask(get(path))).status for path in ("/a", "/nowhere")] == [200, 404]
        assert await events(gateway) == []
        assert (await gateway.metrics()).value("events_total") == 0


async def test_an_upstream_s_own_failure_is_told() -> None:
    """By route, with what finds its line in the log; further ones are counted, and told later."""
    async with proxied(answering(FAILING)) as (_, gateway):
        for number in range(3):
            assert (await gateway.ask(get("/", f"X-Correlation-ID: id-{number}"))).status == 503
        [event] = await events(gateway)
        assert (event["event"], event["number"]) == ("request.error", 1)
        told = {"subject": "/*", "times": 1, "status": 503, "error": "upstream", "upstream": "origin"}
        assert event["data"] == {**told, "correlationId": "id-0"}
        gateway.plane.node.live.events.settle(all_of_it=True)
        newest, oldest = await events(gateway)
        assert (newest["data"]["times"], newest["data"]["correlationId"], oldest) == (2, "id-2", event)
        assert (await gateway.metrics()).value("events_total", event="request.error") == 2


async def test_the_gateway_s_own_failure_is_told() -> None:
    """With the word that `upstream_errors_total` counts it under."""
    async with running_gateway(document("http://127.0.0.1:1")) as gateway:
        assert (await gateway.ask(get())).status == 502
        [event] = await events(gateway, "?name=request.error")
        assert (event["data"]["status"], event["data"]["error"]) == (502, "connect")


@pytest.mark.parametrize(("name", "count"), [("auth.failure", 1), ("request.error", 0)])
async def test_a_refused_credential_is_told_by_its_reason(name: str, count: int) -> None:
    """And found by name; what was presented is never in it."""
    security = {"auth": {"type": "apiKey", "keys": [{"key": "00" * 32, "name": "Client A"}]}}
    async with proxied(answering(OK), route={"auth": "required"}, security=security) as (_, gateway):
        assert (await gateway.ask(get("/", "X-API-Key: guessed"))).status == 401
        found = await events(gateway, f"?name={name}")
        assert len(found) == count
        assert "guessed" not in str(await events(gateway))
        if found:
            assert found[0]["data"] == {"subject": "unknown", "times": 1, "route": "/*"}
