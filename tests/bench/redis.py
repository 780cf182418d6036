"""The Redis of the case about shared limits: one that keeps nothing on disk, and tells how often it was called."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from shutil import which

from tests.bench.invalid import InvalidRunError
from tests.bench.process import Process

_READY_SECONDS = 10.0
_PAUSE = 0.02


class Redis:
    """A Redis that answers."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def scripts(self) -> int:
        """How many calls of scripts it has served."""
        found = re.search(rb"cmdstat_evalsha:calls=(\d+)", _ask(self.port, b"INFO commandstats\r\n"))
        return int(found[1]) if found else 0


def command(directory: Path, port: int) -> list[str]:
    """The command that runs it; InvalidRunError where there is none."""
    if which("redis-server") is None:
        raise InvalidRunError("redis-server not found; on Debian and Ubuntu: apt-get install redis-server")
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    return [*words, "--save", "", "--appendonly", "no"]


def ready(process: Process, port: int) -> Redis:
    """Wait until it answers; InvalidRunError where it ends, or never does."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.alive:
        try:
            if _ask(port, b"PING\r\n") == b"+PONG\r\n":
                return Redis(port)
        except OSError:
            time.sleep(_PAUSE)
    raise InvalidRunError(f"redis is not ready:\n{process.tail()}")


def _ask(port: int, line: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=_READY_SECONDS) as connection:
        connection.sendall(line)
        answer = connection.recv(1 << 16)
        if answer[:1] == b"$":
            length = int(answer[1 : answer.index(b"\r\n")])
            while len(answer) < length:
                answer += connection.recv(1 << 16)
        return answer
