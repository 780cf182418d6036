"""`flexgate` as its users run it: a real process in a directory of its own, its output and its exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane.cli.children import READY_SECONDS
from tests.support.deadline import Bell

DEADLINE = READY_SECONDS + 60
CODE = "import sys; sys.argv[0] = 'flexgate'; from controlplane.cli import main; main()"


async def launch(
    directory: Path, *arguments: str, typed: bool = False, terminal: int | None = None, **environ: str
) -> asyncio.subprocess.Process:
    """`flexgate` with these arguments, in a directory that is also its home; `typed`: there is input to come.

    `terminal`: the descriptor of one that input, output and errors are.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLEXGATE_", "XDG_"))}
    environment = {**kept, "HOME": str(directory), "PYTHONPATH": str(Path.cwd()), "COLUMNS": "160", "NO_COLOR": "1"}
    pipe = asyncio.subprocess.PIPE
    # With these Python spawns and does not fork: a fork of a process that has gRPC's threads can crash.
    return await asyncio.create_subprocess_exec(
        *("/usr/bin/env", "-C", str(directory), sys.executable, "-c", CODE, *arguments),
        close_fds=False,
        env={**environment, **environ},
        stdin=terminal or (pipe if typed else asyncio.subprocess.DEVNULL),
        stdout=terminal or pipe,
        stderr=terminal or pipe,
    )


async def flexgate(directory: Path, *arguments: str, typed: str = "", **environ: str) -> tuple[int | None, str, str]:
    """Exit code, output and errors of `flexgate`; `typed` is its input."""
    process = await launch(directory, *arguments, typed=bool(typed), terminal=None, **environ)
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


class Typing:
    """Somebody who reads a terminal and types."""

    def __init__(self, process: asyncio.subprocess.Process, screen: int) -> None:
        self._process = process
        self._screen = screen
        self._shown = ""
        self._bell = Bell()
        asyncio.get_running_loop().add_reader(screen, self._read)

    def say(self, line: str) -> None:
        """Type a line."""
        os.write(self._screen, f"{line}\n".encode())

    async def until(self, text: str) -> str:
        """What is shown up to and with this text, after what was read before."""
        await self._bell.until(lambda: text in self._shown, f"{text!r} on the screen", seconds=DEADLINE)
        read, found, self._shown = self._shown.partition(text)
        return read + found

    async def ended(self) -> int:
        """The exit code."""
        async with asyncio.timeout(DEADLINE):
            return await self._process.wait()

    def _read(self) -> None:
        try:
            self._shown += os.read(self._screen, 65536).decode().replace("\r\n", "\n")
        except OSError:  # the last program that had this terminal has ended
            asyncio.get_running_loop().remove_reader(self._screen)
        self._bell.ring()


@asynccontextmanager
async def terminal(operator: Operator, *arguments: str) -> AsyncIterator[Typing]:
    """`flexgate` at a terminal of its own; ended after the block."""
    screen, line = os.openpty()
    where = operator.directory
    process = await launch(where, *arguments, terminal=line, FLEXGATE_URL=operator.url, FLEXGATE_TOKEN=operator.token)
    os.close(line)
    try:
        yield Typing(process, screen)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(screen)
        os.close(screen)
