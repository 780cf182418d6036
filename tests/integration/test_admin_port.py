"""The admin port: what it has, and what it says to everything else."""

from __future__ import annotations

import orjson
import pytest

from tests.support.client import Response, ask, chunked, connected, get, post, status_of
from tests.support.gateway import Gateway, proxied
from tests.support.origin import echo

CHUNKED = "Transfer-Encoding: chunked"
QUESTION = orjson.dumps({"method": "GET", "path": "/a"})


async def asked(gateway: Gateway, data: bytes) -> Response:
    return await ask(gateway.admin_port, data)


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (get("/nowhere"), 404, "/health/deep"),
        (get("/health", method="DELETE"), 405, "not allowed"),
        (get("/explain"), 405, "not allowed"),
        (post(b"{", "/explain"), 400, "line 1"),
        (post(b"x" * 70_000, "/explain"), 413, "65536 bytes"),
        (get("/health", "Bad Name: x"), 400, "malformed"),
        (get("/health", "Content-Length: 3", "Transfer-Encoding: chunked", method="POST"), 400, "malformed"),
    ],
    ids=["no page", "no such method", "a question by GET", "not JSON", "too large", "a bad name", "both framings"],
)
async def test_what_is_wrong_is_told_in_the_shape_of_every_error(data: bytes, status: int, said: str) -> None:
    """One shape of errors on both ports, and nothing is to be kept by a cache."""
    async with proxied(echo) as (_, gateway):
        answer = await asked(gateway, data)
    assert (answer.status, said in answer.json["message"]) == (status, True), answer.json
    assert answer.json["correlationId"] == answer.value("x-correlation-id")
    assert answer.value("cache-control") == "no-store"


async def test_a_refused_method_tells_those_that_are_not() -> None:
    """405 comes with Allow."""
    async with proxied(echo) as (_, gateway):
        assert (await asked(gateway, get("/health", method="PUT"))).value("allow") == "GET, HEAD"
        assert (await asked(gateway, get("/explain"))).value("allow") == "POST"


async def test_a_question_may_come_in_pieces() -> None:
    """A chunked body, sent only after 100 Continue, is read to its end."""
    async with proxied(echo) as (_, gateway), connected(gateway.admin_port) as client:
        await client.send(get("/explain", CHUNKED, "Expect: 100-continue", method="POST"))
        assert status_of(await client.head())[1] == 100
        await client.send(chunked(QUESTION[:5], QUESTION[5:]))
        answer = await client.response()
    assert (answer.status, answer.json["matched"]) == (200, True)


async def test_a_question_that_grows_too_large_is_refused() -> None:
    """A chunked body is counted as it comes."""
    async with proxied(echo) as (_, gateway):
        data = get("/explain", CHUNKED, method="POST") + chunked(*[b"x" * 10_000] * 8)
        assert (await asked(gateway, data)).status == 413


async def test_connections_are_kept() -> None:
    """Probes ask on one connection, GET or HEAD; each answer tells the revision, and none is counted."""
    async with proxied(echo) as (_, gateway), connected(gateway.admin_port) as client:
        first = await client.ask(get("/health/ready"))
        second = await client.ask(get("/health/ready", method="HEAD"), method="HEAD")
        third = await client.ask(get("/version"))
        samples = await gateway.metrics()
    assert [answer.status for answer in (first, second, third)] == [200, 200, 200]
    assert second.body == b""
    assert third.value("x-config-version") == str(third.json["configVersion"])
    assert samples.value("http_requests_total") == 0
