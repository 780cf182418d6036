"""Runs the tasks of one connection until the first of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of this until one fails, end the others, and raise what it raised; returns when all have returned.

    Not a TaskGroup, because the failure is expected and handled: before Python 3.13 a group that is cancelled while one
    of its tasks fails raises only the failure, and who handles that and goes on would go on for ever.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is not None]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in failed:
        task.result()
