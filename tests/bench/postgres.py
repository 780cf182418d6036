"""A PostgreSQL for the case about writes: the machine's own, in a directory of its own, syncing to disk as usual."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.invalid import InvalidRunError
from tests.bench.probe import free_port

USER = "postgres"


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """Its URL; empty where there is none on this machine. Ended after the block."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda file: int(file.parent.parent.name))
    control = str(found[-1]) if found else shutil.which("pg_ctl")
    if control is None:
        yield ""
        return
    data, port = directory / "postgres" / "data", free_port()
    data.parent.mkdir()
    directory.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(data.parent, USER)  # it refuses to run as root
    _run([str(Path(control).parent / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "--no-instructions"])
    settings = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    _run([control, "-D", str(data), "-w", "-l", str(data.parent / "log"), "-o", settings, "start"])
    try:
        yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    finally:
        _run([control, "-D", str(data), "-w", "-m", "immediate", "stop"])


def _run(command: Sequence[str]) -> None:
    as_user = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups") if os.geteuid() == 0 else ()
    done = subprocess.run([*as_user, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InvalidRunError(f"{Path(command[0]).name}: {done.stdout[-500:]} {done.stderr[-500:]}")
