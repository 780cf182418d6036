"""The test support against itself: a judge that misreads would acquit the gateway."""

from __future__ import annotations

import pytest

from tests.support.client import ask, chunked, connected, get, post
from tests.support.deadline import Bell, eventually
from tests.support.origin import OK, Peer, answering, answering_once, echo, serving
from tests.support.wire import Malformed, Truncated


async def test_a_request_arrives_and_its_answer_comes_back() -> None:
    """Method, target, fields and body arrive as they were sent."""
    async with serving(echo) as origin:
        answer = await ask(origin.port, post(b"hello", "/a?b=c", "X-One: 1"))
    assert (answer.status, answer.json["method"], answer.json["target"]) == (200, "POST", "/a?b=c")
    assert answer.json["body"] == "hello"
    assert origin.last.value("x-one") == "1"


async def test_chunks_and_trailers_are_read() -> None:
    """A chunked body arrives whole, with its trailers apart from its headers."""
    async with serving(echo) as origin:
        await ask(
            origin.port, get("/", "Transfer-Encoding: chunked", method="PUT") + chunked(b"ab", b"c", trailers=("T: 1",))
        )
    assert (origin.last.content.chunks, origin.last.trailers) == ([b"ab", b"c"], [(b"T", b"1")])
    assert origin.last.value("t") is None


async def test_connections_and_requests_are_counted() -> None:
    """Two requests on one connection are one connection."""
    async with serving(echo) as origin, connected(origin.port) as client:
        await client.ask(get("/1"))
        await client.ask(get("/2"))
        await origin.arrived(2)
        assert (origin.connections, [r.connection for r in origin.received]) == (1, [1, 1])


async def test_interim_answers_are_kept_apart() -> None:
    """1xx heads are collected before the final answer."""
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with serving(answering(hint, OK)) as origin:
        answer = await ask(origin.port, get())
    assert ([head.start for head in answer.interim], answer.body) == ([b"HTTP/1.1 103 Early Hints"], b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"hello\r\n\r\n",
    ],
)
async def test_sloppy_answers_are_refused(answer: bytes) -> None:
    """The reader takes nothing that a strict peer would not send."""
    async with serving(answering_once(answer)) as origin:
        with pytest.raises(Malformed):
            await ask(origin.port, get())


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"ab"),
    ],
)
async def test_a_body_cut_short_is_told_from_a_whole_one(answer: bytes, got: bytes) -> None:
    """What came is there, and that it was not all."""
    async with serving(answering_once(answer)) as origin:
        with pytest.raises(Truncated) as cut:
            await ask(origin.port, get())
    assert cut.value.got == got


async def test_a_malformed_request_fails_the_test() -> None:
    """An origin that receives what no strict peer sends says so when it is left."""
    with pytest.raises(Malformed):
        async with serving(echo) as origin, connected(origin.port) as client:
            await client.send(b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n")
            assert await client.closed()


async def test_a_reset_is_seen_as_one() -> None:
    """A client's abort and an origin's reset both arrive as resets."""

    async def resetting(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with serving(resetting) as origin, connected(origin.port) as client:
        await client.send(get())
        with pytest.raises(ConnectionResetError):
            await client.until_eof()

    seen: list[bool] = []

    async def watching(peer: Peer) -> None:
        await peer.request()
        seen.append(await peer.gone())

    async with serving(watching) as origin, connected(origin.port) as client:
        await client.send(get())
        await origin.arrived()
        client.abort()
        await origin.until(lambda: origin.open == 0)
    assert seen == [True]


async def test_a_half_closed_client_still_reads() -> None:
    """The end of the request side leaves the answer side open."""
    async with serving(answering(OK)) as origin, connected(origin.port) as client:
        await client.send(get())
        client.half_close()
        assert (await client.until_eof()).endswith(b"\r\n\r\nok")


async def test_waiting_ends_with_what_happens() -> None:
    """A bell wakes its waiters for good only when their condition holds; asking goes on until an answer is accepted."""
    bell, seen = Bell(), [0]

    async def count() -> int:
        seen[0] += 1
        bell.ring()
        return seen[0]

    assert await eventually(count, lambda number: number == 3) == 3
    await bell.until(lambda: seen[0] == 3)
