"""A client's connection: bytes to exchanges in order, answers back, with every limit and deadline of that side.

The life of a connection: idle -> head -> (body) -> exchange in flight -> idle …, at the end lingering, or a tunnel. One
exchange is in flight at a time; pipelined ones wait in order (RFC 9112 9.3.2) and stop the reading when they are too
many. Whatever is wrong with a request becomes an exchange with a `refusal`, so that it is answered, logged and counted
like every other one.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from dataplane.errors import BadRequest, BodyTooLarge, ClientGone, ClientTimeout, GatewayError, RequestTimeout
from dataplane.exchange import Exchange
from dataplane.http1 import parser as http
from dataplane.http1.body import Body
from dataplane.http1.deadlines import NEVER
from dataplane.http1.fields import FIELDS, Headers
from dataplane.http1.request_head import MOST_FIELDS, check_sizes, check_version, examine
from dataplane.http1.request_limits import framing_error, partial_head_error, refusal_of

if TYPE_CHECKING:
    from dataplane.listener import Listener
    from dataplane.upgrade import Tunnel

_RESET = struct.pack("ii", 1, 0)
_PORT = re.compile(r":[0-9]+$")
_MOST_PIPELINED = 32
_MOST_PIPELINED_AT_ONCE = 512
"""In one read: each costs about a kilobyte, so this bounds what a connection can cost before it is held."""
_MOST_EARLY_TUNNEL_BYTES = 64 * 1024
_LINGER_SECONDS = 2.0
_FIRST_REQUEST_SECONDS = 1.0
"""In which the first request of a new connection is waited for, even when the gateway is about to end."""
_LINGER_BYTES = 1024 * 1024
_DISCARD_BYTES = 64 * 1024
"""The rest of a refused body that is read and dropped to keep the connection, rather than closing it."""


class DownstreamConnection(asyncio.Protocol):
    """One client connection. The parser calls the `on_…` methods; `handle` calls the sending ones."""

    def __init__(self, listener: Listener) -> None:
        # process
        self.listener = listener
        self.scheme = listener.scheme
        # connection
        self.limits = listener.limits
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.ip = ""
        self.port = 0
        self.deadline = NEVER
        self._since = 0.0  # when it came
        self.identity: tuple[bytes, object, bytes] | None = None  # (host, trusted networks, lines): headers.py
        self.credential: tuple[bytes, object, Any] | None = None  # (as presented, among which, whose): filters
        self.lost = False
        self._parser: http.HttpRequestParser | None = http.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._host, self._host_name = b"", ""
        self._held_by_queue = self._held_by_body = self._held = False
        self.blocked: asyncio.Future[None] | None = None  # done when the client has read enough
        self._tunnel: Tunnel | None = None
        self._tail = b""
        self._linger_left = -1
        # request being read
        self._reading: Exchange | None = None
        self._headers: Headers = []
        self._trailers: Headers = []
        self._url = b""
        self._in_head = self._measure = self._priming = False
        self._head_bytes = self._accounted = 0
        self._skipped: int | None = None
        # request in flight
        self.current: Exchange | None = None
        self._request_deadline = NEVER

    def __repr__(self) -> str:
        return f"<DownstreamConnection {self.ip} {self.current or 'idle'} {len(self._queue)} waiting>"

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.ip = peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else ""
        self.port = own[1] if isinstance(own, tuple) else 0
        if not self.listener.admit(self):
            self._parser = None
            self.transport.abort()
            return
        self._since = self.listener.clock()
        self.deadline = self._since + self.limits.idle

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._parser = None
        self.listener.leave(self)
        gone = ClientGone(detail=str(exc) if exc else "")
        self._queue.clear()
        if self._reading is not None:
            self._reading.body.fail(gone)
        if self._tunnel is not None:
            self._tunnel.lost(self)
        elif self.current is not None:
            self.current.cancel(gone)
        self._release_writer()

    def eof_received(self) -> bool:
        # A client that closed its side gets no answer, as with nginx: most of them are gone (CONTRACT: 499).
        return self._tunnel is not None and self._tunnel.ended(self)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._receive_raw(data)
            return
        was_in_head = self._in_head
        if was_in_head or len(data) > self.limits.smallest:
            self._measure = True
            self._accounted = 0
        try:
            self._parser.feed_data(data)
        except http.HttpParserUpgrade as pause:
            self._leave_parser(data[pause.args[0] :])
        except http.HttpParserError as error:
            self._refuse(refusal_of(error, data))
        if self._in_head:
            self._count_head(len(data) if was_in_head else 0)
        else:
            if self._reading is not None:
                self._set_deadline()
            if self._measure:
                self._count_framing(len(data))
        if self.current is None:
            self._next()
        if len(self._queue) >= _MOST_PIPELINED:
            self._held_by_queue = True
            self._apply_flow()

    def _receive_raw(self, data: bytes) -> None:
        """Bytes that are not (or not yet) HTTP of ours: of a tunnel, before one, or of a client we no longer hear."""
        if self._tunnel is not None:
            self._tunnel.feed(self, data)
        elif self._linger_left >= 0:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.transport.abort()
        elif self.current is not None and self.current.upgrade is not None:
            self._tail += data
            self._apply_flow()

    # ---- flow control

    def pause_reading(self) -> None:
        self._held_by_body = True
        self._apply_flow()

    def resume_reading(self) -> None:
        self._held_by_body = False
        self._apply_flow()
        self._set_deadline()

    def _apply_flow(self) -> None:
        hold = self._held_by_body or self._held_by_queue or len(self._tail) > _MOST_EARLY_TUNNEL_BYTES
        if hold != self._held and not self.lost:
            self._held = hold
            if hold:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.blocked = self.listener.loop.create_future()
        self._set_deadline()
        if self._tunnel is not None:
            self._tunnel.hold(self)

    def resume_writing(self) -> None:
        self._release_writer()
        self._set_deadline()
        if self._tunnel is not None:
            self._tunnel.release(self)

    def _release_writer(self) -> None:
        drained, self.blocked = self.blocked, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # ---- the parser's side

    def on_message_begin(self) -> None:
        if self._priming:
            self._headers = []
            return
        if len(self._queue) >= _MOST_PIPELINED_AT_ONCE:
            raise BadRequest("Too many requests were pipelined")
        now = self.listener.clock()
        self._reading = x = Exchange(self, now)
        self._headers = x.headers
        self._in_head = True
        self._head_bytes = 0
        self._url = b""
        if self.current is None and not self._queue:
            self.deadline = now + self.limits.header

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((FIELDS[name], value))

    def on_headers_complete(self) -> None:
        x, parser = self._reading, self._parser
        if self._priming or x is None or parser is None:
            return
        self._in_head = False
        x.raw_target = self._url
        x.method = parser.get_method().decode()
        length: int | None = None
        try:
            x.http11 = check_version(parser.get_http_version())
            if self._measure or len(x.headers) > MOST_FIELDS:
                self._accounted += check_sizes(x, self.limits)
            length = examine(x)
        except GatewayError as refusal:
            x.refusal = refusal
        if length:
            x.body = Body(self, length if length > 0 else None)
            self._headers = self._trailers = []
            if x.upgrade is None and parser.should_upgrade():
                self._skipped = length  # the parser is about to leave out a body that we want
        self._queue.append(x)

    def on_body(self, data: bytes) -> None:
        x = self._reading
        if x is not None:
            self._accounted += len(data)
            x.body.feed(data)
            if x.body.limit is not None and x.body.received > x.body.limit:
                x.body.discard()
                x.cancel(BodyTooLarge())

    def on_message_complete(self) -> None:
        x = self._reading
        if x is None or self._skipped is not None:
            return
        self._reading = None
        if not x.body.complete:
            x.body.finish(self._trailers)
            self._set_deadline()

    # ---- when parsing ends, goes wrong, or goes on elsewhere

    def _leave_parser(self, rest: bytes) -> None:
        """llhttp stops at every message with Upgrade or CONNECT: go on raw, or as HTTP when we do not switch."""
        x = self._queue[-1]
        if x.upgrade is not None or x.method == "CONNECT":
            self._parser = None
            self._tail = rest
            return
        self._parser = parser = http.HttpRequestParser(self)
        if self._skipped is not None:
            # Prime the new parser with the framing that the old one left out; its head is thrown away.
            framing = b"content-length: %d" % self._skipped if self._skipped > 0 else b"transfer-encoding: chunked"
            self._priming = True
            parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n")
            self._priming = False
            self._skipped = None
            self._headers = self._trailers
        if rest:
            self.data_received(rest)

    def resume_http(self) -> None:
        """The upstream did not switch protocols: what the client sent since is HTTP again."""
        self._parser = http.HttpRequestParser(self)
        tail, self._tail = self._tail, b""
        self._apply_flow()
        if tail:
            self.data_received(tail)

    def start_tunnel(self, tunnel: Tunnel) -> bytes:
        """From here on bytes go to the tunnel; returns those that came too early for it."""
        self._tunnel = tunnel
        tail, self._tail = self._tail, b""
        self._apply_flow()
        return tail

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        error = partial_head_error(self._head_bytes, self._url, self.limits)
        if error is not None:
            self._refuse(error)

    def _count_framing(self, size: int) -> None:
        """Of a large read, what was neither head nor content: chunk sizes, extensions, trailers."""
        self._measure = False
        error = framing_error(size - self._accounted, self._accounted)
        if error is not None:
            if self._reading is None and self._queue:
                self._parser = None
                self._queue[-1].cancel(error)
            else:
                self._refuse(error)

    def _refuse(self, error: GatewayError) -> None:
        """Nothing more on this connection can be understood: answer what can be answered, then close."""
        self._parser = None
        x = self._reading
        if x is None or self._in_head:
            x = x or Exchange(self, self.listener.clock())
            x.raw_target = x.raw_target or self._url
            x.refusal = error
            self._in_head = False
            self._queue.append(x)
            self._next()
        else:
            x.body.fail(error)
            if x is self.current or x in self._queue:
                x.cancel(error)
            else:
                self.close()
        self._reading = None

    # ---- exchanges

    def host_name(self, host: bytes) -> str:
        """Host as routes compare it: lower-case, without port and final dot. Clients rarely change it."""
        if host != self._host:
            name = host.decode("ascii").lower()
            self._host = host
            self._host_name = name.rpartition(":")[0] if _PORT.search(name) else name
            self._host_name = self._host_name.removesuffix(".")
        return self._host_name

    def _next(self) -> None:
        """Start the oldest waiting exchange, when none is in flight."""
        if self.current is not None or not self._queue:
            return
        self.current = x = self._queue.popleft()
        self._request_deadline = x.started + self.limits.request
        if x.body.complete:
            self.deadline = self._request_deadline
        else:
            self._set_deadline()
        self.listener.spawn(x)
        if self._held_by_queue and not self._queue:
            self._held_by_queue = False
            self._apply_flow()

    def allow(self, x: Exchange, seconds: float) -> None:
        """The route's own time for the whole exchange, from its start."""
        self._request_deadline = x.started + seconds
        self._set_deadline()

    def can_stay_open(self, x: Exchange) -> bool:
        """Whether the connection can carry another request after this answer; ask when the answer begins."""
        if not x.keep_alive or x.close:
            return False
        if self._queue:
            return True  # they came before whatever ends this connection
        if self.listener.draining or (self._parser is None and x.upgrade is None):
            return False
        body = x.body
        if body.complete:
            return True
        # An unread rest is worth reading only when it is known to be small, and is really on its way.
        return not x.expect_continue and body.length is not None and body.length - body.received <= _DISCARD_BYTES

    def finished(self, x: Exchange) -> None:
        """The exchange is over; called exactly once, whatever became of it."""
        self.current = None
        if self.lost or self._tunnel is not None:
            return
        if not x.body.complete:
            x.body.discard()
        if x.close:
            self._linger(x)
        elif self._queue:
            self._next()
        else:
            if x.upgrade is not None and self._parser is None:
                self.resume_http()
            self._set_deadline()
            if self.listener.ending:
                self.close_if_idle()

    def _linger(self, x: Exchange) -> None:
        """Close so that the answer arrives: a client still sending would lose it to a reset (RFC 9112 9.6)."""
        self._parser = None
        self._queue.clear()
        if (x.body.complete and x.refusal is None) or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._linger_left = _LINGER_BYTES
        self.deadline = self.listener.clock() + _LINGER_SECONDS
        self._held_by_body = self._held_by_queue = False
        self._tail = b""
        self._apply_flow()
        self.transport.write_eof()

    # ---- the sending side, for `handle`

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def writelines(self, chunks: list[bytes]) -> None:
        self.transport.writelines(chunks)

    def close(self) -> None:
        """Close once everything written was sent."""
        self.transport.close()

    def abort(self) -> None:
        """Reset: the client must see that the answer is not whole, even where only the connection's end ends it."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.lost:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def close_if_idle(self) -> None:
        """For drain: a connection between requests ends; another one ends with its answer.

        One that has only just come gets a moment: its first request is on its way, and will be answered.
        """
        if self.current is None and not self._queue and not self._in_head and self._linger_left < 0:
            settled = self._since + _FIRST_REQUEST_SECONDS
            if self._request_deadline == NEVER and self.listener.clock() < settled:
                self.deadline = settled
            else:
                self.transport.close()

    # ---- deadlines

    def _set_deadline(self) -> None:
        now = self.listener.clock()
        x = self.current
        if self._tunnel is not None or self._linger_left >= 0:
            return
        if x is None:
            waiting = self.limits.header if self._in_head else self.limits.idle
            self.deadline = now + waiting
        elif self.blocked is not None or (not x.body.complete and not self._held_by_body):
            self.deadline = min(self._request_deadline, now + self.limits.idle)
        else:
            self.deadline = self._request_deadline

    def expired(self, now: float) -> None:
        x = self.current
        if self._tunnel is not None:
            self._tunnel.expired()
        elif self._linger_left >= 0 or (self.blocked is not None and now < self._request_deadline):
            self.abort()
        elif x is not None and (x.body.complete or self._held_by_body):
            x.cancel(RequestTimeout())
        elif x is not None:
            x.cancel(ClientTimeout("The request body took too long to arrive"))
        elif self._in_head:
            self._refuse(ClientTimeout())
        else:
            self.transport.close()
