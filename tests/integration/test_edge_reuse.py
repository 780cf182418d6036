"""Connections used for more than one request: reused when both messages were whole, and never when anything was odd."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.client import chunked, connected, get, post
from tests.support.gateway import proxied
from tests.support.origin import OK, Peer, answering, answering_once, echo

NO_RETRY = {"upstream": {"retries": 0}}


async def test_upstream_connections_are_kept_alive() -> None:
    """Many clients one after the other, bodies and trailers between: one connection to the origin."""
    async with proxied(echo) as (origin, gateway):
        for number in range(4):
            await gateway.ask(get(f"/{number}"))
            await gateway.ask(post(b"body"))
            await gateway.ask(
                get("/", "Transfer-Encoding: chunked", method="PUT") + chunked(b"a", trailers=("X-A: 1",))
            )
            await gateway.ask(get("/", method="HEAD"))
        assert (origin.connections, len(origin.received)) == (1, 16)


async def test_client_connections_are_kept_alive() -> None:
    """Also after answers that the gateway makes itself."""
    routes = [{"path": "/a", "methods": ["GET"]}]
    async with proxied(echo, routes=routes) as (_, gateway), connected(gateway.port) as client:
        statuses = [(await client.ask(get(path))).status for path in ("/a", "/none", "/a", "/none")]
        statuses.append((await client.ask(get("/a", method="DELETE"))).status)
        statuses.append((await client.ask(get("/a"))).status)
        assert statuses == [200, 404, 200, 404, 405, 200]


@pytest.mark.parametrize(
    ("version", "lines", "stays"),
    [
        ("1.1", [], True),
        ("1.1", ["Connection: close"], False),
        ("1.1", ["Connection: x, CLOSE"], False),
        ("1.1", ["Connection: keep-alive, close"], False),
        ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], True),
        ("1.0", ["Connection: Keep-Alive"], True),
        ("1.0", ["Connection: keep-alive, close"], False),
    ],
)
async def test_persistence_is_what_version_and_connection_say(version: str, lines: list[str], stays: bool) -> None:
    """HTTP/1.1 stays open unless told otherwise, HTTP/1.0 the other way round; the answer says which."""
    async with proxied(answering(OK)) as (_, gateway), connected(gateway.port) as client:
        answer = await client.ask(get("/", *lines, version=version))
        said = (answer.value("connection") or "").lower()
        assert answer.status == 200
        if stays:
            assert said == ("" if version == "1.1" else "keep-alive")
            assert (await client.ask(get())).status == 200
        else:
            assert said == "close"
            assert await client.closed()


async def test_pipelined_requests_are_answered_in_order() -> None:
    """All in one write, with bodies between, the first one the slowest."""

    async def script(peer: Peer) -> None:
        while received := await peer.request():
            if received.target == "/0":
                await origin.until(pipelined.is_set)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(received.target))
            await peer.send(received.target.encode())

    pipelined = asyncio.Event()
    async with proxied(script) as (origin, gateway), connected(gateway.port) as client:
        data = b"".join(get(f"/{n}") if n % 2 else post(b"x" * n, f"/{n}") for n in range(20))
        await client.send(data + get("/bad path") + get("/smuggled"))
        pipelined.set()
        origin.bell.ring()
        assert [(await client.response()).body for _ in range(20)] == [b"/%d" % n for n in range(20)]
        assert (await client.response()).status == 400
        assert await client.closed()
        assert "/smuggled" not in [request.target for request in origin.received]


async def test_requests_may_come_byte_by_byte() -> None:
    """Segment boundaries mean nothing."""
    async with proxied(echo) as (_, gateway), connected(gateway.port) as client:
        data = get("/", "Transfer-Encoding: chunked", method="POST") + chunked(b"abc", b"d", trailers=("X-A: 1",))
        for byte in data + get("/next"):
            client.writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        answer = await client.response()
        assert (answer.json["body"], answer.json["trailers"]) == ("abcd", [["X-A", "1"]])
        assert (await client.response()).json["target"] == "/next"


async def test_answers_may_come_byte_by_byte() -> None:
    """Nor do they on the origin's side."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: a\r\n\r\n" + chunked(
        b"abc", b"d", trailers=("X-B: 1",)
    )
    async with proxied(answering(*[bytes((byte,)) for byte in data])) as (origin, gateway):
        for _ in range(2):
            answer = await gateway.ask(get())
            assert (answer.body, answer.value("x-a"), answer.trailers) == (b"abcd", "a", [(b"X-B", b"1")])
        assert origin.connections == 1


