"""A connection to an endpoint: one exchange at a time, and suspicion towards everything that comes back.

After each answer the connection is either exactly at the start of the next one or it is closed: a byte too many, a body
too short, a request not sent whole, all end it. The parser is strict; what it lets through but framing rules forbid is
refused in `response_head.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from dataplane.driver import Arrival
from dataplane.errors import ConnectionLost, GatewayError, UpstreamError, UpstreamTimeout
from dataplane.headers import interim_head
from dataplane.http1 import parser as http
from dataplane.http1.body import NO_BODY, Body
from dataplane.http1.deadlines import NEVER
from dataplane.http1.fields import FIELDS, FIRST_OF_RESPONSE, Headers
from dataplane.http1.response_head import Framing, ResponseHead, check_head

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.upgrade import Tunnel
    from dataplane.upstream.pool import Pool

_NO_HEAD: Final = ResponseHead([])
_MOST_HEAD_BYTES: Final = 256 * 1024
_CHUNK_OVERHEAD: Final = 64 * 1024
_FIRST_BYTES: Final = b"HTTP/1.1 "
_VERSION: Final = "1.1"
"""Of an answer that begins like this: the parser would format its version for every one."""


class UpstreamConnection(asyncio.Protocol):
    """`begin`, write the request, wait; then read `status`, `head` and `body`; at the end `release`."""

    def __init__(self, pool: Pool) -> None:
        # connection
        self.pool = pool
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.deadline = NEVER
        self.lost = False
        self.placed = False  # it holds a place in the pool
        self.used = 0  # exchanges begun
        self._parser: http.HttpResponseParser | None = http.HttpResponseParser(self)
        self._blocked: asyncio.Future[None] | None = None
        self._held = False
        self._unsent = b""
        self._tunnel: Tunnel | None = None
        # exchange
        self.busy = False
        self.status = 0
        self.reason = b""
        self.head = _NO_HEAD
        self.body: Body = NO_BODY
        self.framing = Framing.NONE
        self.request_sent = False
        self.heard = False  # a byte of the answer came
        self.tail = b""  # what came after a 101
        self._fields: Headers = []
        self._field = FIRST_OF_RESPONSE  # the last one read
        self._trailers: Headers = []
        self._exchange: Exchange | None = None
        self._renew = False  # the parser is in no state for another answer
        self._complete = False
        self._reusable = False
        self.answer = Arrival()  # the head of the final answer
        self._received = 0
        self._version = ""
        self._response_seconds = self.idle_seconds = 0.0
        self.sender: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "lost" if self.lost else "busy" if self.busy else "idle"
        return f"<UpstreamConnection {self.pool.address} {state} used {self.used}>"

    # ---- for `forward`

    def begin(self, x: Exchange, now: float, response_seconds: float, idle_seconds: float) -> Arrival:
        """Get ready for one exchange; write the request next. Times in seconds, 0: no limit.

        The future is done when the head of the final answer is there (its body may be, too), or fails with an
        UpstreamError.
        """
        self.busy = True
        self.used += 1
        self.status = 0
        self.body = NO_BODY
        self.request_sent = self.heard = self._complete = self._reusable = False
        self._exchange = x
        self._received = 0
        self._response_seconds = response_seconds
        self.idle_seconds = idle_seconds
        self.deadline = now + response_seconds if response_seconds else NEVER
        self.answer.expect()
        return self.answer

    def sending(self) -> None:
        """The body is on its way: the answer's time has not begun, and waiting for the client is not ours to time."""
        if not self.status:
            self.deadline = NEVER

    def sent(self) -> None:
        """The body is out: from here the answer's first byte is awaited."""
        self.request_sent = True
        if not self.status:
            self._restart(self._response_seconds)

    def _restart(self, seconds: float) -> None:
        self.deadline = self.pool.clock() + seconds if seconds else NEVER

    def send(self, message: bytes) -> None:
        """Write a whole, small message with the others of this turn of the loop."""
        self._unsent = message
        self.pool.outbox.add(self)

    def flush(self) -> None:
        """Write what was held back."""
        unsent, self._unsent = self._unsent, b""
        if unsent and not self.lost:
            self.transport.write(unsent)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def writelines(self, chunks: list[bytes]) -> None:
        self.transport.writelines(chunks)

    def unblocked(self) -> asyncio.Future[None] | None:
        """Something to wait for before the next part of the body is written; raises ConnectionLost."""
        if self.lost:
            raise ConnectionLost
        if self._blocked is not None and not self.status:
            self._restart(self.idle_seconds)
        return self._blocked

    def release(self) -> None:
        """The exchange is over, however it went: back to the pool when both messages were whole, else closed."""
        self.busy = False
        self.deadline = NEVER
        self._exchange = None
        self.body.error = None  # see Exchange.forget_errors
        self.body = NO_BODY
        if self._complete and self._reusable and self.request_sent and not self.lost and not self._held:
            if self._renew:
                self._renew = False
                self._parser = http.HttpResponseParser(self)  # the old one still expects the body that HEAD has not
            self.pool.put(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close without sending what is buffered: the endpoint shall stop working on it."""
        self._unsent = b""
        if not self.lost and not self.transport.is_closing():
            self.transport.abort()

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.pool.lost(self)
        if self._tunnel is not None:
            self._tunnel.lost(self)
        elif self.busy:
            self._ended(clean=exc is None)
        self._release_writer()

    def eof_received(self) -> bool:
        if self._tunnel is not None:
            return self._tunnel.ended(self)
        if self.busy:
            self._ended(clean=True)
        return False

    def _ended(self, *, clean: bool) -> None:
        """The endpoint will say nothing more."""
        if self._complete:
            return
        if clean and self.framing is Framing.UNTIL_CLOSE and self.status:
            self._complete = True
            self.body.finish()
        else:
            self._fail(ConnectionLost(detail="closed" if clean else "reset"))

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.feed(self, data)
            return
        if not self.busy or self._parser is None:
            self.abort()  # an answer to no question
            return
        if not self._received:
            self._version = _VERSION if data.startswith(_FIRST_BYTES) else ""
        self.heard = True
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except http.HttpParserUpgrade as pause:
            self.tail = data[pause.args[0] :]
            self._parser = None
        except http.HttpParserError as error:
            self._broken(error)
        if not self._complete:
            self._watch_progress()
        if self.status and not self.answer.here:
            self.answer.arrive()  # and the exchange goes on: by now it may be over, and this connection in use again

    def _watch_progress(self) -> None:
        if self.status:
            self._restart(0 if self._held else self.idle_seconds)
            if self.framing is Framing.CHUNKED and self._received > _CHUNK_OVERHEAD + 9 * self.body.received:
                self._fail(UpstreamError(detail="chunk extensions or trailers too large"))
        elif self._received > _MOST_HEAD_BYTES:
            self._fail(UpstreamError(detail="response head too large"))

    def pause_writing(self) -> None:
        self._blocked = self.pool.loop.create_future()
        if self._tunnel is not None:
            self._tunnel.hold(self)

    def resume_writing(self) -> None:
        self._release_writer()
        if self._tunnel is not None:
            self._tunnel.release(self)

    def _release_writer(self) -> None:
        drained, self._blocked = self._blocked, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def pause_reading(self) -> None:
        """The client reads more slowly than the endpoint writes."""
        self._held = True
        self.deadline = NEVER
        if not self.lost:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        self._held = False
        if not self.lost:
            self._restart(self.idle_seconds)
            self.transport.resume_reading()

    def start_tunnel(self, tunnel: Tunnel) -> bytes:
        """From here on bytes go to the tunnel; returns those that came with the 101."""
        self._tunnel = tunnel
        self.deadline = NEVER
        tail, self.tail = self.tail, b""
        return tail

    # ---- the parser's side

    def on_message_begin(self) -> None:
        if self._complete:
            self._reusable = False  # bytes after the answer: they belong to nobody
            self._fields = []
            return
        self.reason = b""
        self._fields = []
        self._field = FIRST_OF_RESPONSE

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field = field = FIELDS.behind(self._field, name)
        self._fields.append((field, value))

    def on_headers_complete(self) -> None:
        parser, x = self._parser, self._exchange
        if self._complete or parser is None or x is None:
            return
        fields = self._fields
        check_head(self.reason, fields, self._received)
        status, version = parser.get_status_code(), self._version or parser.get_http_version()
        self._version = ""  # of another message, if any
        head = ResponseHead(fields)
        is_head = x.method == "HEAD"
        framing = head.framing(status, version, is_head)
        if status < 200 and (status != 101 or x.upgrade is None):
            self._take_interim(x, status, head)
            return
        self.head = head
        self.framing = framing
        if framing is not Framing.NONE:
            self.body = Body(self, head.length)
            self._fields = self._trailers = []
        self.status = status
        if is_head or status == 101:
            self._complete = self._renew = True
            self._reusable = is_head and head.stays_open(version)

    def _take_interim(self, x: Exchange, status: int, head: ResponseHead) -> None:
        if status == 101:
            raise UpstreamError(detail="switched protocols unasked")
        # A 100 answers an Expect that the gateway has answered itself already; others go on to clients that know them.
        if status != 100 and x.http11 and not x.response_started:
            x.connection.write(interim_head(status, self.reason, head.lines))

    def on_body(self, data: bytes) -> None:
        if self._complete:
            self._reusable = False  # a body after HEAD
            return
        self.body.feed(data)

    def on_message_complete(self) -> None:
        if not self.status or self._complete:
            return
        self._complete = True
        self._reusable = self._parser is not None and self._parser.should_keep_alive()
        if not self.body.complete:
            self.body.finish(self._trailers)

    def _broken(self, error: http.HttpParserError) -> None:
        cause = http.raised_by_callback(error)
        if cause is not None and not isinstance(cause, GatewayError):
            raise RuntimeError("a parser callback failed") from cause
        self._reusable = False
        if not self._complete:
            self._fail(cause or UpstreamError(detail=f"malformed response: {error}"))

    def _fail(self, error: GatewayError) -> None:
        """End the exchange with an error, for whoever waits for the head or reads the body; close."""
        if not self.answer.here:
            self.answer.fail(error)
        else:
            self.body.fail(error)
        self.abort()

    def expired(self, now: float) -> None:
        if not self.busy:
            self.transport.close()
        elif self.status:
            self._fail(UpstreamTimeout(detail="between bytes"))
        else:
            self._fail(UpstreamTimeout(detail="first byte"))
