"""Origins that lie, break off or hang: the client gets 502, 504 or a visibly broken answer, never a wrong whole one."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.client import chunked, connected, get, post
from tests.support.gateway import document, proxied, running_gateway
from tests.support.origin import OK, Peer, answering, answering_once

QUICK = {"timeout": {"request": 3000, "connect": 300, "response": 300, "idle": 300}}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

BROKEN_HEADS = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + CHUNKED[17:] + b"2\r\nok\r\n0\r\n\r\n",
    "chunked and length": CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "chunked not last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "empty length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok",
    "garbage": b"\xde\xad\xbe\xef\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2 frames": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "two-digit status": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "four-digit status": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok",
    "status 600": b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "bare CR in a field": b"HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
    "bare LF lines": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "folded field": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "no colon": b"HTTP/1.1 200 OK\r\nhello\r\nContent-Length: 2\r\n\r\nok",
    "control byte in the reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok",
    "one huge field": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 400_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "endless fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 50_000 + b"Content-Length: 2\r\n\r\nok",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", BROKEN_HEADS.values(), ids=BROKEN_HEADS)
async def test_an_answer_that_is_not_http_is_502(answer: bytes) -> None:
    """In the gateway's own shape, naming no address; the connection it came on is not used again."""
    async with proxied(answering_once(answer), proxy=QUICK) as (origin, gateway):
        got = await gateway.ask(post(b"body"))
        assert (got.status, got.json["error"]) == (502, "Bad Gateway")
        assert "127.0.0.1" not in got.body.decode()
        assert str(origin.port) not in got.body.decode()
        assert len(origin.received) == 1
        await origin.until(lambda: origin.open == 0, "the end of that connection")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"], ids=["before", "within"])
async def test_a_reset_before_the_end_of_the_head_is_502(answer: bytes) -> None:
    """As a close is."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        peer.reset()

    async with proxied(script) as (_, gateway):
        assert (await gateway.ask(post(b"body"))).status == 502


BROKEN_BODIES = {
    "short of its length": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc",
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "half a chunk": CHUNKED + b"3\r\nabc\r\n9\r\nabc",
    "bad chunk size": CHUNKED + b"3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"3\r\nabc\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "bare LF in the chunks": CHUNKED + b"3\r\nabc\r\n3\nabc\n0\n\n",
    "half the trailers": CHUNKED + b"3\r\nabc\r\n0\r\nX-A: a\r\n",
    "endless chunk extension": CHUNKED + b"3\r\nabc\r\n3;" + b"a" * 400_000 + b"\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("broken", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_broken_body_never_ends_cleanly(broken: bytes, version: str) -> None:
    """502 where nothing was sent yet; else the client sees the cut, also where only a reset can say so."""
    head, _, rest = broken.partition(b"\r\n\r\n")

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"\r\n\r\n" + rest[:3])
        await peer.send(rest[3:])
        peer.close()

    async with proxied(script, proxy=QUICK) as (_, gateway), connected(gateway.port) as client:
        got = await client.whole(get("/", version=version))
        assert got is None or got.status == 502


async def test_a_reset_within_a_body_until_close_is_no_end() -> None:
    """A close is the end of such a body; a reset is not."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await read.until(lambda: bool(seen))
        peer.reset()

    seen: list[bytes] = []
    async with proxied(script) as (origin, gateway), connected(gateway.port) as client:
        read = origin.bell
        await client.send(get())
        await client.head()
        seen.append(await client.exactly(8))
        read.ring()
        try:
            rest = await client.until_eof()
        except ConnectionError:
            rest = b""
        assert (seen, rest) == ([b"3\r\nabc\r\n"], b"")


async def test_a_silent_origin_is_504() -> None:
    """An answer that does not begin in time; the connection is given up."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with proxied(script, proxy=QUICK) as (origin, gateway):
        got = await gateway.ask(get())
        assert (got.status, got.json["error"]) == (504, "Gateway Timeout")
        await origin.until(lambda: origin.open == 0, "the end of that connection")


async def test_an_origin_that_stops_within_its_head_is_504() -> None:
    """Bytes of a head are no answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nX-A: ")
        await peer.gone()

    async with proxied(script, proxy=QUICK) as (_, gateway):
        assert (await gateway.ask(get())).status == 504


async def test_an_origin_that_stops_within_its_body_is_cut() -> None:
    """Nothing for longer than the idle timeout: the client must not wait for ever, nor take it for the end."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await peer.gone()

    async with proxied(script, proxy=QUICK) as (origin, gateway), connected(gateway.port) as client:
        assert await client.whole(get()) is None
        await origin.until(lambda: origin.open == 0, "the end of that connection")


async def test_a_refused_connection_is_502() -> None:
    """Also for a request with a body, and without telling where."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with running_gateway(document(f"http://127.0.0.1:{port}", proxy=QUICK)) as gateway:
            for data in (get(), post(b"hello")):
                got = await gateway.ask(data)
                assert got.status == 502
                assert str(port) not in got.body.decode()


@asynccontextmanager
async def deaf_port() -> AsyncIterator[int]:
    """A port whose queue of connections is full: the kernel leaves new ones unanswered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


async def test_a_connection_that_is_not_accepted_is_504() -> None:
    """The connect timeout is an error of its own, and quick."""
    async with deaf_port() as port, running_gateway(document(f"http://127.0.0.1:{port}", proxy=QUICK)) as gateway:
        assert (await gateway.ask(get())).status == 504


async def test_a_name_that_does_not_resolve_is_502() -> None:
    """And the name is not told."""
    async with running_gateway(document("http://nothing.invalid", proxy=QUICK)) as gateway:
        got = await gateway.ask(get())
        assert got.status in (502, 503, 504)
        assert "nothing.invalid" not in got.body.decode()


async def test_an_early_answer_is_passed_on() -> None:
    """An origin may answer before it has read the body; the client gets that answer while it still sends."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await peer.gone()

    async with proxied(script) as (_, gateway), connected(gateway.port) as client:
        await client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
        got = await client.response()
        assert (got.status, got.body) == (403, b"no")


async def test_an_early_answer_before_a_reset_is_not_lost() -> None:
    """The origin answers, closes with unread data and so resets: what it said still arrives."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        peer.close()

    async with proxied(script) as (_, gateway), connected(gateway.port) as client:
        await client.send(get("/", "Content-Length: 50000000", method="POST") + bytes(1_000_000))
        assert (await client.response()).status in (413, 502)


async def test_a_response_beyond_its_limit_is_502() -> None:
    """`maxResponseSize`: refused where the length tells, cut where it shows later."""
    long = b"a" * 1000
    limit = {"maxResponseSize": 100}
    told = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + long
    async with proxied(answering(told), proxy=limit) as (_, gateway):
        assert (await gateway.ask(get())).status == 502
    async with (
        proxied(answering(CHUNKED, chunked(long)), proxy=limit) as (_, gateway),
        connected(gateway.port) as client,
    ):
        got = await client.whole(get())
        assert got is None or got.status == 502


async def test_a_good_answer_follows_a_broken_one() -> None:
    """What one connection did wrong is not held against the next."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(b"garbage\r\n\r\n" if peer.number == 1 else OK)

    async with proxied(script) as (_, gateway):
        assert [(await gateway.ask(post(b"a"))).status for _ in range(3)] == [502, 200, 200]
