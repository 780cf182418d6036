"""The listening socket and what its connections share: limits, deadlines, counts per address, drain."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from dataplane.announced import AnnouncedConnection
from dataplane.http1.deadlines import Deadlines
from dataplane.http1.downstream import DownstreamConnection
from dataplane.http1.outbox import Outbox
from dataplane.newcomers import hold_off, waiting
from dataplane.runtime import ConnectionLimits
from shared import log

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.upgrade import Tunnel

_BACKLOG = 2048
_QUIET_SECONDS = 10.0  # between two lines of one reason
_LAST_TURNS = 3  # of the event loop, until what was accepted last is among the connections


class Listener:
    """One worker's traffic port. `limits` is swapped with each configuration and read by new connections."""

    def __init__(
        self,
        handle: Callable[[Exchange], Coroutine[Any, Any, None]],
        deadlines: Deadlines,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.loop = loop
        self.clock = time.monotonic
        self.deadlines = deadlines
        self.limits = ConnectionLimits()
        self.outbox = Outbox(loop)
        self.scheme = b"http"
        self.draining = False  # every answer ends its connection
        self.ending = False  # and so does every end of an exchange
        self.refused = 0
        self.may_accept: Callable[[], bool] = lambda: True
        self.connections: set[DownstreamConnection] = set()
        self.expected: set[AnnouncedConnection] = set()  # until a proxy has said whose they are
        self.unannounced: dict[str, int] = {}  # those that ended before, by reason
        self.tunnels: set[Tunnel] = set()
        self._by_ip: dict[str, int] = {}
        self.handle = handle
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None  # where it begins behind a PROXY header
        self._tls_first = False
        self._quiet_until: dict[str, float] = {}
        self._empty = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Listener {self.port} {len(self.connections)} connections{' draining' if self.draining else ''}>"

    # ---- the socket

    async def open(self, host: str, port: int, *, shared: bool, tls: ssl.SSLContext | None) -> None:
        """Listen; raises OSError where the address cannot be had. `shared`: other workers listen on it too."""
        self.scheme = b"https" if tls is not None else b"http"
        sock = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=_BACKLOG,
            reuse_port=shared,
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
        self._socket = sock
        # A server that speaks TLS begins with the handshake: behind a PROXY header the connection has to begin it.
        self._tls_first = tls is not None and self.limits.announced_by is None
        self._tls = None if self._tls_first else tls
        self._server = await self.loop.create_server(
            self._accepted,
            sock=sock,
            ssl=tls if self._tls_first else None,
            backlog=_BACKLOG,
            ssl_handshake_timeout=self.limits.header if self._tls_first else None,
        )

    def _accepted(self) -> asyncio.Protocol:
        if self.limits.announced_by is None and self._tls is None:
            return DownstreamConnection(self)
        return AnnouncedConnection(self, self._tls)

    def obey(self, limits: ConnectionLimits) -> None:
        """New connections are held to these from now on."""
        self.limits = limits
        if self._tls_first and limits.announced_by is not None:
            log.warn("listener.restart_needed", reason="with TLS, proxy.proxyProtocol is switched on by a restart only")

    @property
    def port(self) -> int:
        """The port that is listened on; 0 when closed."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    async def close(self, *, last_call: float = 0.0) -> None:
        """Accept no more; open connections go on.

        Closing resets what waits to be accepted. So newcomers are held off first, and what is in the queue is taken in;
        `last_call`: seconds for handshakes that are under way.
        """
        server, self._server = self._server, None
        if server is None or self._socket is None:
            return
        hold_off(self._socket)
        await asyncio.sleep(last_call)
        for _ in range(_BACKLOG):  # the loop accepts one with each turn
            if not waiting(self._socket):
                break
            await asyncio.sleep(0)
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0)
        self._socket = None  # the server closes it
        server.close()

    def drop(self) -> None:
        """Accept no more and end what is open, at once. It can be opened anew."""
        server, self._server, self._socket = self._server, None, None
        if server is not None:
            server.close()
        self.abort_all()

    async def emptied(self) -> None:
        """Wait until no connection is open."""
        while self.connections or self.expected:
            self._empty.clear()
            await self._empty.wait()

    # ---- what connections ask

    def expect(self, connection: AnnouncedConnection) -> bool:
        """Take in a connection that nobody has announced yet; False where it would be one too many."""
        if len(self.connections) + len(self.expected) >= self.limits.max_connections or not self.may_accept():
            self.refused += 1
            return False
        self.expected.add(connection)
        self.deadlines.add(connection)
        return True

    def forget(self, connection: AnnouncedConnection) -> None:
        """It was announced, or has ended."""
        self.expected.discard(connection)
        self.deadlines.discard(connection)
        if not self.expected:
            self._empty.set()

    def not_announced(self, reason: str, peer: str, detail: str) -> None:
        """Count a connection that is closed for want of a PROXY header, and tell of it now and then."""
        self.unannounced[reason] = count = self.unannounced.get(reason, 0) + 1
        now = self.clock()
        if now >= self._quiet_until.get(reason, 0.0):
            self._quiet_until[reason] = now + _QUIET_SECONDS
            log.warn("connection.unannounced", reason=reason, peer=peer, detail=detail, count=count)

    def admit(self, connection: DownstreamConnection) -> bool:
        """Count a new connection in; False where it would be one too many."""
        limits, ip = self.limits, connection.ip
        per_ip = limits.max_connections_per_ip
        full = len(self.connections) >= limits.max_connections or (per_ip and self._by_ip.get(ip, 0) >= per_ip)
        if full or not self.may_accept():
            self.refused += 1
            return False
        self._by_ip[ip] = self._by_ip.get(ip, 0) + 1
        self.connections.add(connection)
        self.deadlines.add(connection)
        return True

    def leave(self, connection: DownstreamConnection) -> None:
        """Count a connection out; one that was never admitted does not count."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.deadlines.discard(connection)
        if not self.connections:
            self._empty.set()
        left = self._by_ip[connection.ip] - 1
        if left:
            self._by_ip[connection.ip] = left
        else:
            del self._by_ip[connection.ip]

    # ---- drain

    def start_draining(self) -> None:
        """From here on every answer ends its connection."""
        self.draining = True

    def close_idle(self) -> None:
        """End the connections that are between two requests, and from here on each that comes to be."""
        self.ending = True
        for connection in list(self.connections):
            connection.close_if_idle()
        for expected in self.expected:
            expected.hurry()

    def abort_all(self) -> None:
        """End everything at once: the drain has taken too long."""
        for connection in list(self.connections):
            connection.abort()
        for expected in list(self.expected):
            expected.abort()
