"""A control plane on the core of the one that is measured, over a database, and its REST API on one kept connection."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.cores import Cores, pinned
from tests.bench.invalid import InvalidRunError
from tests.bench.probe import free_port, wait_ready
from tests.bench.process import Process

TOKEN = "the token of the benchmark"
READY_SECONDS = 60.0
TIMEOUT = 120.0


class ControlPlane:
    """One that runs."""

    def __init__(self, process: Process, port: int, grpc_port: int) -> None:
        self.process = process
        self.port = port
        self.grpc_port = grpc_port
        self._connection = self.connection()

    def connection(self) -> http.client.HTTPConnection:
        """Another connection to its REST API, as each writer has one."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        connection: http.client.HTTPConnection | None = None,
        wait: int = 0,
    ) -> Any:
        """The JSON that it answers; text is sent as a document. InvalidRunError where it refuses."""
        content = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        kind = "application/yaml" if isinstance(body, str) else "application/json"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        headers |= {"Prefer": f"wait={wait}"} if wait else {}
        used = connection or self._connection
        used.request(method, path, content, headers)
        response = used.getresponse()
        text = response.read()
        if response.status >= 300:
            raise InvalidRunError(f"{method} {path} answered {response.status}: {text[:300]!r}")
        return json.loads(text) if text else None


@contextmanager
def control_plane(directory: Path, cores: Cores, database: str = "") -> Iterator[ControlPlane]:
    """A control plane over a database (default: SQLite in the directory); ended after the block."""
    port, grpc_port = free_port(), free_port()
    command = [sys.executable, "-m", "controlplane", "--port", str(port), "--grpc-port", str(grpc_port)]
    command += ["--state-dir", str(directory / "state"), "--api-rate-limit", "0", "--log-level", "warn"]
    command += ["--database", database] if database else []
    os.environ["FLEXGATE_ADMIN_TOKEN"] = TOKEN
    process = Process("control plane", pinned(command, cores.proxy), directory / "control-plane.log")
    try:
        wait_ready(process, port, "/health/ready", READY_SECONDS)
        yield ControlPlane(process, port, grpc_port)
    finally:
        process.stop()


def document(routes: int) -> str:
    """A configuration with that many routes, as JSON, which is YAML too: a limit and a key on each, ten upstreams."""
    upstreams = [{"name": f"u{number}", "url": f"http://u{number}.internal:8080"} for number in range(10)]
    limit = {"max": 100, "windowMs": 60_000}
    table = [
        {
            "name": f"r{number}",
            "path": f"/service-{number}/*",
            "upstream": f"u{number % 10}",
            "auth": "required",
            "rateLimit": limit,
        }
        for number in range(routes)
    ]
    keys = {"auth": {"type": "apiKey", "keys": [{"key": "0" * 64, "name": "bench"}]}}
    return json.dumps({"security": keys, "upstreams": upstreams, "routes": table})
