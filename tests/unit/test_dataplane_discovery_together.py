"""Tasks that run together: the first failure ends all, and a cancellation is never lost."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.together import together


class Forever:
    """Runs until it is cancelled, and notes that."""

    def __init__(self) -> None:
        self.cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True


async def fail() -> None:
    raise LookupError("first")


async def test_the_first_failure_ends_all() -> None:
    """It is raised as it is, after the others have ended."""
    other = Forever()
    with pytest.raises(LookupError, match="first"):
        await together(other.run(), fail())
    assert other.cancelled


async def test_all_may_simply_end() -> None:
    """Work that returns ends nothing; when all has returned, so does this."""
    await together(asyncio.sleep(0), asyncio.sleep(0))


async def test_a_cancellation_that_meets_a_failure_is_not_lost() -> None:
    """A task that handles the failure and goes on must still end when it was told to."""
    failing = asyncio.Event()
    other = Forever()

    async def fail_when_told() -> None:
        await failing.wait()
        raise LookupError

    async def handle_and_go_on() -> None:
        while True:
            with pytest.raises(LookupError):
                await together(other.run(), fail_when_told())

    task = asyncio.create_task(handle_and_go_on())
    await asyncio.sleep(0)  # it starts
    await asyncio.sleep(0)  # and so do its tasks
    failing.set()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert other.cancelled
