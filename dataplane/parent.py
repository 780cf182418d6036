"""A worker's end of the line to its parent (see workers.py): it is stdin, a socket."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress

SERVING = b"serving\n"
STDIN = 0


def tell_serving() -> None:
    """This worker serves now."""
    with suppress(OSError):  # the parent is gone: `parent_gone` tells
        os.write(STDIN, SERVING)


async def parent_gone() -> None:
    """Returns when the parent has ended, however it died: a worker without one would hold the port for ever."""
    with socket.socket(fileno=os.dup(STDIN)) as line, suppress(ConnectionError):
        line.setblocking(False)
        while await asyncio.get_running_loop().sock_recv(line, 64):
            pass
