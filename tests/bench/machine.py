"""Where and with what a run was made: the figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from shutil import which

from tests.bench import flexgate
from tests.bench.cores import Cores
from tests.bench.invalid import UnfitMachineError

_PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}
_LIBRARIES = ("aiohttp", "uvloop", "httptools")


def require_tools(tools: Iterable[str] = tuple(_PACKAGES), search: str | None = None) -> None:
    """UnfitMachineError, with the line that installs them, where a tool is missing; `search` stands in for PATH."""
    missing = [tool for tool in tools if which(tool, path=search) is None]
    if missing:
        packages = " ".join(_PACKAGES[tool] for tool in missing)
        raise UnfitMachineError(f"{', '.join(missing)} not found; on Debian and Ubuntu: apt-get install {packages}")


def describe(cores: Cores) -> dict[str, str]:
    """The machine, its software, the commit and how busy it was at the start."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": f"{os.cpu_count()}; proxy on {cores.proxy}, load and origin on {','.join(map(str, cores.load))}",
        "kernel": platform.release(),
        # Builds of one version differ in speed, and where one was installed is what tells them apart.
        "python": f"{platform.python_version()} in {sys.base_prefix}",
        "request path": "compiled" if flexgate.has_compiled() else "interpreted",
        "nginx": _first_line(["nginx", "-v"]).removeprefix("nginx version: "),
        "wrk": " ".join(_first_line(["wrk", "-v"]).split()[:2]),
        **{library: version(library) for library in _LIBRARIES},
        "commit": _first_line(["git", "describe", "--always", "--dirty"]),
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def cpu_model(cpuinfo: str) -> str:
    """The name of the first processor in /proc/cpuinfo; some architectures give none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _first_line(command: Sequence[str]) -> str:
    """The first line a command prints, on either stream; "unknown" where it cannot run."""
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError:
        return "unknown"
    return result.stdout.partition("\n")[0].strip() or "unknown"
