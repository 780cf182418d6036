"""The end of a listening socket: whoever got in is served, and whoever comes too late is refused, never cut off."""

from __future__ import annotations

import asyncio
import errno
import select
import socket

from dataplane.newcomers import hold_off, waiting
from tests.support.client import connected, get
from tests.support.deadline import DEADLINE, eventually
from tests.support.gateway import document, running_gateway
from tests.support.origin import echo, serving


def test_those_who_got_in_are_kept_and_nobody_follows() -> None:
    """A connection that waits can still be accepted; one that begins after is refused once the socket is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as early, socket.socket() as late:
        address = listening.getsockname()
        early.connect(address)
        hold_off(listening)
        late.setblocking(False)
        assert late.connect_ex(address) != 0
        assert waiting(listening)
        accepted, _ = listening.accept()
        with accepted:
            early.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
        assert not waiting(listening)
        listening.close()
        poller = select.poll()
        poller.register(late, select.POLLOUT)
        assert poller.poll(DEADLINE * 1000)
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


async def test_a_connection_that_has_just_come_is_served() -> None:
    """Accepted before the drain, with its request sent after it began: a whole answer, which is the last."""
    async with (
        serving(echo) as origin,
        running_gateway(document(origin.url, proxy={"drainTimeout": 5000})) as gateway,
        connected(gateway.port) as client,
    ):
        stopping = asyncio.create_task(gateway.plane.stop())
        await eventually(lambda: asyncio.sleep(0, gateway.port), lambda port: port == 0)
        answer = await client.ask(get("/first"))
        assert (answer.status, answer.value("connection")) == (200, "close")
        await stopping
