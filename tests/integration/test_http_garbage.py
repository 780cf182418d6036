"""What requests leave behind: nothing that only the cyclic collector could free.

An exchange in a cycle lives until the collector comes by, on memory that is cold by then; that cost a tenth of the CPU
of a request.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dataplane.exchange import Exchange
from dataplane.http1.body import Body
from tests.support.client import connected, get, post
from tests.support.deadline import eventually
from tests.support.gateway import proxied
from tests.support.origin import Peer, Script, answering_once, echo

OURS = {Exchange.__name__, Body.__name__}

LIMITED = {"path": "/limited", "rateLimit": {"max": 1, "windowMs": 60_000}}
ROUTES = [{"path": "/a"}, {"path": "/closed", "auth": "required"}, LIMITED]
AUTH = {"auth": {"type": "apiKey", "keys": [{"key": "0" * 64, "name": "nobody"}]}}


@contextmanager
def garbage() -> Iterator[Counter[str]]:
    """What the collector would have to free after the block, by type."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)  # what is found is kept to be looked at
    try:
        yield found
        gc.collect()
        found.update(type(thing).__name__ for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    ("script", "data", "status"),
    [
        (echo, get("/a"), 200),
        (echo, post(b"x" * 300_000, "/a"), 200),
        (echo, get("/health"), 200),
        (echo, get("/none"), 404),
        (echo, get("/a b"), 400),
        (echo, get("/closed"), 401),
        (echo, get("/limited"), 429),
        (answering_once(b"garbage\r\n\r\n"), get("/a"), 502),
        (answering_once(b"garbage\r\n\r\n"), post(b"x" * 300_000, "/a"), 502),
    ],
    ids=[
        "relayed",
        "a body in a task",
        "system",
        "no route",
        "malformed",
        "no credential",
        "limited",
        "bad upstream",
        "bad upstream, body in a task",
    ],
)
async def test_an_exchange_is_freed_when_it_ends(script: Script, data: bytes, status: int) -> None:
    """After an answer, whatever it was, no exchange waits for the collector."""
    async with proxied(script, routes=ROUTES, security=AUTH, circuitBreaker={"enabled": False}) as (_, gateway):
        for _ in range(3):
            await gateway.ask(data)
        with garbage() as left:
            answers = [await gateway.ask(data) for _ in range(3)]
    assert {answer.status for answer in answers} == {status}
    assert not OURS & set(left), left


async def test_what_a_vanished_client_wanted_is_freed() -> None:
    """A client that goes before its answer, with all of its body sent or not."""
    held = asyncio.Event()

    async def hold(peer: Peer) -> None:
        await peer.head()
        held.set()
        while not await peer.gone():
            pass

    async with proxied(hold, routes=ROUTES, security=AUTH, circuitBreaker={"enabled": False}) as (_, gateway):

        async def still_open() -> float:
            return (await gateway.metrics()).value("http_requests_in_flight")

        with garbage() as left:
            for data in (get("/a"), post(b"x" * 70_000, "/a"), post(b"x" * 70_000, "/a")[:-100]):
                held.clear()
                async with connected(gateway.port) as client:
                    await client.send(data)
                    await held.wait()
                    client.abort()
                await eventually(still_open, lambda count: count == 0)
    assert not OURS & set(left), left


async def test_an_upload_in_pieces_is_freed() -> None:
    """A body that comes in several reads, each with a pause."""
    data = post(b"x" * 70_000, "/a")
    async with proxied(echo, routes=ROUTES, security=AUTH) as (_, gateway), connected(gateway.port) as client:
        with garbage() as left:
            for _ in range(3):
                for start in range(0, len(data), 10_000):
                    await client.send(data[start : start + 10_000])
                    await asyncio.sleep(0)
                assert (await client.response()).status == 200
    assert not OURS & set(left), left


async def test_an_answer_that_breaks_off_is_freed() -> None:
    """The upstream goes in the middle of its body."""
    half = answering_once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    async with proxied(half, routes=ROUTES, security=AUTH, circuitBreaker={"enabled": False}) as (_, gateway):
        with garbage() as left:
            for _ in range(3):
                async with connected(gateway.port) as client:
                    assert (await client.whole(get("/a"))) is None
    assert not OURS & set(left), left
