"""A program under the benchmark's control: started in its own group with its output in a file, and surely ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_TERM_SECONDS = 10
_TAIL_BYTES = 2000


class Process:
    """A running program and its children. The file takes all its output, as a log collector would."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def __repr__(self) -> str:
        return f"<Process {self.name} pid={self.pid} exit={self._popen.poll()}>"

    @property
    def pid(self) -> int:
        """The root of its tree."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._popen.poll() is None

    def tail(self) -> str:
        """The end of its output, to show why it ended."""
        return self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()

    def stop(self) -> None:
        """End it: politely, then by force; the group goes with it, workers included."""
        if self.alive:
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(_TERM_SECONDS)
        with suppress(ProcessLookupError):  # most often nothing of the group is left
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
