"""A client's connection: exchanges one after another, answers back, with flow control and deadlines of that side.

The life of a connection: idle -> head -> (body) -> exchange in flight -> idle …, at the end lingering, or a tunnel. The
reader makes the exchanges; one is in flight at a time, pipelined ones wait in order (RFC 9112 9.3.2) and stop the
reading when they are too many. Whatever is wrong with a request becomes an exchange with a `refusal`, so that it is
answered, logged and counted like every other one.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from dataplane.driver import Driver
from dataplane.errors import ClientGone, ClientTimeout, GatewayError, RequestTimeout
from dataplane.exchange import Exchange
from dataplane.http1.deadlines import NEVER
from dataplane.http1.request_reader import RequestReader

if TYPE_CHECKING:
    from dataplane.listener import Listener
    from dataplane.upgrade import Tunnel

_RESET: Final = struct.pack("ii", 1, 0)
_PORT: Final = re.compile(r":[0-9]+$")
_MOST_PIPELINED: Final = 32
_MOST_EARLY_TUNNEL_BYTES: Final = 64 * 1024
_LINGER_SECONDS: Final = 2.0
_FIRST_REQUEST_SECONDS: Final = 1.0
"""In which the first request of a new connection is waited for, even when the gateway is about to end."""
_LINGER_BYTES: Final = 1024 * 1024
_DISCARD_BYTES: Final = 64 * 1024
"""The rest of a refused body that is read and dropped to keep the connection, rather than closing it."""


def address_of(transport: asyncio.BaseTransport, end: str) -> tuple[str, int]:
    """(IP address, port) of an end, "peername" or "sockname"; ("", 0) where it has none."""
    address = transport.get_extra_info(end)
    return (address[0].removeprefix("::ffff:"), address[1]) if isinstance(address, tuple) else ("", 0)


class DownstreamConnection(asyncio.Protocol):
    """One client connection. The transport and the reader drive it; `handle` calls the sending methods."""

    def __init__(self, listener: Listener) -> None:
        # process
        self.listener = listener
        self.clock = listener.clock
        self.outbox = listener.outbox
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
        self.queue: deque[Exchange] = deque()  # read, not begun
        self.reader = RequestReader(self)
        self.host, self._name = b"", ""  # the Host last seen, and its name
        self._held_by_queue = self._held_by_body = self._held = False
        self.blocked: asyncio.Future[None] | None = None  # done when the client has read enough
        self._tunnel: Tunnel | None = None
        self._linger_left = -1
        self._unsent = b""
        # request in flight
        self.current: Exchange | None = None
        self._request_deadline = NEVER
        self._starting = False

    def __repr__(self) -> str:
        return f"<DownstreamConnection {self.ip} {self.current or 'idle'} {len(self.queue)} waiting>"

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Unless a proxy has announced them (announced.py).
        self.ip = self.ip or address_of(transport, "peername")[0]
        self.port = self.port or address_of(transport, "sockname")[1]
        if not self.listener.admit(self):
            self._parser = None
            self.transport.abort()
            return
        self._since = self.clock()
        self.deadline = self._since + self.limits.idle

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.reader.ended = True
        self.listener.leave(self)
        gone = ClientGone(detail=str(exc) if exc else "")
        self.queue.clear()
        if self.reader.reading is not None:
            self.reader.reading.body.fail(gone)
            self.reader.reading = None
        if self._tunnel is not None:
            self._tunnel.lost(self)
        elif self.current is not None:
            self.current.cancel(gone)
        self._release_writer()

    def eof_received(self) -> bool:
        # A client that closed its side gets no answer, as with nginx: most of them are gone (CONTRACT: 499).
        return self._tunnel is not None and self._tunnel.ended(self)

    def data_received(self, data: bytes) -> None:
        if self.reader.ended:
            self._receive_raw(data)
            return
        self.reader.feed(data)
        if self.current is None:
            self._next()
        if len(self.queue) >= _MOST_PIPELINED:
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
            self.reader.tail += data
            self._apply_flow()

    # ---- flow control

    def pause_reading(self) -> None:
        self._held_by_body = True
        self._apply_flow()

    def resume_reading(self) -> None:
        self._held_by_body = False
        self._apply_flow()
        self.set_deadline()

    def _apply_flow(self) -> None:
        hold = self._held_by_body or self._held_by_queue or len(self.reader.tail) > _MOST_EARLY_TUNNEL_BYTES
        if hold != self._held and not self.lost:
            self._held = hold
            if hold:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.blocked = self.listener.loop.create_future()
        self.set_deadline()
        if self._tunnel is not None:
            self._tunnel.hold(self)

    def resume_writing(self) -> None:
        self._release_writer()
        self.set_deadline()
        if self._tunnel is not None:
            self._tunnel.release(self)

    def _release_writer(self) -> None:
        drained, self.blocked = self.blocked, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def start_tunnel(self, tunnel: Tunnel) -> bytes:
        """From here on bytes go to the tunnel; returns those that came too early for it."""
        self._tunnel = tunnel
        self.flush()
        tail, self.reader.tail = self.reader.tail, b""
        self._apply_flow()
        return tail

    # ---- exchanges

    def host_name(self, host: bytes) -> str:
        """Host as routes compare it: lower-case, without port and final dot. Clients rarely change it."""
        if host != self.host:
            name = host.decode("ascii").lower()
            self.host = host
            self._name = name.rpartition(":")[0] if _PORT.search(name) else name
            self._name = self._name.removesuffix(".")
        return self._name

    def enqueue(self, x: Exchange) -> None:
        """Take an exchange that was made without a head of its own."""
        self.queue.append(x)
        self._next()

    def give_up(self, x: Exchange, error: GatewayError) -> None:
        """The rest of its body cannot be read: answer the error, if an answer is still due."""
        if x is self.current or x in self.queue:
            x.cancel(error)
        else:
            self.close()

    def _next(self) -> None:
        """Start the oldest waiting exchange, when none is in flight; and those behind it that are answered at once."""
        if self._starting:
            return  # whoever is at it goes on: never deeper by one call for each of many small answers
        self._starting = True
        while self.queue and self.current is None:
            self.current = x = self.queue.popleft()
            self._request_deadline = x.started + self.limits.request
            if x.body.complete:
                self.deadline = self._request_deadline
            else:
                self.set_deadline()
            x.driver = driver = Driver(x, self.listener.handle(x), self.listener.loop)
            driver.step()  # when this returns the exchange is over, or waits
        self._starting = False
        if self._held_by_queue and not self.queue:
            self._held_by_queue = False
            self._apply_flow()

    def allow(self, x: Exchange, seconds: float) -> None:
        """The route's own time for the whole exchange, from its start."""
        self._request_deadline = x.started + seconds
        self.set_deadline()

    def can_stay_open(self, x: Exchange) -> bool:
        """Whether the connection can carry another request after this answer; ask when the answer begins."""
        if not x.keep_alive or x.close:
            return False
        if self.queue:
            return True  # they came before whatever ends this connection
        if self.listener.draining or (self.reader.ended and x.upgrade is None):
            return False
        body = x.body
        if body.complete:
            return True
        # An unread rest is worth reading only when it is known to be small, and is really on its way.
        return not x.expect_continue and body.length is not None and body.length - body.received <= _DISCARD_BYTES

    def finished(self, x: Exchange, now: float) -> None:
        """The exchange is over; called exactly once, whatever became of it."""
        self.current = None
        if self.lost or self._tunnel is not None:
            return
        if not x.body.complete:
            x.body.discard()
        if x.close:
            self._linger(x)
        elif self.queue:
            self._next()
        else:
            if x.upgrade is not None and self.reader.ended:
                self.reader.start_again()
            self._set_deadline(now)
            if self.listener.ending:
                self.close_if_idle()

    def _linger(self, x: Exchange) -> None:
        """Close so that the answer arrives: a client still sending would lose it to a reset (RFC 9112 9.6)."""
        self.reader.ended = True
        self.queue.clear()
        self.flush()
        if (x.body.complete and x.refusal is None) or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._linger_left = _LINGER_BYTES
        self.deadline = self.clock() + _LINGER_SECONDS
        self._held_by_body = self._held_by_queue = False
        self.reader.tail = b""
        self._apply_flow()
        self.transport.write_eof()

    # ---- the sending side, for `handle`

    def send(self, message: bytes) -> None:
        """Write a whole, small message with the others of this turn of the loop."""
        if self._unsent:
            self._unsent += message
        else:
            self._unsent = message
            self.outbox.add(self)

    def flush(self) -> None:
        """Write what was held back; before anything else that goes to the transport."""
        unsent, self._unsent = self._unsent, b""
        if unsent and not self.lost:
            self.transport.write(unsent)

    def write(self, data: bytes) -> None:
        if self._unsent:
            self.flush()
        self.transport.write(data)

    def writelines(self, chunks: list[bytes]) -> None:
        if self._unsent:
            self.flush()
        self.transport.writelines(chunks)

    def close(self) -> None:
        """Close once everything written was sent."""
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        """Reset: the client must see that the answer is not whole, even where only the connection's end ends it."""
        self._unsent = b""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.lost:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def close_if_idle(self) -> None:
        """For drain: a connection between requests ends; another one ends with its answer.

        One that has only just come gets a moment: its first request is on its way, and will be answered.
        """
        if self.current is None and not self.queue and not self.reader.in_head and self._linger_left < 0:
            settled = self._since + _FIRST_REQUEST_SECONDS
            if self._request_deadline == NEVER and self.clock() < settled:
                self.deadline = settled
            else:
                self.close()

    # ---- deadlines

    def set_deadline(self) -> None:
        """Put the deadline where the connection's state has it; to be called when that changes."""
        self._set_deadline(self.clock())

    def _set_deadline(self, now: float) -> None:
        x = self.current
        if self._tunnel is not None or self._linger_left >= 0:
            return
        if x is None:
            waiting = self.limits.header if self.reader.in_head else self.limits.idle
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
        elif self.reader.in_head:
            self.reader.refuse(ClientTimeout())
        else:
            self.close()
