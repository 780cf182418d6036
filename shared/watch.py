"""Tells when a file's content has changed, by looking at it: no inotify, which sees nothing on network disks.

What counts is a hash of the content, so it works with editors that rename, ConfigMaps that swap a symlink, and files
that vanish for a moment; a file that is touched, or gone, is no change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import blake2b
from pathlib import Path

Sleep = Callable[[float], Awaitable[object]]


def changes(
    path: Path, *, interval: float = 0.5, debounce: float = 0.2, longest: float = 2.0, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[None]:
    """Yield each time the content became other than it was and stayed the same for `debounce` seconds.

    A file that never comes to rest is told of after `longest` seconds all the same.

    What the file holds now, at the call, is what later content is compared with: call it before reading the file, and
    no edit between the two is lost. Several edits between two looks are one change; going back to the known content
    before it was told is none. A file that cannot be read is looked at again after `interval` seconds.
    """
    return _changes(path, _fingerprint(path), interval, debounce, longest, sleep)


async def _changes(
    path: Path, known: bytes | None, interval: float, debounce: float, longest: float, sleep: Sleep
) -> AsyncIterator[None]:
    while True:
        await sleep(interval)
        seen = await asyncio.to_thread(_fingerprint, path)
        unrest = 0.0
        while seen is not None and seen != known:
            await sleep(debounce)
            unrest += debounce
            still = await asyncio.to_thread(_fingerprint, path)
            if still == seen or (unrest >= longest and still is not None):
                known, unrest = still, 0.0
                yield
            seen = still


def _fingerprint(path: Path) -> bytes | None:
    """A hash of the content; None while there is none to read."""
    try:
        return blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return None
