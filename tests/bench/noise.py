"""A noisy client: so many requests a second to one path, whatever becomes of them. Prints what it was answered.

wrk sends as fast as answers come; what matters here is a rate. Requests are spread over time as those of many callers
are, and this process gives way to the load on its core: what holds that up would be taken for the gateway's doing.
Run as: python -m tests.bench.noise PORT PATH RATE SECONDS
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from typing import cast

import uvloop

from tests.bench.load import KEY, KEY_HEADER

_CONNECTIONS = 16
_TICK_SECONDS = 0.001
_LAST_ANSWERS_SECONDS = 10.0


class _Client(asyncio.Protocol):
    """One connection; counts answers by status as their heads come in."""

    def __init__(self, counts: dict[str, int], heard: asyncio.Event) -> None:
        self.counts = counts
        self.heard = heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for part in data.split(b"HTTP/1.1 ")[1:]:
            status = part[:3].decode("latin-1")
            self.counts[status] = self.counts.get(status, 0) + 1
        self.heard.set()


async def make_noise(port: int, path: str, rate: float, seconds: float) -> dict[str, int]:
    """Send, wait for the last answers, and count them by status; the key "sent" counts the requests."""
    loop = asyncio.get_running_loop()
    counts: dict[str, int] = {"sent": 0}
    heard = asyncio.Event()
    clients = [
        (await loop.create_connection(lambda: _Client(counts, heard), "127.0.0.1", port))[1]
        for _ in range(_CONNECTIONS)
    ]
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{KEY_HEADER}: {KEY}\r\n\r\n".encode()
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        while counts["sent"] < rate * passed:
            clients[counts["sent"] % _CONNECTIONS].transport.write(request)
            counts["sent"] += 1
        await asyncio.sleep(_TICK_SECONDS)
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_ANSWERS_SECONDS):
            while sum(counts.values()) < 2 * counts["sent"]:  # the requests, and as many answers
                heard.clear()
                await heard.wait()
    for client in clients:
        client.transport.close()
    return counts


if __name__ == "__main__":
    _, given_port, given_path, given_rate, given_seconds = sys.argv
    os.nice(10)  # see above
    noise = make_noise(int(given_port), given_path, float(given_rate), float(given_seconds))
    print(json.dumps(uvloop.run(noise)), flush=True)
