"""The rest of a coroutine that has begun outside a task: handed over at the point where it waits.

Interpreted, as all coroutines are (docs/decisions/0007); driver.py, which decides when this is needed, is compiled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any

IN_TASK = object()
"""What a coroutine yields to be made a task: it goes on at once."""


def arrival(awaited: Any) -> Generator[Any, None, None]:
    """What `await` does with an Arrival; here because a compiled StopIteration costs more than a generator."""
    if not awaited.here:
        yield awaited
    error, awaited.error = awaited.error, None
    if error is not None:
        try:
            raise error
        finally:
            del error  # the traceback holds this frame: kept here, or by what was awaited, it would be a cycle


async def continued(begun: Coroutine[Any, Any, None], awaited: Any) -> None:
    """Run `begun` to its end; it has yielded `awaited` and stands there."""
    await _Rest(begun, awaited)


def cancel(task: asyncio.Task[None]) -> None:
    """Raise CancelledError where the coroutine waits that the task carries on.

    A task that has not run yet would end by it without ever having touched what it carries, and that would wait for
    ever: its first step goes before.
    """
    if getcoroutinestate(task.get_coro()) == CORO_CREATED:  # type: ignore[arg-type]  # of `continued`, so a coroutine
        task.get_loop().call_soon(task.cancel)
    else:
        task.cancel()


class Now:
    """`await`ed by a coroutine that is to go on in a task, or (where it is in one) just to go on."""

    def __init__(self, *wanted: object) -> None:
        self._wanted = wanted

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._wanted


ENTER_TASK = Now(IN_TASK)
GO_ON = Now()


class _Rest:
    def __init__(self, begun: Coroutine[Any, Any, None], awaited: Any) -> None:
        self._begun = begun
        self._awaited = awaited

    def __await__(self) -> Generator[Any, None, None]:
        awaited = self._awaited
        while True:
            raised: BaseException | None = None
            try:
                yield from _waiting(awaited)
            except BaseException as error:  # CancelledError above all: it belongs to whoever waits inside
                raised = error
            try:
                awaited = self._begun.send(None) if raised is None else self._begun.throw(raised)
            except StopIteration:
                return
            finally:
                raised = None  # as above


def _waiting(awaited: Any) -> Generator[Any, None, None]:
    """What the task yields for it: futures as they are; an Arrival (driver.py) by a future of its own."""
    if awaited is IN_TASK:
        return
    if hasattr(awaited, "arrive"):
        if not awaited.here:
            awaited.future = asyncio.get_running_loop().create_future()
            yield from awaited.future
        return
    yield awaited
