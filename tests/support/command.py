"""`flexgate` as its users run it: a real process in a directory of its own, its output and its exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from controlplane.cli.children import READY_SECONDS

DEADLINE = READY_SECONDS + 60
CODE = "import sys; sys.argv[0] = 'flexgate'; from controlplane.cli import main; main()"


async def launch(directory: Path, *arguments: str, typed: bool = False, **environ: str) -> asyncio.subprocess.Process:
    """`flexgate` with these arguments, in a directory that is also its home; `typed`: there is input to come."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEXGATE_", "XDG_"))}
    environment = {**kept, "HOME": str(directory), "PYTHONPATH": str(Path.cwd()), "COLUMNS": "160", "NO_COLOR": "1"}
    pipe = asyncio.subprocess.PIPE
    # With these Python spawns and does not fork: a fork of a process that has gRPC's threads can crash.
    return await asyncio.create_subprocess_exec(
        *("/usr/bin/env", "-C", str(directory), sys.executable, "-c", CODE, *arguments),
        close_fds=False,
        env={**environment, **environ},
        stdin=pipe if typed else asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )


async def flexgate(directory: Path, *arguments: str, typed: str = "", **environ: str) -> tuple[int | None, str, str]:
    """Exit code, output and errors of `flexgate`; `typed` is its input."""
    process = await launch(directory, *arguments, typed=bool(typed), **environ)
    async with asyncio.timeout(DEADLINE):
        output, errors = await process.communicate(typed.encode() if typed else None)
    return process.returncode, output.decode(), errors.decode()


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody at a terminal, with a control plane and a token in the environment."""

    directory: Path
    url: str
    token: str

    async def __call__(self, *arguments: str, typed: str = "", **environ: str) -> tuple[int | None, str, str]:
        """Exit code, output and errors of `flexgate`."""
        given = {"FLEXGATE_URL": self.url, "FLEXGATE_TOKEN": self.token, **environ}
        return await flexgate(self.directory, *arguments, typed=typed, **given)

    async def good(self, *arguments: str, typed: str = "", **environ: str) -> str:
        """The output of a command that does what it was asked for."""
        code, output, errors = await self(*arguments, typed=typed, **environ)
        assert code == 0, (arguments, errors)
        assert "Traceback" not in errors
        return output
