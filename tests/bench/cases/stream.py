"""One body far larger than any buffer, down and up, while the reader stalls: a proxy must make the sender wait.

Streaming alone would not show it: where all are equally fast, nothing piles up even without backpressure.
"""

from __future__ import annotations

import asyncio

from tests.bench import procfs, stream_origin
from tests.bench.outcome import Figure, Outcome, Row, at_most
from tests.bench.sample import MEGABYTE
from tests.bench.stage import Proxy, Stage
from tests.bench.stream_client import Streamed, download, upload

FLAT_MEGABYTES = 8
"""Growth that still counts as flat: buffers of one connection, allocated for the first time."""


def run(stage: Stage) -> Outcome:
    """All contestants, one body each way."""
    stage.bring_origin(stream_origin.__name__)
    rows, figures = [], []
    for proxy in stage.everyone():
        for direction, streamed in asyncio.run(_both_ways(proxy, stage.options.stream_bytes)).items():
            growth = streamed.growth / MEGABYTE
            cells = {
                "MB/s": streamed.bytes_per_second / MEGABYTE,
                "RSS before": streamed.rss_before / MEGABYTE,
                "RSS most": streamed.rss_most / MEGABYTE,
                "growth MB": growth,
            }
            rows.append(Row(f"{proxy.name} {direction}", cells))
            if proxy.name == "flexgate":
                figures.append(Figure(f"growth of flexgate, {direction}", growth, "MB", at_most(FLAT_MEGABYTES)))
    return Outcome(rows, figures, [f"{stage.options.stream_bytes >> 20} MiB each way"])


async def _both_ways(proxy: Proxy, size: int) -> dict[str, Streamed]:
    def rss() -> int:
        return procfs.usage(proxy.process.pid).rss_bytes

    return {"down": await download(proxy.port, size, rss), "up": await upload(proxy.port, size, rss)}
