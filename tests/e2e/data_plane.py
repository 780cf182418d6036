"""A data-plane process that follows a control plane, one worker or several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.process import Process, running
from tests.support.client import Response, ask, get
from tests.support.deadline import eventually


class DataPlane:
    """A running one and how to reach it: `port` for traffic; `admin_ports` of its workers, in the order they came."""

    def __init__(self, process: Process, listening: list[dict[str, Any]]) -> None:
        self.process = process
        self.port: int = listening[0]["port"]
        self.admin_ports: list[int] = [record["adminPort"] for record in listening]
        self.nodes: list[str] = [record["node"] for record in listening]

    async def ask(self, path: str) -> Response:
        """One request to the traffic port on a connection of its own."""
        return await ask(self.port, get(path))

    async def admin(self, path: str, worker: int = 0) -> Response:
        return await ask(self.admin_ports[worker], get(path, "Connection: close"))

    async def serves(self, revision: int) -> None:
        """Wait until it serves this very revision."""
        await self.process.event("config.applied", revision=revision)

    async def shares_limits_with(self, nodes: int, worker: int = 0) -> None:
        """Wait until it knows how many nodes there are, itself included: each grants its share of a limit."""
        await eventually(
            lambda: self.admin("/health/deep", worker), lambda deep: deep.json["config"]["liveNodes"] == nodes
        )

    def rss_peak(self) -> int:
        """The most bytes of memory that the process ever had resident."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        [kilobytes] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(kilobytes) * 1024


@asynccontextmanager
async def data_plane(
    address: str, directory: Path, name: str, *flags: str, workers: int = 1
) -> AsyncIterator[DataPlane]:
    """Follows the control plane at that address, as a node of that name; killed at the end unless it ended itself."""
    argv: list[str | Path] = ["--control-plane", address, "--cache-dir", directory / f"cache-{name}", "--node-id", name]
    argv += ["--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--trust-after", "0", *flags]
    argv += ["--workers", str(workers)] if workers > 1 else []
    async with running("dataplane", *argv) as process:
        listening = [await process.event("listening", nth=number + 1) for number in range(workers)]
        yield DataPlane(process, listening)
