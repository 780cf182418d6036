"""A connection that a proxy announces: the PROXY header first, then TLS where the listener has it, then HTTP.

It stands before `DownstreamConnection` only while `proxy.proxyProtocol` is on. Bytes that came behind the header are
handed on: to HTTP, or to TLS, whose handshake begins only here.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, cast

from dataplane.headers import is_in
from dataplane.http1.deadlines import NEVER
from dataplane.http1.downstream import DownstreamConnection, address_of
from dataplane.proxy_protocol import Header, Malformed, read

if TYPE_CHECKING:
    from dataplane.listener import Listener

_LAST_SECONDS: Final = 1.0
"""For the header of a connection that has only just come, when the gateway is about to end."""


class AnnouncedConnection(asyncio.Protocol):
    """Reads the header, then puts a DownstreamConnection in its own place, or closes and says why."""

    def __init__(self, listener: Listener, tls: ssl.SSLContext | None) -> None:
        self._listener = listener
        self._tls = tls
        self._trusted = listener.limits.announced_by
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._received = b""
        self._header: Header | None = None
        self._secured: asyncio.Task[None] | None = None
        self.deadline = NEVER

    def __repr__(self) -> str:
        return f"<AnnouncedConnection {self._header or 'unannounced'}{' TLS' if self._secured else ''}>"

    # ---- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._listener.expect(self):
            self._transport.abort()
            return
        self.deadline = self._listener.clock() + self._listener.limits.header
        if self._trusted and not is_in(address_of(transport, "peername")[0], self._trusted):
            self._refuse("untrusted")

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._header is not None:  # behind TLS already
            return
        try:
            # Switched off since the port was opened: TLS is still ours to begin.
            header = read(self._received) if self._trusted is not None else Header(0)
        except Malformed as error:
            self._refuse("malformed", str(error))
            return
        if header is not None:
            self._take(header)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._header is None and self._received:
            self._refuse("incomplete")
        self._listener.forget(self)

    def expired(self, now: float) -> None:
        if self._header is None and self._received:
            self._refuse("timeout")
        self.abort()

    # ---- drain

    def hurry(self) -> None:
        """The gateway is about to end: the header is waited for a moment longer."""
        self.deadline = min(self.deadline, self._listener.clock() + _LAST_SECONDS)

    def abort(self) -> None:
        self._transport.abort()

    # ---- what becomes of it

    def _refuse(self, reason: str, detail: str = "") -> None:
        self._received = b""
        self._listener.not_announced(reason, address_of(self._transport, "peername")[0], detail)
        self._transport.abort()

    def _take(self, header: Header) -> None:
        self._header = header
        rest, self._received = self._received[header.size :], b""
        if self._tls is None:
            self._hand_over(self._transport, rest)
        else:
            self._transport.pause_reading()
            self._secured = self._listener.loop.create_task(self._secure(self._tls, rest), name="tls")

    def _hand_over(self, transport: asyncio.Transport, received: bytes) -> None:
        header = cast(Header, self._header)
        self.deadline = NEVER
        self._listener.forget(self)
        if transport.is_closing():
            return
        connection = DownstreamConnection(self._listener)
        connection.ip, connection.port = header.ip, header.port
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if received and not transport.is_closing():
            connection.data_received(received)
        if self._listener.ending and not connection.lost:
            connection.close_if_idle()

    async def _secure(self, tls: ssl.SSLContext, hello: bytes) -> None:
        """Shake hands. What the client sent behind the header is given to TLS before anything that is read now."""
        loop, seconds = self._listener.loop, self._listener.limits.header
        self.deadline = NEVER  # TLS has one of its own
        starting = loop.create_task(
            loop.start_tls(self._transport, self, tls, server_side=True, ssl_handshake_timeout=seconds)
        )
        # The first turn puts TLS in our place and has it begin with the second; then it is fed, and then it reads.
        await asyncio.sleep(0)
        loop.call_soon(self._feed, hello)
        try:
            secured = await starting
        except OSError:  # ssl.SSLError and TimeoutError are
            self._listener.forget(self)
            self.abort()
            return
        if secured is not None:
            self._hand_over(secured, self._received)

    def _feed(self, data: bytes) -> None:
        protocol = cast(asyncio.BufferedProtocol, self._transport.get_protocol())
        while data and not self._transport.is_closing():
            buffer = memoryview(protocol.get_buffer(len(data)))
            taken = min(len(buffer), len(data))
            buffer[:taken] = data[:taken]
            protocol.buffer_updated(taken)
            data = data[taken:]
