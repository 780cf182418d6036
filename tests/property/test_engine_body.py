"""Bodies on their way through: every byte once and in order, a source held in time, an end that is the truth."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import ClientGone
from dataplane.http1.body import HIGH, NO_BODY, Body
from dataplane.http1.chunks import framed, last_chunk
from dataplane.http1.fields import FIELDS
from tests.support.deadline import DEADLINE

SIZES = st.sampled_from([1, 10, 1000, HIGH // 2, HIGH, HIGH + 1]) | st.integers(1, 100_000)
STEPS = st.lists(st.one_of(SIZES, st.sampled_from(["take", "read"])), max_size=20)


class Socket:
    """A source that remembers whether it may be read from."""

    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        assert not self.paused, "paused twice"
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused, "resumed without a pause"
        self.paused = False


async def read(body: Body) -> list[bytes]:
    """The next chunks, nothing at the end, as those who send a body on read it."""
    waiting = body.wait(asyncio.get_running_loop())
    if waiting is not None:
        await waiting
        return await read(body)
    return body.take()


@given(STEPS)
def test_bytes_go_through_once_and_in_order(steps: list[int | str]) -> None:
    """However feeding, taking and reading alternate; a source that obeys never fills more than HIGH and one read."""

    async def run() -> None:
        source = Socket()
        body = Body(source)
        sent, got, waiting, number = b"", b"", 0, 0
        for step in steps:
            if isinstance(step, int):
                if source.paused:
                    continue  # nothing comes from a socket that is not read
                number = (number + 1) % 256
                body.feed(bytes([number]) * step)
                sent += bytes([number]) * step
                waiting += step
                assert source.paused == (waiting > HIGH)
            elif step == "take" or waiting:
                taken = body.take() if step == "take" else await read(body)
                got += b"".join(taken)
                waiting = 0
                assert body.wait(asyncio.get_running_loop()) is not None
                assert not source.paused  # who waits for more lets it come
        body.finish()
        while chunks := await read(body):
            got += b"".join(chunks)
        assert got == sent
        assert body.received == len(sent)
        assert not source.paused

    uvloop.run(run())


async def test_a_reader_waits_for_bytes_and_for_the_end() -> None:
    """It returns as something comes, and has nothing once it is over, then always."""
    body = Body(None)
    async with asyncio.timeout(DEADLINE):
        reading = asyncio.ensure_future(read(body))
        await asyncio.sleep(0)
        assert not reading.done()
        body.feed(b"one")
        body.feed(b"two")
        assert await reading == [b"one", b"two"]
        reading = asyncio.ensure_future(read(body))
        await asyncio.sleep(0)
        body.finish()
        assert await reading == []
        assert await read(body) == []


async def test_an_error_comes_after_what_was_buffered() -> None:
    """Bytes that arrived are not lost to it; then it is raised each time, to a reader that waits as well."""
    body = Body(None)
    body.feed(b"one")
    body.fail(ClientGone())
    body.fail(ValueError("too late to matter"))
    assert await read(body) == [b"one"]
    for _ in range(2):
        with pytest.raises(ClientGone):
            await read(body)
    other = Body(None)
    reading = asyncio.ensure_future(read(other))
    await asyncio.sleep(0)
    other.fail(ClientGone())
    with pytest.raises(ClientGone):
        async with asyncio.timeout(DEADLINE):
            await reading


async def test_a_whole_body_cannot_fail() -> None:
    """What ended well stays so, whatever happens to its connection then."""
    body = Body(None)
    body.feed(b"one")
    body.finish()
    body.fail(ClientGone())
    assert [await read(body), await read(body)] == [[b"one"], []]


async def test_a_cancelled_reader_leaves_the_body_readable() -> None:
    """The next one gets everything."""
    body = Body(None)
    reading = asyncio.ensure_future(read(body))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    body.feed(b"one")
    assert await read(body) == [b"one"]


@given(st.lists(SIZES, max_size=8))
def test_a_discarded_body_costs_nothing(sizes: list[int]) -> None:
    """It is counted, never kept, and its source goes on."""
    source = Socket()
    body = Body(source)
    body.feed(b"x" * (HIGH + 1))
    assert source.paused
    body.discard()
    for size in sizes:
        body.feed(b"x" * size)
        assert not source.paused
    assert body.take() == []
    assert body.received == HIGH + 1 + sum(sizes)


@given(st.lists(st.lists(st.binary(min_size=1, max_size=50), max_size=3), max_size=5))
def test_chunks_are_framed_so_that_they_read_back(pieces: list[list[bytes]]) -> None:
    """One chunk for what is at hand, none for nothing, and the end with its trailers."""
    body = Body(None)
    allowed, forbidden = (FIELDS.of(b"X-Sum"), b"1"), (FIELDS.of(b"Content-Length"), b"0")
    body.finish([allowed, forbidden, (FIELDS.of(b"Authorization"), b"x")])
    wire = b"".join(b"".join(framed(chunks)) for chunks in pieces) + last_chunk(body)
    read = b""
    while True:
        size, _, wire = wire.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        read, end, wire = read + wire[: int(size, 16)], wire[int(size, 16) :][:2], wire[int(size, 16) + 2 :]
        assert end == b"\r\n"
    assert read == b"".join(b"".join(chunks) for chunks in pieces)
    assert wire == b"X-Sum: 1\r\n\r\n"


async def test_no_body_is_over_from_the_start() -> None:
    """The shared one: empty, complete, of length 0."""
    assert (NO_BODY.complete, NO_BODY.length, NO_BODY.take(), await read(NO_BODY)) == (True, 0, [], [])
