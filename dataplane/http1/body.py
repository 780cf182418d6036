"""A message body on its way through: a bounded buffer between the connection that reads it and the one that writes it.

One writer (parser callbacks) and one reader (a coroutine). When the reader falls behind by more than HIGH bytes, the
source stops reading from its socket, until the reader waits for more: what it took may still be on its way out. Memory
per body is HIGH plus one read, wherever the bytes are.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from dataplane.http1.fields import NOT_IN_TRAILERS, Headers

HIGH: Final = 64 * 1024
KEPT: Final = 64 * 1024
"""Bytes of a request body that are kept so that it can be sent again."""


class Source(Protocol):
    """Where the bytes come from, as far as flow control goes."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Body:
    """Bytes in, bytes out, then perhaps trailers.

    `received` counts all bytes, `waiting` those that nobody took yet; `limit` is for the owner to check.
    """

    complete: bool = False
    discarding: bool = False
    error: BaseException | None = None
    limit: int | None = None
    received: int = 0
    waiting: int = 0
    trailers: tuple[bytes, ...] = ()
    keeping: bool = False  # all that was taken is here still, see `keep`
    _passed: bool = False  # some of it was taken and is gone
    _kept: list[bytes] | None = None
    _kept_size: int = 0
    _paused: bool = False
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, source: Source | None, length: int | None = None) -> None:
        """`length`: as declared, in bytes; None where the body is chunked or ends with the connection."""
        self._source = source
        self._chunks: list[bytes] = []
        self.length = length

    def __repr__(self) -> str:
        state = "complete" if self.complete else f"error {self.error!r}" if self.error else "open"
        return f"<Body {state} {self.received} of {self.length} bytes, {self.waiting} waiting>"

    # ---- the writing side

    def feed(self, data: bytes) -> None:
        self.received += len(data)
        if self.discarding:
            return
        self._chunks.append(data)
        self.waiting += len(data)
        if self._waiter is not None:
            self._wake()
        if self.waiting > HIGH and not self._paused and self._source is not None:
            self._paused = True
            self._source.pause_reading()

    def finish(self, trailers: Headers | None = None) -> None:
        if trailers:
            self.trailers = tuple(f.prefix + value for f, value in trailers if f.name not in NOT_IN_TRAILERS)
        self.complete = True
        self._resume()  # what comes next on the connection is not this body's
        self._wake()

    def fail(self, error: BaseException) -> None:
        """End the body with an error, once what is buffered was read."""
        if not self.complete and self.error is None:
            self.error = error
            self._wake()

    def discard(self) -> None:
        """Nobody will read the rest: drop it as it comes."""
        self.discarding = True
        self.forget()
        self.take()
        self._resume()

    def _resume(self) -> None:
        if self._paused and self._source is not None:
            self._paused = False
            self._source.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            if not waiter.done():
                waiter.set_result(None)

    # ---- the reading side

    def take(self) -> list[bytes]:
        """All that is buffered now, possibly nothing, without waiting."""
        chunks, self._chunks = self._chunks, []
        if self.keeping:
            self._keep(chunks, self.waiting)
        self.waiting = 0
        return chunks

    # ---- to be read once more

    def keep(self) -> None:
        """Keep what is taken from now on, up to KEPT bytes, so that `rewind` can give it again. Call it before."""
        if not self._passed and self._kept is None:
            self.keeping = True
            self._kept = []

    def _keep(self, chunks: list[bytes], size: int) -> None:
        self._kept_size += size
        if self._kept is None or self._kept_size > KEPT:
            self.forget()
        else:
            self._kept += chunks

    def rewind(self) -> None:
        """Read from the beginning again, if everything since then was kept."""
        if self._kept is not None:
            self._chunks = self._kept + self._chunks
            self.waiting += self._kept_size
            self._kept, self._kept_size = [], 0

    def forget(self) -> None:
        """It will not be read again."""
        self.keeping = False
        self._passed = True
        self._kept = None

    # ---- waiting

    def wait(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None] | None:
        """Something to wait for before the next `take`; None where there is no need: bytes are here, or the end is.

        Raises what `fail` was given, once everything before it was taken.
        """
        if self._chunks or self.complete:
            return None
        if self.error is not None:
            raise self.error
        self._resume()
        self._waiter = waiter = loop.create_future()
        return waiter


def _no_body() -> Body:
    body = Body(None, 0)
    body.complete = True
    return body


NO_BODY: Final = _no_body()
"""The body of a message without one; shared, and never fed."""
