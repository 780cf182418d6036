"""A real PostgreSQL under the test's control: of the Debian package, in a directory of its own, on a free port.

It refuses to run as root, so it runs as the user `postgres` where the tests do. Nothing of it is synced to disk: tests
kill processes, not the machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import asyncpg

from tests.support.servers import free_port, needed

USER = "postgres"
SETTINGS = (
    *("listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off"),
    *("max_connections=60", "shared_buffers=16MB", "unix_socket_directories="),
)
_numbers = count(1)


class Postgres:
    """One server. Its methods block: from coroutines, use asyncio.to_thread."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._data = directory / "data"
        self._run("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "--no-sync", "--no-instructions")

    def url(self, name: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Return once it answers."""
        settings = " ".join(f"-c {setting}" for setting in (*SETTINGS, f"port={self.port}"))
        log = self._data.parent / "log"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "60", "-l", str(log), "-o", settings, "start")

    def stop(self, how: str = "immediate") -> None:
        """End it as pg_ctl does: `immediate` as in a crash, `fast` orderly; connections break."""
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self._data), "-w", "-m", how, "stop")

    async def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(_numbers)}"
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self.url(name)

    def _run(self, program: str, *arguments: str) -> None:
        # Not subprocess's `user`: that forks in Python, and a fork of a process with gRPC's threads can crash.
        as_user = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups") if os.geteuid() == 0 else ()
        command = [*as_user, str(_directory() / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program}: {done.stdout} {done.stderr}"


def _directory() -> Path:
    """Where Debian keeps the programs: not on the PATH, one directory for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda file: int(file.parent.parent.name))
    return found[-1].parent if found else Path(shutil.which("pg_ctl") or "pg_ctl").parent


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that answers; ended after the block. Skips the test where there is none to run."""
    needed(str(_directory() / "pg_ctl"))
    with tempfile.TemporaryDirectory(prefix="flexgate-postgres-", ignore_cleanup_errors=True) as directory:
        if os.geteuid() == 0:
            shutil.chown(directory, USER)
        server = Postgres(Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()


async def stopped(server: Postgres) -> None:
    """Crash the server, without blocking the loop."""
    await asyncio.to_thread(server.stop)


async def started(server: Postgres) -> None:
    """Start it again."""
    await asyncio.to_thread(server.start)
