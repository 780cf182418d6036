"""Tunnels: after a 101 both connections carry bytes that are no longer ours to read (RFC 9110 7.8).

Bytes go from transport to transport in the callbacks, each side holding the other when it cannot keep up. A tunnel
belongs to its exchange: it lives through configuration changes and ends with either side, with silence, or with drain.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from dataplane.http1.deadlines import NEVER

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.downstream import DownstreamConnection
    from dataplane.http1.upstream import UpstreamConnection

    Side: TypeAlias = DownstreamConnection | UpstreamConnection


async def tunnel(x: Exchange, upstream: UpstreamConnection) -> None:
    """Carry bytes both ways until the tunnel ends; the head of the 101 is written already."""
    if x.shedding is not None:
        x.shedding.go(x)  # it may stay for days, and costs little: it keeps no place among the requests in flight
    running = Tunnel(x, upstream)
    running.start()
    try:
        await running.closed
    finally:
        running.close()
        x.close = True


class Tunnel:
    """Two connections joined; each calls in with itself as `side`."""

    def __init__(self, x: Exchange, up: UpstreamConnection) -> None:
        self._x = x
        self._down = x.connection
        self._up = up
        self._idle = up.idle_seconds
        self._ended: set[Side] = set()
        self.closed: asyncio.Future[None] = self._down.listener.loop.create_future()

    def __repr__(self) -> str:
        return f"<Tunnel {self._down.ip} to {self._up.pool.address}>"

    def start(self) -> None:
        self._down.listener.tunnels.add(self)
        from_up = self._up.start_tunnel(self)
        from_down = self._down.start_tunnel(self)
        if from_up:
            self.feed(self._up, from_up)
        if from_down:
            self.feed(self._down, from_down)
        self._touch()

    def _other(self, side: Side) -> Side:
        return self._up if side is self._down else self._down

    def _touch(self) -> None:
        self._down.deadline = self._down.listener.clock() + self._idle if self._idle else NEVER

    def feed(self, side: Side, data: bytes) -> None:
        if side is self._up:
            self._x.response_bytes += len(data)
        else:
            self._x.tunnel_bytes += len(data)
        self._other(side).transport.write(data)
        self._touch()

    def hold(self, side: Side) -> None:
        """`side` cannot be written to for now: do not read from the other."""
        other = self._other(side)
        if not other.lost:
            other.transport.pause_reading()

    def release(self, side: Side) -> None:
        other = self._other(side)
        if not other.lost:
            other.transport.resume_reading()

    def ended(self, side: Side) -> bool:
        """`side` will send nothing more: pass it on. True keeps the other direction open."""
        self._ended.add(side)
        transport = self._other(side).transport
        if len(self._ended) == 2 or not transport.can_write_eof():
            self.close()
            return False
        transport.write_eof()
        return True

    def lost(self, side: Side) -> None:
        self.close()

    def expired(self) -> None:
        self.close()

    def close(self) -> None:
        """End both sides, sending what is still buffered."""
        self._down.listener.tunnels.discard(self)
        for side in (self._down, self._up):
            if not side.lost:
                side.transport.close()
        if not self.closed.done():
            self.closed.set_result(None)
