"""Every answer that the gateway makes itself, as a client of a real data plane reads it.

A filter that raises what the test wants stands in the compiled route, so that each error takes the way of every other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

import pytest

from dataplane import errors
from dataplane.errors import GatewayError
from dataplane.exchange import Exchange
from dataplane.routing import Entry
from tests.support.client import connected, get
from tests.support.gateway import Gateway, proxied
from tests.support.origin import OK, answering

# status, its name, whether the connection ends with it. CONTRACT section 1.
TABLE: dict[str, tuple[int, str, bool]] = {
    "GatewayError": (500, "Internal Server Error", False),
    "BadRequest": (400, "Bad Request", True),
    "Unauthorized": (401, "Unauthorized", False),
    "Forbidden": (403, "Forbidden", False),
    "NoRoute": (404, "Not Found", False),
    "MethodNotAllowed": (405, "Method Not Allowed", False),
    "ClientTimeout": (408, "Request Timeout", True),
    "BodyTooLarge": (413, "Content Too Large", True),
    "TargetTooLong": (414, "URI Too Long", True),
    "ExpectationFailed": (417, "Expectation Failed", True),
    "TooManyRequests": (429, "Too Many Requests", False),
    "HeadersTooLarge": (431, "Request Header Fields Too Large", True),
    "MethodUnknown": (501, "Not Implemented", True),
    "VersionNotSupported": (505, "HTTP Version Not Supported", True),
    "UpstreamError": (502, "Bad Gateway", False),
    "ConnectFailed": (502, "Bad Gateway", False),
    "ConnectNotAllowed": (502, "Bad Gateway", False),
    "ConnectionLost": (502, "Bad Gateway", False),
    "ConnectTimeout": (504, "Gateway Timeout", False),
    "UpstreamTimeout": (504, "Gateway Timeout", False),
    "ResponseTooLarge": (502, "Bad Gateway", False),
    "RequestTimeout": (504, "Gateway Timeout", False),
    "Unavailable": (503, "Service Unavailable", False),
    "NotConfigured": (503, "Service Unavailable", False),
    "KeysUnavailable": (503, "Service Unavailable", False),
    "LimitStoreLost": (503, "Service Unavailable", False),
    "BreakerOpen": (503, "Service Unavailable", False),
    "NoEndpoint": (503, "Service Unavailable", False),
    "PoolExhausted": (503, "Service Unavailable", False),
    "Overloaded": (503, "Service Unavailable", False),
    "BulkheadFull": (503, "Service Unavailable", False),
}
SILENT = {"ClientGone"}
"""Nobody is there to read it: for logs and metrics only."""
SECRET_DETAIL = "10.1.2.3:8080 refused"


def family(error: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """The class and everything below it."""
    yield error
    for below in error.__subclasses__():
        yield from family(below)


def raising(gateway: Gateway, error: Exception) -> None:
    """Make the only route raise that error instead of being served."""

    def refuse(x: Exchange) -> None:
        raise error

    node = gateway.plane.node
    runtime = node.gateway.runtime
    assert runtime is not None
    entry = next(iter(runtime.router.routes())).entry
    route = replace(entry.target, filters=(refuse,))
    router = runtime.router.changed([], [Entry(entry.match, route)])
    node.gateway.runtime = replace(runtime, router=router, routes=MappingProxyType({route.name: route}))


def test_the_table_knows_the_whole_family() -> None:
    """A new error is rendered as someone decided, not as it happens to come out."""
    assert {error.__name__ for error in family()} == TABLE.keys() | SILENT
    assert {error.__module__ for error in family()} == {errors.__name__}


def test_kinds_are_told_apart() -> None:
    """The word for logs and metrics is one for each error, but where nothing more is to be told."""
    kinds = [error.kind for error in family()]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("name", TABLE)
async def test_an_error_is_rendered(name: str) -> None:
    """Status, the shape of the contract, Retry-After in both places, the gateway's lines; no detail leaks."""
    status, title, closes = TABLE[name]
    kind: type[GatewayError] = getattr(errors, name)
    async with proxied(answering(OK)) as (origin, gateway):
        raising(gateway, kind("Told", detail=SECRET_DETAIL, retry_after=7, headers=(b"X-Extra: 1",)))
        async with connected(gateway.port) as client:
            answer = await client.ask(get("/", "X-Correlation-ID: mine"))
            assert answer.status == status
            assert answer.json == {"error": title, "message": "Told", "correlationId": "mine", "retryAfter": 7}
            assert answer.value("content-type") == "application/json"
            assert answer.value("retry-after") == "7"
            assert answer.value("x-extra") == "1"
            assert answer.value("x-correlation-id") == "mine"
            assert (answer.value("x-api-version"), answer.value("x-config-version")) == ("1.0.0", "1")
            assert SECRET_DETAIL not in str(answer)
            assert answer.value("connection") == ("close" if closes else None)
            if closes:
                assert await client.closed()
            else:
                assert (await client.ask(get())).status == status
        assert origin.received == []
        samples = await gateway.settled()
        assert samples.value("http_requests_total", status=str(status), route="/*") == (1 if closes else 2)


@pytest.mark.parametrize("name", ["NoRoute", "BadRequest", "Unavailable"])
async def test_head_is_told_the_length_and_no_body(name: str) -> None:
    """And without a time to wait there is no Retry-After."""
    async with proxied(answering(OK)) as (_, gateway):
        raising(gateway, getattr(errors, name)())
        async with connected(gateway.port) as client:
            head = await client.ask(get(method="HEAD"))
            length = int(head.value("content-length") or 0)
            assert head.value("retry-after") is None
        assert length == len(
            (await gateway.ask(get("/", "X-Correlation-ID: " + str(head.value("x-correlation-id"))))).body
        )


async def test_who_left_is_told_nothing() -> None:
    """The connection ends; metrics say 499."""
    async with proxied(answering(OK)) as (_, gateway):
        raising(gateway, errors.ClientGone())
        async with connected(gateway.port) as client:
            await client.send(get())
            assert await client.closed()
        assert (await gateway.settled()).value("http_requests_total", status="499") == 1


async def test_a_bug_is_a_500_that_tells_nothing() -> None:
    """No traceback, no words of the exception; the next request on the connection is served."""
    async with proxied(answering(OK)) as (_, gateway):
        raising(gateway, ZeroDivisionError(SECRET_DETAIL))
        async with connected(gateway.port) as client:
            answer = await client.ask(get())
            assert (answer.status, answer.json["error"]) == (500, "Internal Server Error")
            assert SECRET_DETAIL not in str(answer)
            assert json.loads(answer.body)["message"] == GatewayError.message
            assert (await client.ask(get("/version"))).status == 200
