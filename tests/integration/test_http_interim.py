"""Expect and the 1xx answers: who says 100, what is relayed, and what is never asked for."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.support.client import chunked, connected, get
from tests.support.gateway import proxied
from tests.support.origin import OK, Peer, answering, echo
from tests.support.wire import Head

EXPECTING = get("/a", "Content-Length: 5", "Expect: 100-continue", method="POST")
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


def starts(interim: list[Head]) -> list[bytes]:
    return [head.start.rpartition(b" ")[0] if head.start.count(b" ") > 1 else head.start for head in interim]


async def test_the_gateway_says_continue_when_the_body_is_wanted() -> None:
    """The client waits for 100, sends its body and gets one answer; the origin is not asked to say it again."""
    async with proxied(echo) as (origin, gateway), connected(gateway.port) as client:
        await client.send(EXPECTING)
        assert (await client.head()).start == b"HTTP/1.1 100 Continue"
        await client.send(b"hello")
        answer = await client.response("POST")
        assert (answer.status, answer.json["body"], answer.interim) == (200, "hello", [])
        assert origin.last.value("expect") is None
        assert (await client.ask(get("/next"))).json["target"] == "/next"


async def test_a_chunked_body_may_be_expected_too() -> None:
    """The framing of the body does not matter to Expect."""
    async with proxied(echo) as (_, gateway), connected(gateway.port) as client:
        await client.send(get("/", "Transfer-Encoding: chunked", "Expect: 100-Continue", method="PUT"))
        assert (await client.head()).start == b"HTTP/1.1 100 Continue"
        await client.send(chunked(b"hello"))
        assert (await client.response()).json["body"] == "hello"


async def test_a_client_need_not_wait_for_100() -> None:
    """A body that comes with its head is taken; 100 may be left out, but nothing else changes."""
    async with proxied(echo) as (_, gateway), connected(gateway.port) as client:
        answer = await client.ask(EXPECTING + b"hello" + get("/next"))
        assert (answer.status, answer.json["body"]) == (200, "hello")
        assert (await client.response()).json["target"] == "/next"


REFUSING: dict[str, tuple[int, dict[str, Any]]] = {
    "no route": (404, {"routes": [{"path": "/b"}]}),
    "wrong method": (405, {"route": {"methods": ["GET"]}}),
    "too large": (413, {"proxy": {"maxBodySize": 4}}),
    "no key": (
        401,
        {
            "route": {"auth": "required"},
            "security": {"auth": {"type": "apiKey", "keys": [{"key": hashlib.sha256(b"k").hexdigest(), "name": "n"}]}},
        },
    ),
}


@pytest.mark.parametrize(("status", "options"), REFUSING.values(), ids=REFUSING)
async def test_a_refused_request_is_not_asked_for_its_body(status: int, options: dict[str, Any]) -> None:
    """The refusal is the first and only answer, and a body that comes all the same is not taken for a request."""
    async with proxied(answering(OK), **options) as (origin, gateway), connected(gateway.port) as client:
        answer = await client.ask(EXPECTING)
        assert (answer.status, answer.interim) == (status, [])
        if answer.value("connection") == "close":
            assert await client.closed()
        else:
            follower = await client.ask(b"hello" + get("/b"), method="GET")
            assert follower.status in (200, status)
        assert not any(request.method == "POST" for request in origin.received)


@pytest.mark.parametrize("expectation", ["200-ok", "100-continue, x", "100-continues", ""])
async def test_other_expectations_fail(expectation: str) -> None:
    """417, closed, nothing forwarded."""
    async with proxied(answering(OK)) as (origin, gateway), connected(gateway.port) as client:
        answer = await client.ask(get("/", f"Expect: {expectation}", "Content-Length: 5", method="POST"))
        assert answer.status == 417
        assert await client.closed()
        assert origin.received == []


async def test_http_10_clients_get_no_100() -> None:
    """They do not know 1xx (RFC 9110 10.1.1); their body is taken as it comes."""
    async with proxied(echo) as (_, gateway), connected(gateway.port) as client:
        head = get("/", "Content-Length: 5", "Expect: 100-continue", method="POST", version="1.0")
        answer = await client.ask(head + b"hello")
        assert (answer.status, answer.json["body"], answer.interim) == (200, "hello", [])


async def test_a_request_without_a_body_gets_no_100() -> None:
    """There is nothing to continue with."""
    async with proxied(answering(OK)) as (_, gateway), connected(gateway.port) as client:
        answer = await client.ask(get("/", "Expect: 100-continue"))
        assert (answer.status, answer.interim) == (200, [])


async def test_early_hints_are_relayed_in_order() -> None:
    """Each with its fields, before the final answer, and as soon as it comes."""
    second = HINT.replace(b"style", b"script")
    async with proxied(answering(HINT, second, OK)) as (_, gateway), connected(gateway.port) as client:
        answer = await client.ask(get())
        assert [head.value("link") for head in answer.interim] == ["</style.css>", "</script.css>"]
        assert (answer.status, answer.body, answer.values("link")) == (200, b"ok", [])
        assert (await client.ask(get())).status == 200


async def test_hop_by_hop_fields_of_interim_answers_stay_here() -> None:
    """1xx heads are filtered as final ones are."""
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Drop\r\nX-Drop: 1\r\nKeep-Alive: timeout=1\r\n\r\n"
    async with proxied(answering(hint, OK)) as (_, gateway):
        answer = await gateway.ask(get())
        fields = [name.lower() for head in answer.interim for name, _ in head.fields]
        assert b"link" in fields
        assert not {b"x-drop", b"connection", b"keep-alive"} & set(fields)


async def test_http_10_clients_get_no_early_hints() -> None:
    """Only the final answer."""
    async with proxied(answering(HINT, OK)) as (_, gateway):
        answer = await gateway.ask(get("/", version="1.0"))
        assert (answer.status, answer.interim, answer.body) == (200, [], b"ok")


@pytest.mark.parametrize("times", [1, 5])
async def test_a_stray_100_is_swallowed(times: int) -> None:
    """An origin that says 100 without being asked confuses nobody."""
    stray = b"HTTP/1.1 100 Continue\r\n\r\n" * times
    async with proxied(answering(stray + OK)) as (origin, gateway), connected(gateway.port) as client:
        for _ in range(2):
            answer = await client.ask(get())
            assert (answer.status, answer.interim, answer.body) == (200, [], b"ok")
        assert origin.connections == 1


async def test_endless_interim_answers_end() -> None:
    """An origin cannot keep a request busy with 1xx for ever: 502 or 504."""

    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    timeouts = {"proxy": {"timeout": {"request": 2000, "response": 300}}}
    async with proxied(script, **timeouts) as (_, gateway):
        assert (await gateway.ask(get())).status in (502, 504)


async def test_switching_protocols_unasked_is_refused() -> None:
    """A 101 that nobody asked for is 502, and the bytes behind it reach nobody."""
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    async with proxied(answering(switched + OK)) as (origin, gateway), connected(gateway.port) as client:
        answer = await client.ask(get())
        assert answer.status == 502
        assert answer.body != b"ok"
        await origin.until(lambda: origin.open == 0, "the end of that upstream connection")
