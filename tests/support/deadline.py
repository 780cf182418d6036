"""Waiting in tests: always for something that happens, never for time to pass, and never for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

DEADLINE = 5.0
"""Seconds after which what a test waits for is held not to happen; it passes only in tests that fail."""

T = TypeVar("T")


class Bell:
    """Wakes those who wait for a condition each time something may have changed."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    async def until(
        self, condition: Callable[[], bool], what: str = "the condition", *, seconds: float = DEADLINE
    ) -> None:
        """Return once the condition holds; an AssertionError naming it after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._rung.wait()
        except TimeoutError:
            raise AssertionError(f"waited {seconds} s for {what}") from None


async def eventually(ask: Callable[[], Awaitable[T]], accept: Callable[[T], bool]) -> T:
    """Ask until the answer is accepted; for what only shows when asked, such as a gauge. Each question does real I/O.

    An AssertionError with the last answer after DEADLINE.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + DEADLINE
    while not accept(answer := await ask()):
        assert loop.time() < end, f"after {DEADLINE} s still {answer!r}"
    return answer
