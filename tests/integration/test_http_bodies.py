"""Bodies: streamed both ways as they come, framed as they must be, with their trailers."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from tests.support.client import chunked, connected, get, post
from tests.support.gateway import proxied
from tests.support.origin import OK, Peer, answering, answering_once, echo

MIB = 1024 * 1024


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE"])
async def test_a_body_goes_with_any_method(method: str) -> None:
    """Method, length and content arrive, and the next request on the connection is a request of its own."""
    async with proxied(echo) as (origin, gateway), connected(gateway.port) as client:
        assert (await client.ask(post(b"hello", method=method))).status == 200
        assert (origin.last.method, origin.last.body) == (method, b"hello")
        assert origin.last.value("content-length") == "5"
        await client.ask(get("/next"))
        assert origin.last.target == "/next"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_an_empty_body_has_a_length(method: str) -> None:
    """A method that usually has a body says that there is none; a GET says nothing."""
    async with proxied(answering(OK)) as (origin, gateway):
        await gateway.ask(post(b"", method=method))
        assert origin.last.value("content-length") == "0"
        await gateway.ask(get())
        assert origin.last.values("content-length") == []


async def test_a_chunked_body_stays_chunked_and_keeps_its_trailers() -> None:
    """Trailers arrive as trailers, never merged into the headers."""
    async with proxied(answering(OK)) as (origin, gateway):
        head = get("/", "Transfer-Encoding: chunked", "Trailer: X-Sum", method="POST")
        assert (await gateway.ask(head + chunked(b"ab", b"c", trailers=("X-Sum: 1",)))).status == 200
    assert (origin.last.body, origin.last.trailers) == (b"abc", [(b"X-Sum", b"1")])
    assert (origin.last.value("transfer-encoding"), origin.last.values("x-sum")) == ("chunked", [])


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "Transfer-Encoding", "Authorization", "X-Forwarded-For", "TE"]
)
async def test_trailers_cannot_carry_what_decides(name: str) -> None:
    """Framing, routing and identity fields in trailers are dropped; the rest stays."""
    async with proxied(answering(OK)) as (origin, gateway):
        head = get("/", "Transfer-Encoding: chunked", method="POST")
        answer = await gateway.ask(head + chunked(b"abc", trailers=(f"{name}: 1", "X-Sum: 1")))
        assert answer.status in (200, 400)
        assert all(request.trailers == [(b"X-Sum", b"1")] for request in origin.received if request.complete)


async def test_an_empty_chunked_body_arrives() -> None:
    """No chunks at all are a body of nothing."""
    async with proxied(answering(OK)) as (origin, gateway):
        answer = await gateway.ask(get("/", "Transfer-Encoding: chunked", method="POST") + chunked())
        assert (answer.status, origin.last.body, origin.last.complete) == (200, b"", True)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_request_streams(framing: str) -> None:
    """The origin has the first part before the client sends the second."""
    first_seen = asyncio.Event()

    async def script(peer: Peer) -> None:
        received = await peer.head()
        assert received is not None
        await peer.reader.readuntil(b"first")
        first_seen.set()
        await peer.reader.readuntil(b"second" if framing == "length" else b"\r\n0\r\n\r\n")
        await peer.send(OK)

    async with proxied(script) as (_, gateway), connected(gateway.port) as client:
        line = "Content-Length: 11" if framing == "length" else "Transfer-Encoding: chunked"
        await client.send(get("/", line, method="POST"))
        await client.send(b"first" if framing == "length" else b"5\r\nfirst\r\n")
        async with asyncio.timeout(5):
            await first_seen.wait()
        await client.send(b"second" if framing == "length" else b"6\r\nsecond\r\n0\r\n\r\n")
        assert (await client.response()).status == 200


async def test_an_answer_streams() -> None:
    """The client has the head and the first part before the origin sends the second."""
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst")
        await read.wait()
        await peer.send(b"second")

    async with proxied(script) as (_, gateway), connected(gateway.port) as client:
        await client.send(get())
        await client.head()
        assert await client.exactly(5) == b"first"
        read.set()
        assert await client.exactly(6) == b"second"


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_megabytes_arrive_unchanged_both_ways(framing: str) -> None:
    """Far more than any buffer, with the same hash at the end."""
    body = bytes(range(256)) * (8 * MIB // 256)
    digest = sha256(body).hexdigest()

    async def script(peer: Peer) -> None:
        received = await peer.request()
        assert received is not None
        assert sha256(received.body).hexdigest() == digest
        if framing == "length":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        else:
            parts = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(*parts))

    async with proxied(script) as (_, gateway), connected(gateway.port) as client:
        head = get("/", "Transfer-Encoding: chunked", method="POST")
        await client.send(post(body) if framing == "length" else head + chunked(body[:MIB], body[MIB:]))
        answer = await client.response()
    assert sha256(answer.body).hexdigest() == digest


ANSWERS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"a", b"bc"), b"abc"),
    "empty chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc"),
    "until close, 1.0": (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
    "with an extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", b"abc"),
}


@pytest.mark.parametrize(("answer", "body"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_every_framing_of_an_answer_reaches_every_client(answer: bytes, body: bytes, version: str) -> None:
    """HTTP/1.1 clients can go on on the connection; HTTP/1.0 clients never see chunks."""
    async with proxied(answering_once(answer)) as (_, gateway), connected(gateway.port) as client:
        got = await client.ask(get("/", version=version))
        assert (got.status, got.body) == (200, body)
        if version == "1.1":
            assert (await client.ask(get())).body == body
        else:
            assert got.values("transfer-encoding") == []
            assert await client.closed()


async def test_trailers_of_an_answer_arrive() -> None:
    """After the body, for a client that speaks HTTP/1.1."""
    framed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    script = answering(framed + chunked(b"abc", trailers=("X-Sum: 1", "Set-Cookie: a=1")))
    async with proxied(script) as (_, gateway):
        answer = await gateway.ask(get("/", "TE: trailers", "Connection: TE"))
        old = await gateway.ask(get("/", version="1.0"))
    assert (answer.body, answer.trailers, answer.values("x-sum")) == (b"abc", [(b"X-Sum", b"1")], [])
    assert (old.body, old.values("x-sum")) == (b"abc", [])


BODILESS = {
    "HEAD with a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", "5"),
    "HEAD with chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", None),
    "HEAD without framing": (b"HTTP/1.1 200 OK\r\n\r\n", "HEAD", None),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", None),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "DELETE", None),
    "304": (b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n', "GET", None),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", "5"),
}


@pytest.mark.parametrize(("answer", "method", "length"), BODILESS.values(), ids=BODILESS)
async def test_an_answer_without_a_body_desynchronises_nothing(answer: bytes, method: str, length: str | None) -> None:
    """The next request on the same connections gets its own answer; a length that HEAD and 304 tell is kept."""

    async def script(peer: Peer) -> None:
        while received := await peer.request():
            await peer.send(answer if received.target == "/bodiless" else OK)

    async with proxied(script) as (_, gateway), connected(gateway.port) as client:
        got = await client.ask(get("/bodiless", method=method))
        assert (got.values("content-length"), got.body) == ([length.encode()] if length else [], b"")
        follower = await client.ask(get("/next"))
        assert (follower.status, follower.body) == (200, b"ok")


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip",
        "HTTP/1.1 301 Moved Permanently\r\nLocation: /elsewhere",
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://other.example/a",
        "HTTP/1.1 418 I'm a Teapot",
        "HTTP/1.1 404 Nothing Here\r\nX-Own: 1",
        "HTTP/1.1 503 Busy\r\nRetry-After: 7",
        "HTTP/1.1 599 Odd",
    ],
)
async def test_an_answer_is_passed_on_as_it_is(head: str) -> None:
    """Status, reason, codings, ranges and redirects are the origin's to decide; nothing is followed or decoded."""
    answer = f"{head}\r\nContent-Length: 2\r\n\r\n\x1f\x8b".encode("latin-1")
    async with proxied(answering(answer)) as (origin, gateway):
        got = await gateway.ask(get())
        start, *lines = head.split("\r\n")
        assert f"HTTP/1.1 {got.status} {got.reason}" == start
        assert got.body == b"\x1f\x8b"
        for line in lines:
            name, _, text = line.partition(": ")
            assert got.value(name) == text
        assert len(origin.received) == 1


@pytest.mark.parametrize("size", [100, 70_000, 100_000, 200_000, 1_000_000])
async def test_a_body_that_nobody_wanted_does_not_stop_its_connection(size: int) -> None:
    """After a refused request with a body, whether it came at once or in pieces, the next one is served."""
    routes = [{"path": "/closed", "auth": "required"}, {"path": "/open"}]
    auth = {"auth": {"type": "apiKey", "keys": [{"key": "0" * 64, "name": "nobody"}]}}
    async with proxied(echo, routes=routes, security=auth) as (_, gateway), connected(gateway.port) as client:
        for _ in range(3):
            refused = await client.ask(post(b"x" * size, "/closed"))
            if refused.value("connection") == "close":
                break  # more than is worth reading
            assert (refused.status, (await client.ask(get("/open"))).status) == (401, 200)
