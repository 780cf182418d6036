"""`python -m tests.bench.profile [SECONDS]`: where the time of the small GET goes, in one data plane under load.

Takes the first tool that is installed: py-spy names Python frames and writes a flame graph, perf names the C functions
below them. Without either it prints what the kernel knows, user against system time, and what to install.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import which

from tests.bench import procfs, wrk
from tests.bench.cores import claim
from tests.bench.invalid import InvalidRunError, UnfitMachineError
from tests.bench.load import Load
from tests.bench.machine import require_tools
from tests.bench.options import parse
from tests.bench.origin import SMALL
from tests.bench.stage import Stage

OUTPUT = Path(".run")
_REPORTED_LINES = 60


def recorder(pid: int, seconds: int) -> list[str]:
    """The command that watches the process and its children for that long; empty where no profiler is installed."""
    if which("py-spy"):
        picture = str(OUTPUT / "profile.svg")
        return ["py-spy", "record", "--pid", str(pid), "--duration", str(seconds), "--subprocesses", "-o", picture]
    if which("perf"):
        members = ",".join(map(str, procfs.tree(pid)))
        target = ["-p", members, "-o", str(OUTPUT / "perf.data")]
        return ["perf", "record", "-q", "-F", "499", "-g", *target, "--", "sleep", str(seconds)]
    return []


def main(seconds: int) -> int:
    """Run the load and the profiler side by side; the exit code."""
    try:
        require_tools()
        with Stage(parse([], []), claim()) as stage:
            proxy = stage.flexgate()
            before = procfs.usage(proxy.process.pid)
            OUTPUT.mkdir(exist_ok=True)
            load = wrk.start(proxy.port, Load(SMALL), seconds + 1, stage.directory)
            command = recorder(proxy.process.pid, seconds)
            if command:
                subprocess.run(command, check=True)
            count = wrk.finish(load, seconds + 1)
            after = procfs.usage(proxy.process.pid)
    except (UnfitMachineError, InvalidRunError, subprocess.CalledProcessError) as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    user = (after.user_seconds - before.user_seconds) / count.requests * 1e6
    system = (after.system_seconds - before.system_seconds) / count.requests * 1e6
    print(f"{count.requests} requests, CPU for each: {user:.1f} us user, {system:.1f} us system")
    _show(command)
    return 0


def _show(command: list[str]) -> None:
    """Print what was recorded, or where it lies."""
    if not command:
        print("no profiler found; apt-get install linux-perf, or pip install py-spy")
    elif command[0] == "py-spy":
        print(f"flame graph in {OUTPUT / 'profile.svg'}")
    else:
        data = str(OUTPUT / "perf.data")
        listing = ["perf", "report", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.5", "-i", data]
        result = subprocess.run(listing, stdout=subprocess.PIPE, text=True, check=True)
        print("\n".join([line for line in result.stdout.splitlines() if line][:_REPORTED_LINES]))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 5))
