"""The service behind the gateway: says back what it got, holds answers when told to, and tunnels."""

from __future__ import annotations

import asyncio

from tests.support.origin import Peer
from tests.support.wire import read_content, read_head

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def echo(peer: Peer) -> None:
    """Answers "METHOD TARGET BODY"; after an upgrade, the same bytes. Records nothing: it answers many thousands."""
    while (head := await read_head(peer.reader)) is not None:
        if head.value("upgrade"):
            await peer.send(SWITCH)
            while data := await peer.reader.read(65536):
                await peer.send(data)
            return
        content = await read_content(peer.reader, head)
        body = head.start.rpartition(b" ")[0] + b" " + content.body
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class Holding:
    """Echoes, but answers GET /held only once `release` is set; `arrived` is set when such a request is there."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.release = asyncio.Event()

    async def script(self, peer: Peer) -> None:
        while (head := await read_head(peer.reader)) is not None:
            content = await read_content(peer.reader, head)
            if head.start.startswith(b"GET /held "):
                self.arrived.set()
                await self.release.wait()
            body = head.start.rpartition(b" ")[0] + b" " + content.body
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
