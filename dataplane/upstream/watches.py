"""One task for each thing that is watched: started when it appears, cancelled when it goes.

Which things those are is said anew after each change (`follow`); a thing that stays keeps its task. All of them run in
one TaskGroup, which `run` awaits. A watch that breaks is told and begins again: it must not end the others, nor the
process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from typing import Any, Final, Generic, TypeVar

from shared import log

K = TypeVar("K", bound=Hashable)

Watch = Callable[[], Coroutine[Any, Any, None]]
"""Watches one thing until cancelled."""

_PAUSE: Final = 5.0
"""Seconds before one that broke begins again."""


def pause_after(failures: int, first: float, last: float, chance: float) -> float:
    """Seconds until the next try, after that many failures in a row: doubling, the upper half by chance (0 to 1)."""
    return min(last, first * 2.0 ** min(failures - 1, 10)) * (1 + chance) / 2


class Watches(Generic[K]):
    """The tasks by key. Before `run` nothing is started."""

    def __init__(self, pause: float = _PAUSE) -> None:
        self._pause = pause
        self._wanted: Mapping[K, Watch] = {}
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Watches {len(self._tasks)} running, {len(self._wanted)} wanted>"

    def __len__(self) -> int:
        return len(self._wanted)

    def follow(self, wanted: Mapping[K, Watch]) -> None:
        """From now on watch these and no others."""
        self._wanted = wanted
        self._adjust()

    async def run(self) -> None:
        """Until cancelled; then all tasks have ended."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._adjust()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    def _adjust(self) -> None:
        if self._group is None:
            return
        for key in [key for key in self._tasks if key not in self._wanted]:
            self._tasks.pop(key).cancel()
        for key, watch in self._wanted.items():
            if key not in self._tasks:
                self._tasks[key] = self._group.create_task(self._keep(watch))

    async def _keep(self, watch: Watch) -> None:
        while True:
            try:
                await watch()
            except Exception:
                log.failure("watch.broken")
                await asyncio.sleep(self._pause)
