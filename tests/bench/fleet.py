"""The other end of tests/bench/nodes.py: starts the simulated nodes, tells them what to do, hears how it went."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.invalid import InvalidRunError


@dataclass(frozen=True, slots=True)
class Heard:
    """`seconds` until the last node had its answer; configuration `bytes` to all nodes; messages by kind."""

    seconds: float
    bytes: int
    messages: Mapping[str, int]


class Fleet:
    """Simulated nodes of one control plane."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen

    def connect(self, nodes: int, held: Mapping[str, Any] | None = None) -> Heard:
        """Connect so many at once; `held`: {revision, digest, epoch} that each of them says it holds."""
        return self._ask({"do": "connect", "nodes": nodes, "held": held})

    def again(self) -> Heard:
        """All streams break, and all nodes connect anew at once, without the pause that real ones make."""
        return self._ask({"do": "again"})

    def drop(self) -> None:
        """End every stream."""
        self._ask({"do": "drop"})

    def counted(self) -> Heard:
        """What came since the last time that anything was asked."""
        return self._ask({"do": "count"})

    def _ask(self, command: Mapping[str, Any]) -> Heard:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(command) + "\n")
        self._popen.stdin.flush()
        line = self._popen.stdout.readline()
        if not line:
            raise InvalidRunError("the simulated nodes ended; their output tells why")
        answer = json.loads(line)
        return Heard(answer.get("seconds", 0.0), answer.get("bytes", 0), answer.get("messages", {}))


@contextmanager
def fleet(grpc_port: int, log: Path) -> Iterator[Fleet]:
    """Simulated nodes for a control plane on this port; ended after the block."""
    command = [sys.executable, "-m", "tests.bench.nodes", f"127.0.0.1:{grpc_port}"]
    with log.open("ab") as errors:
        popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield Fleet(popen)
    finally:
        popen.kill()
        popen.communicate()
