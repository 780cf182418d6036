"""The stage of one case: an origin, the contestants in front of it, and an end that leaves no process and no file."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.bench import flexgate, gateways, nginx, origin, redis
from tests.bench.cores import Cores, pinned
from tests.bench.load import Load
from tests.bench.options import Options
from tests.bench.origin import SMALL
from tests.bench.probe import free_port, wait_ready
from tests.bench.process import Process
from tests.bench.redis import Redis

_READY_SECONDS = 120.0
_USUAL = Load(SMALL)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A contestant that runs: its name in the tables, its traffic port, the seconds it took to be ready."""

    name: str
    process: Process
    port: int
    boot_seconds: float


class Stage:
    """Starts what a case needs; leaving it ends everything, the last started first."""

    def __init__(self, options: Options, cores: Cores) -> None:
        self.options = options
        self.cores = cores
        self._exit = ExitStack()
        self._origin_port = 0

    def __enter__(self) -> Stage:
        self.directory = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="flexgate-bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    @property
    def origin_port(self) -> int:
        """The port behind every contestant; nginx's unless the case brought its own origin."""
        if not self._origin_port:
            port = free_port()
            self._run("origin", origin.command(self.directory / "origin", port), port, SMALL)
            self._origin_port = port
        return self._origin_port

    def bring_origin(self, module: str) -> None:
        """Use a Python module (run with its port as the argument) as the origin; before any contestant is started."""
        port = free_port()
        self._run("origin", [sys.executable, "-m", module, str(port)], port, SMALL)
        self._origin_port = port

    def everyone(self) -> list[Proxy]:
        """Start all contestants, FlexGate with its usual table; FlexGate is the last."""
        return [self.nginx(), self.textbook(), self.flexgate()]

    def nginx(self) -> Proxy:
        """Start bare nginx."""
        port = free_port()
        return self._compete(
            "nginx", nginx.command(self.directory / "nginx", nginx.proxy(port, self.origin_port)), port
        )

    def textbook(self) -> Proxy:
        """Start the textbook aiohttp proxy."""
        port = free_port()
        return self._compete(
            "textbook", [sys.executable, "-m", "tests.bench.textbook", str(port), str(self.origin_port)], port
        )

    def flexgate(
        self,
        routes: int = flexgate.ROUTES,
        name: str = "flexgate",
        *,
        interpreted: bool = False,
        limits: dict[str, Any] | None = None,
        auth: dict[str, Any] | None = None,
        load: Load = _USUAL,
        kept: bool = False,
    ) -> Proxy:
        """Start a FlexGate data plane with a table of that many routes; `limits` adds to its section `rateLimit`.

        `auth` is its `security.auth`, and `load` what such clients send. `kept`: it boots from its last-known-good
        configuration, without a control plane.
        """
        port, admin_port = free_port(), free_port()
        directory = self.directory / name
        command = flexgate.command(
            directory,
            port,
            admin_port,
            routes,
            self.origin_port,
            interpreted=interpreted,
            limits=limits,
            auth=auth,
            kept=kept,
        )
        proxy = self._compete(name, command, port, admin_port, "/health/ready")
        flexgate.prove_policies(port, load)
        return proxy

    def gateway(self, name: str, routes: int) -> Proxy | None:
        """Start another gateway with FlexGate's work and that many routes; None: it is not installed."""
        program = gateways.program(name)
        if program is None:
            return None
        port = free_port()
        command = gateways.GATEWAYS[name].command(
            program, self.directory / f"{name}-{routes}", port, self.origin_port, routes
        )
        proxy = self._compete(name, command, port)
        gateways.prove_keys(name, port, Load(SMALL))
        return proxy

    def redis(self) -> Redis:
        """Start a Redis on the cores of the load."""
        port = free_port()
        process = Process("redis", redis.command(self.directory, port), self.directory / "redis.log")
        self._exit.callback(process.stop)
        return redis.ready(process, port)

    def _compete(
        self, name: str, command: Sequence[str], port: int, ready_port: int | None = None, ready_path: str = SMALL
    ) -> Proxy:
        """Start a contestant on the proxy's core, and wait until it is ready."""
        process, seconds = self._run(name, pinned(command, self.cores.proxy), ready_port or port, ready_path)
        return Proxy(name, process, port, seconds)

    def _run(self, name: str, command: Sequence[str], ready_port: int, ready_path: str) -> tuple[Process, float]:
        process = Process(name, command, self.directory / f"{name}.log")
        self._exit.callback(process.stop)
        return process, wait_ready(process, ready_port, ready_path, _READY_SECONDS)
