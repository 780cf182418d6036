"""A store that speaks Redis' protocol and answers nonsense, half, or not at all: requests go on all the same."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.test_redis_limits import found, missed, statuses
from tests.support.deadline import eventually
from tests.support.gateway import Gateway, document, running_gateway
from tests.support.origin import OK, answering, serving

LIMIT = {"max": 3, "windowMs": 3_600_000, "key": "route"}
GRANTED = b"[1,100,0,60]"
CLOSE = b"close"
"""Instead of a reply: end the connection."""


def bulk(text: bytes) -> bytes:
    """A string as Redis sends it."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


class Liar:
    """Answers every call of the script: well, unless there are `lies` left, which go out one for each call.

    What ends in `CLOSE` ends the connection after it; an empty lie is silence.
    """

    def __init__(self) -> None:
        self.port = 0
        self.lies: deque[bytes] = deque()
        self.calls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                words = []
                for _ in range(int((await reader.readuntil(b"\r\n"))[1:])):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                if words[0] == b"SCRIPT":
                    writer.write(b"+OK\r\n")
                    continue
                self.calls += 1
                lie = self.lies.popleft() if self.lies else bulk(GRANTED)
                writer.write(lie.removesuffix(CLOSE))
                if lie.endswith(CLOSE):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def lied_to(mode: str) -> AsyncIterator[tuple[Liar, Gateway]]:
    """A gateway that counts in a liar's store, and has found it well so far."""
    liar = Liar()
    server = await asyncio.start_server(liar.serve, "127.0.0.1", 0)
    async with server, serving(answering(OK)) as origin:
        liar.port = server.sockets[0].getsockname()[1]
        redis = {"url": f"redis://127.0.0.1:{liar.port}", "timeout": 250}
        section = {"backend": "redis", "mode": mode, "redis": redis}
        text = document(origin.url, route={"name": "r", "rateLimit": LIMIT}, rateLimit=section)
        async with running_gateway(text) as gateway:
            await found(gateway)
            yield liar, gateway


LIES = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "read-only": b"-READONLY You can't write against a read only replica.\r\n",
    "not master": b"-MASTERDOWN Link with MASTER is down\r\n",
    "busy": b"-BUSY Redis is busy running a script.\r\n",
    "out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "half a reply, then silence": b"$12\r\n[1,100",
    "half a reply, then the end": b"$12\r\n[1,100" + CLOSE,
    "the end": CLOSE,
    "silence": b"",
    "a number": b":1\r\n",
    "nothing": b"$-1\r\n",
    "a list": b"*1\r\n:1\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "endless": b"$99999999999\r\n[",
    "no JSON": bulk(b"granted"),
    "an object": bulk(b"{}"),
    "too few": bulk(b"[1]"),
    "too many": bulk(b"[1,1,1,1,1]"),
    "words": bulk(b'["a","b","c","d"]'),
    "nulls": bulk(b"[null,null,null,null]"),
    "nulls after a grant": bulk(b"[1,null,null,null]"),
    "lists": bulk(b"[[],[],[],[]]"),
    "two replies": bulk(GRANTED) + b"+OK\r\n",
}


@pytest.mark.parametrize("mode", ["exact", "leased"])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_reply_that_cannot_be_used_costs_no_request(lie: bytes, mode: str) -> None:
    """The request is decided without the store, in time; the store is found again once it answers well."""
    async with lied_to(mode) as (liar, gateway):
        liar.lies.append(lie)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await statuses(gateway, 1) == [200]
        assert loop.time() - began < 2.0
        await eventually(gateway.metrics, lambda seen: seen.value("http_requests_in_flight") == 0)
        await found(gateway)
        assert await statuses(gateway, 2) == [200, 200]


@pytest.mark.parametrize("mode", ["exact", "leased"])
async def test_a_store_that_never_keeps_the_script_is_lost(mode: str) -> None:
    """NOSCRIPT to the script itself as well: no endless sending of it, and no request that waits for its end."""
    async with lied_to(mode) as (liar, gateway):
        liar.lies.extend([b"-NOSCRIPT No matching script.\r\n"] * 200)
        assert await statuses(gateway, 1) == [200]
        await missed(gateway)
        assert liar.calls < 10
