"""Runs a program that ends with its parent, however that dies: `python bound.py PROGRAM ARGUMENT...`.

Its stdin is a pipe of which the parent alone has the other end. On Linux the kernel sends the program SIGTERM when that
end is closed, so that it drains and frees its ports; the program need not know. Elsewhere it just runs. (The other way,
PR_SET_PDEATHSIG, sends a signal for each thread of the parent that dies, and a second one cuts the drain short.)
Standard library only: it starts at once.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys

_STDIN = 0


def main() -> None:
    """Become the program; never returns."""
    if sys.platform == "linux":
        _bind()
    os.execv(sys.argv[1], sys.argv[1:])  # no shell is wanted


def _bind() -> None:
    """What is set here belongs to the open pipe and to the process, so it outlives exec."""
    fcntl.fcntl(_STDIN, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(_STDIN, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(_STDIN, fcntl.F_SETFL, fcntl.fcntl(_STDIN, fcntl.F_GETFL) | os.O_ASYNC)
    poller = select.poll()
    poller.register(_STDIN, 0)
    if poller.poll(0):  # the parent died before the kernel knew
        sys.exit(1)


if __name__ == "__main__":
    main()
