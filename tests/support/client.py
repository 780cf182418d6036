"""A client that sends exactly the bytes it is told to, and reads answers strictly."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.support.deadline import DEADLINE
from tests.support.wire import Content, Fields, Head, Malformed, Truncated, read_content, read_head, value, values

_BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; `interim` are the 1xx heads that came before it."""

    version: str
    status: int
    reason: str
    fields: Fields
    content: Content
    interim: list[Head] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return self.content.body

    @property
    def trailers(self) -> Fields:
        return self.content.trailers

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def value(self, name: str) -> str | None:
        """The only value of a field, None without one."""
        return value(self.fields, name)

    def values(self, name: str) -> list[bytes]:
        return values(self.fields, name)


def status_of(head: Head) -> tuple[str, int, str]:
    """Version, status and reason of a response's start line; raises Malformed."""
    version, _, rest = head.start.partition(b" ")
    code, _, reason = rest.partition(b" ")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or len(code) != 3 or not code.isdigit():
        raise Malformed(f"status line {head.start!r}")
    return version.decode(), int(code), reason.decode("latin-1")


class RawClient:
    """One connection. Every wait has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(DEADLINE):
            self.writer.write(data)
            await self.writer.drain()

    async def ask(self, data: bytes, *, method: str = "") -> Response:
        """Send a request and read its answer; `method` where the bytes do not begin with it."""
        await self.send(data)
        return await self.response(method or data.split(b" ", 1)[0].decode("latin-1"))

    async def head(self) -> Head:
        """The next head, interim or final; the body stays unread. Raises Truncated where the connection ends first."""
        async with asyncio.timeout(DEADLINE):
            head = await read_head(self.reader)
        if head is None:
            raise Truncated("the connection")
        return head

    async def response(self, method: str = "GET") -> Response:
        """The next final answer to a request with that method; raises Malformed or Truncated."""
        interim: list[Head] = []
        while 100 <= status_of(head := await self.head())[1] < 200 and status_of(head)[1] != 101:
            interim.append(head)
        version, status, reason = status_of(head)
        content = Content()
        if method != "HEAD" and status not in _BODILESS and status != 101:
            async with asyncio.timeout(DEADLINE):
                content = await read_content(self.reader, head, until_close=True)
        return Response(version, status, reason, head.fields, content, interim)

    async def whole(self, data: bytes) -> Response | None:
        """The answer; None where a client can see that it is not whole: cut short, reset or malformed."""
        try:
            return await self.ask(data)
        except (Truncated, Malformed, ConnectionError):
            return None

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readexactly(size)

    async def until_eof(self) -> bytes:
        """Everything up to the end of the connection; ConnectionError where that is a reset."""
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read()

    async def closed(self) -> bool:
        """Whether the gateway ends the connection with nothing more to say; a reset counts. Waits up to DEADLINE."""
        try:
            return await self.until_eof() == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def half_close(self) -> None:
        """Say that nothing more will be sent; go on reading."""
        self.writer.write_eof()

    def abort(self) -> None:
        """Vanish with a reset, as a killed process does."""
        reset(self.writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST: SO_LINGER of zero, set through a second handle since loops guard their own."""
    handle = writer.get_extra_info("socket")
    if handle is not None and handle.fileno() != -1:
        with handle.dup() as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def connected(port: int, *, receive_buffer: int = 0, limit: int = 1 << 16) -> AsyncIterator[RawClient]:
    """A client of a port of this machine; `receive_buffer` bounds what the kernel takes in unread."""
    handle = socket.socket()
    handle.setblocking(False)
    if receive_buffer:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_connect(handle, ("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=handle, limit=limit)
    except BaseException:
        handle.close()
        raise
    try:
        yield RawClient(reader, writer)
    finally:
        await let_go(writer)


async def let_go(writer: asyncio.StreamWriter) -> None:
    """Close at once and wait until it is done; what the peer did to the connection no longer matters."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def ask(port: int, data: bytes) -> Response:
    """One request on a connection of its own."""
    async with connected(port) as client:
        return await client.ask(data)


def get(path: str = "/", *lines: str, host: str = "x", method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body: its head, with header lines as text."""
    head = [f"{method} {path} HTTP/{version}", f"Host: {host}", *lines]
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode("latin-1")


def post(body: bytes, path: str = "/", *lines: str, method: str = "POST") -> bytes:
    """A request with a body of declared length."""
    return get(path, f"Content-Length: {len(body)}", *lines, method=method) + body


def chunked(*chunks: bytes, trailers: tuple[str, ...] = ()) -> bytes:
    """The chunked form of a body."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return framed + b"0\r\n" + "".join(f"{line}\r\n" for line in trailers).encode("latin-1") + b"\r\n"
