"""Bodies far larger than any buffer, both ways: memory stays flat, also where one side is slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import data_plane
from tests.support.client import connected, get
from tests.support.deadline import Bell
from tests.support.origin import Peer, serving
from tests.support.wire import read_head

pytestmark = pytest.mark.long
MIB = 1024 * 1024
SIZE = 1024 * MIB
BLOCK = bytes(range(256)) * (MIB // 256)
MOST_GROWTH = 16 * MIB
"""Above what the process had at its most before: buffers of both sides, the allocator's slack."""
SMALL = 64 * 1024
"""What the kernel takes in for a side that does not read; so backpressure begins early."""


class Archive:
    """Takes uploads, counting and comparing what comes, and gives SIZE bytes to downloads."""

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0
        self.broken = False
        self.bell = Bell()

    async def script(self, peer: Peer) -> None:
        while (head := await read_head(peer.reader)) is not None:
            await (self._take(peer) if head.start.startswith(b"PUT ") else self._give(peer))

    async def _take(self, peer: Peer) -> None:
        for _ in range(SIZE // MIB):
            self.broken |= await peer.reader.readexactly(MIB) != BLOCK
            self.received += MIB
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def _give(self, peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // MIB):
            await peer.send(BLOCK)
            self.sent += MIB
            self.bell.ring()


async def test_memory_stays_flat(tmp_path: Path) -> None:
    """1 GiB up, then 1 GiB down to a client that at first reads nothing; every byte arrives."""
    archive = Archive()
    async with serving(archive.script) as origin:
        text = configured(origin.url, routes=[{"path": "/archive", "maxBodySize": SIZE}])
        async with (
            control_plane(tmp_path, text) as control,
            data_plane(control.address, tmp_path, "a") as plane,
        ):
            await control.until_current(nodes=1)
            before = plane.rss_peak()
            async with connected(plane.port) as client:
                await client.send(get("/archive", f"Content-Length: {SIZE}", method="PUT"))
                for _ in range(SIZE // MIB):
                    await client.send(BLOCK)
                assert (await client.response("PUT")).status == 200
            assert (archive.received, archive.broken) == (SIZE, False)
            assert plane.rss_peak() - before < MOST_GROWTH

            async with connected(plane.port, receive_buffer=SMALL) as client:
                await client.send(get("/archive"))
                await archive.bell.until(lambda: archive.sent >= MIB, "the first MiB to leave the origin")
                assert (await client.head()).value("content-length") == str(SIZE)
                for _ in range(SIZE // MIB):
                    assert await client.exactly(MIB) == BLOCK
            assert plane.rss_peak() - before < MOST_GROWTH
