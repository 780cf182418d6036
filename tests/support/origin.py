"""Origins under the test's control: each connection that the gateway opens follows a script.

A script is a coroutine over a `Peer`: it reads heads and bodies, sends bytes, waits, closes or resets, in any order.
What it reads is recorded, and read strictly: a request that is not well-formed fails the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.client import let_go, reset
from tests.support.deadline import DEADLINE, Bell
from tests.support.wire import Content, Fields, Head, Malformed, Truncated, read_content, read_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(slots=True)
class Received:
    """A request as it arrived; `complete` once the script has read its body to the end."""

    head: Head
    connection: int
    content: Content = field(default_factory=Content)
    complete: bool = False

    @property
    def method(self) -> str:
        return self.head.start.split(b" ")[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.head.start.split(b" ")[1].decode("latin-1")

    @property
    def body(self) -> bytes:
        return self.content.body

    @property
    def trailers(self) -> Fields:
        return self.content.trailers

    def value(self, name: str) -> str | None:
        return self.head.value(name)

    def values(self, name: str) -> list[bytes]:
        return self.head.values(name)


class Peer:
    """The origin's end of one connection; `number` counts connections from 1."""

    def __init__(self, origin: Origin, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.origin = origin
        self.number = number
        self.reader = reader
        self.writer = writer
        self.sent = 0

    async def head(self) -> Received | None:
        """The next request's head, recorded; None when the gateway closed the connection instead."""
        head = await read_head(self.reader)
        if head is None:
            return None
        if head.start.count(b" ") != 2 or not head.start.endswith(b" HTTP/1.1"):
            raise Malformed(f"request line {head.start!r}")
        received = Received(head, self.number)
        self.origin.received.append(received)
        self.origin.bell.ring()
        return received

    async def body(self, received: Received) -> None:
        """Read the request's body and trailers into it."""
        received.content = await read_content(self.reader, received.head)
        received.complete = True
        self.origin.bell.ring()

    async def request(self) -> Received | None:
        """The next whole request; None at the end of the connection."""
        received = await self.head()
        if received is not None:
            await self.body(received)
        return received

    async def send(self, *parts: bytes) -> None:
        """Send parts one after the other, each once the one before was taken by the transport."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            self.sent += len(part)

    async def gone(self) -> bool:
        """Wait until the gateway ends the connection; False when it sends something instead."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    def half_close(self) -> None:
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        reset(self.writer)


Script = Callable[[Peer], Awaitable[None]]


class Origin:
    """A listening origin with what it saw. `faults` are scripts that failed; leaving `serving` raises the first."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.port = 0
        self.peers: list[Peer] = []
        self.open = 0
        self.received: list[Received] = []
        self.faults: list[BaseException] = []
        self.bell = Bell()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many were opened so far."""
        return len(self.peers)

    @property
    def last(self) -> Received:
        assert self.received, "nothing reached the origin"
        return self.received[-1]

    async def until(self, condition: Callable[[], bool], what: str = "the origin's condition") -> None:
        """Wait for something about this origin: requests received, connections opened or ended."""
        await self.bell.until(condition, what)

    async def arrived(self, count: int = 1) -> Received:
        """Wait for that many requests (their heads); the last of them."""
        await self.until(lambda: len(self.received) >= count, f"{count} requests at the origin")
        return self.received[count - 1]

    async def follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from accept to close."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(self, len(self.peers) + 1, reader, writer)
        self.peers.append(peer)
        self.open += 1
        self.bell.ring()
        try:
            await self.script(peer)
        except (ConnectionError, Truncated):
            pass  # the gateway may leave at any point
        except (AssertionError, Malformed, ValueError) as fault:
            self.faults.append(fault)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio would log it
        finally:
            self._tasks.discard(task)
            if writer.transport.is_closing():
                await let_go(writer)
            else:
                writer.close()
            self.open -= 1
            self.bell.ring()

    async def stop(self) -> None:
        """End every connection; raise what a script found wrong."""
        for peer in self.peers:
            peer.writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.faults:
            raise self.faults[0]


@asynccontextmanager
async def serving(script: Script, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Origin]:
    """A ScriptedOrigin on a port of its own, or on a given one of another address of this machine."""
    origin = Origin(script)
    server = await asyncio.start_server(origin.follow, host, port)
    origin.port = server.sockets[0].getsockname()[1]
    try:
        yield origin
    finally:
        server.close()
        await origin.stop()
        async with asyncio.timeout(DEADLINE):
            await server.wait_closed()


# ---- scripts that many tests share


def answering(*parts: bytes) -> Script:
    """Answers every request with the same bytes, sent part by part; the connection stays open."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(*parts)

    return script


def answering_once(*parts: bytes) -> Script:
    """Answers one request for each connection with these bytes, then closes it."""

    async def script(peer: Peer) -> None:
        if await peer.request():
            await peer.send(*parts)
        peer.close()

    return script


async def echo(peer: Peer) -> None:
    """Answers with JSON of what it received: method, target, headers, body, trailers (text as latin-1)."""
    while received := await peer.request():
        body = json.dumps(
            {
                "method": received.method,
                "target": received.target,
                "headers": [[name.decode("latin-1"), text.decode("latin-1")] for name, text in received.head.fields],
                "body": received.body.decode("latin-1"),
                "trailers": [[name.decode("latin-1"), text.decode("latin-1")] for name, text in received.trailers],
            }
        ).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        await peer.send(head + (b"" if received.method == "HEAD" else body))