AFTERMATHS = {
    "an answer": OK.replace(b"ok", b"no"),
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-",
    "garbage": b"\xde\xad\xbe\xef",
    "a body after HEAD": b"ok",
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("extra", AFTERMATHS.values(), ids=AFTERMATHS)
async def test_bytes_after_an_answer_poison_nothing(extra: bytes, method: str) -> None:
    """Whatever an origin adds, the next request gets its own answer on another connection."""
    first = OK if method == "GET" else OK[:-2]

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(first + extra if peer.number == 1 else OK)

    async with proxied(script, **NO_RETRY) as (origin, gateway), connected(gateway.port) as client:
        assert (await client.ask(get("/", method=method))).status == 200
        answer = await client.ask(post(b"hello"))
        assert (answer.status, answer.body) == (200, b"ok")
        assert origin.last.connection == 2


async def test_bytes_on_an_idle_connection_end_it() -> None:
    """An answer to no question, however late, answers no later one."""
    spoken = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            await spoken.wait()
            await peer.send(OK.replace(b"ok", b"no"))
        await peer.gone()

    async with proxied(script, **NO_RETRY) as (origin, gateway):
        assert (await gateway.ask(get())).body == b"ok"
        spoken.set()
        await origin.until(lambda: origin.open == 0, "the end of the first connection")
        assert (await gateway.ask(post(b"a"))).body == b"ok"


@pytest.mark.parametrize("data", [get(), post(b"hello"), get("/", method="DELETE")], ids=["GET", "POST", "DELETE"])
async def test_a_connection_that_the_origin_closed_is_not_used(data: bytes) -> None:
    """An origin that closes after each answer without saying so costs no request, whatever its method."""
    async with proxied(answering_once(OK), **NO_RETRY) as (origin, gateway), connected(gateway.port) as client:
        for _ in range(5):
            assert (await client.ask(data)).status == 200
            await origin.until(lambda: origin.open == 0)


async def test_a_connection_whose_request_was_not_sent_whole_is_not_used_again() -> None:
    """An origin that answers early keeps waiting for the rest of the body; the next request must not become it."""

    async def script(peer: Peer) -> None:
        while received := await peer.head():
            await peer.send(OK)
            await peer.body(received)

    async with proxied(script, **NO_RETRY) as (origin, gateway):
        async with connected(gateway.port) as client:
            await client.send(get("/early", "Content-Length: 1000", method="POST") + b"part")
            assert (await client.response()).status == 200
        assert (await gateway.ask(post(b"whole", "/next"))).status == 200
        assert [(request.target, request.connection) for request in origin.received] == [("/early", 1), ("/next", 2)]
        await origin.until(lambda: origin.received[1].complete)
        assert not origin.received[0].complete


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_stale_keep_alive_race(method: str, how: str) -> None:
    """An origin that closes a kept connection as the request arrives: GET is sent again on a new one, POST never is."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            await peer.request()
            peer.close() if how == "close" else peer.reset()
        else:
            await peer.gone()

    async with proxied(script) as (origin, gateway):
        data = get() if method == "GET" else post(b"pay once")
        assert (await gateway.ask(get("/first"))).status == 200
        answer = await gateway.ask(data)
        assert answer.status == (200 if method == "GET" else 502)
        sent = [request for request in origin.received if request.target != "/first"]
        assert [request.connection for request in sent] == ([1, 2] if method == "GET" else [1])


async def test_connection_close_of_an_origin_is_obeyed() -> None:
    """And stays between the gateway and the origin."""
    async with proxied(answering(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as (origin, gateway):
        async with connected(gateway.port) as client:
            for _ in range(3):
                answer = await client.ask(get())
                assert (answer.status, answer.values("connection")) == (200, [])
        assert origin.connections == 3


async def test_a_pool_is_bounded_and_shared() -> None:
    """Ten requests at once with two sockets allowed: all are served, and never over more than two connections."""
    async with proxied(echo, connectionPool={"maxSockets": 2}) as (origin, gateway):
        answers = await asyncio.gather(*(gateway.ask(get(f"/{number}")) for number in range(10)))
        assert sorted(answer.json["target"] for answer in answers) == [f"/{number}" for number in range(10)]
        assert origin.connections <= 2
