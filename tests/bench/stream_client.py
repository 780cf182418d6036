"""A client for one long body, down or up, that watches the memory of a process meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.bench.invalid import InvalidRunError
from tests.bench.load import KEY, KEY_HEADER
from tests.bench.stream_origin import CHUNK, DOWN, STALL_SECONDS, UP

_SAMPLE_SECONDS = 0.05
_DEADLINE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Streamed:
    """One body that went through: its speed without the stall, and the memory before and at most, in bytes."""

    bytes_per_second: float
    rss_before: int
    rss_most: int

    @property
    def growth(self) -> int:
        """How far the memory rose above where it was, in bytes."""
        return self.rss_most - self.rss_before


async def download(port: int, size: int, rss: Callable[[], int], stall: float = STALL_SECONDS) -> Streamed:
    """Fetch `size` bytes, and stop reading for a while after the first quarter."""

    async def transfer(session: ClientSession) -> int:
        received = 0
        async with session.get(f"http://127.0.0.1:{port}{DOWN}/{size}") as response:
            response.raise_for_status()
            async for chunk in response.content.iter_any():
                if received < size // 4 <= received + len(chunk):
                    await asyncio.sleep(stall)
                received += len(chunk)
        return received

    return await _measured(transfer, size, rss, stall)


async def upload(port: int, size: int, rss: Callable[[], int], stall: float = STALL_SECONDS) -> Streamed:
    """Send `size` bytes; the origin does the stalling (`stall` seconds) and tells how many arrived."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size // len(CHUNK)):
            yield CHUNK

    async def transfer(session: ClientSession) -> int:
        headers = {"Content-Length": str(size)}
        async with session.post(f"http://127.0.0.1:{port}{UP}", data=body(), headers=headers) as response:
            response.raise_for_status()
            return int((await response.json())["received"])

    return await _measured(transfer, size, rss, stall)


async def _measured(
    transfer: Callable[[ClientSession], Awaitable[int]], size: int, rss: Callable[[], int], stall: float
) -> Streamed:
    before = rss()
    seen = [before]
    watch = asyncio.create_task(_watch(rss, seen))
    started = time.monotonic()
    timeout = ClientTimeout(total=_DEADLINE_SECONDS)
    try:
        async with ClientSession(headers={KEY_HEADER: KEY}, timeout=timeout) as session:
            moved = await transfer(session)
    except (ClientError, TimeoutError) as error:
        raise InvalidRunError(f"the stream broke: {error!r}") from error
    finally:
        watch.cancel()
    seconds = time.monotonic() - started
    if moved != size:
        raise InvalidRunError(f"{moved} of {size} bytes went through")
    seen.append(rss())
    return Streamed(size / (seconds - stall), before, max(seen))


async def _watch(rss: Callable[[], int], seen: list[int]) -> None:
    while True:
        seen.append(rss())
        await asyncio.sleep(_SAMPLE_SECONDS)
