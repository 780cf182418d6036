"""One connection to Redis: commands go out in one piece, replies come back in order (RESP 2).

Only what the limits need: strings, integers and errors. A client library would cost more per call than all else of a
request (docs/decisions/0010).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

from dataplane.limits.redis_address import RedisAddress

Answered = Callable[[bytes, bool], None]
"""Called with a reply, and whether it is an error's text."""

_MOST_BYTES: Final = 4 << 20
"""Of a reply. Ours are some kilobytes: whoever sends more is no Redis that we know."""
_CRLF: Final = b"\r\n"


class StoreError(Exception):
    """Redis could not be reached, or gave no usable answer."""


class RedisLink(asyncio.Protocol):
    """An open connection. `lost` is called once, when it ends for any reason but `close`."""

    def __init__(self, lost: Callable[[RedisLink], None]) -> None:
        self._lost: Callable[[RedisLink], None] | None = lost
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._waiting: deque[Answered] = deque()
        self._buffer = b""

    @property
    def waiting(self) -> int:
        """How many replies are yet to come."""
        return len(self._waiting)

    def send(self, words: Sequence[bytes], answered: Answered) -> None:
        """Send a command."""
        self._waiting.append(answered)
        self._transport.write(_packed(words))

    async def call(self, *words: bytes) -> bytes:
        """Send a command and wait for its reply; StoreError where that is an error, or the connection ends."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(reply: bytes, failed: bool) -> None:
            if future.done():
                return
            if failed:
                future.set_exception(StoreError(reply.decode("utf-8", "replace")))
            else:
                future.set_result(reply)

        self.send(words, answered)
        return await future

    def close(self) -> None:
        """End it at once; what waits for replies hears that there are none."""
        self._lost = None
        self._transport.abort()
        self._give_up()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        start = 0
        while self._waiting:
            reply = _reply(buffer, start)
            if reply is None:
                break
            content, failed, start = reply
            self._waiting.popleft()(content, failed)
        self._buffer = buffer[start:]
        if len(self._buffer) > _MOST_BYTES or (self._buffer and not self._waiting):
            self._transport.abort()  # it says more than was asked

    def connection_lost(self, error: Exception | None) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self)
        self._give_up()

    def _give_up(self) -> None:
        while self._waiting:
            self._waiting.popleft()(b"the connection to Redis ended", True)


def _reply(buffer: bytes, start: int) -> tuple[bytes, bool, int] | None:
    """(content, whether it is an error, where the next begins); None: not all of it is here."""
    end = buffer.find(_CRLF, start)
    if end < 0:
        return None
    kind, rest = buffer[start : start + 1], buffer[start + 1 : end]
    if kind != b"$":
        known = kind in {b"+", b":"}
        return (rest if known or kind == b"-" else b"not a reply of Redis"), not known, end + 2
    if not rest.isdigit():
        return b"not a string", True, end + 2
    after = end + 2 + int(rest)
    return (buffer[end + 2 : after], False, after + 2) if len(buffer) >= after + 2 else None


def _packed(words: Sequence[bytes]) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n%b" % (len(words), b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words]))


async def open_link(address: RedisAddress, lost: Callable[[RedisLink], None], seconds: float) -> RedisLink:
    """A connection that is signed in and has its database; each step may take `seconds`. Raises StoreError."""
    loop = asyncio.get_running_loop()
    secure = ssl.create_default_context() if address.tls else None
    link = RedisLink(lost)
    try:
        async with asyncio.timeout(seconds):
            if address.path:
                await loop.create_unix_connection(lambda: link, address.path)
            else:
                await loop.create_connection(lambda: link, address.host, address.port, ssl=secure)
    except TimeoutError:
        raise StoreError("no connection in time") from None
    except OSError as error:  # ssl.SSLError is one
        raise StoreError(f"no connection: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(seconds):
            if address.password:
                names = (address.user, address.password) if address.user else (address.password,)
                await link.call(b"AUTH", *(name.encode() for name in names))
            if address.database:
                await link.call(b"SELECT", b"%d" % address.database)
    except TimeoutError:
        link.close()
        raise StoreError("no answer in time") from None
    except BaseException:
        link.close()
        raise
    return link
