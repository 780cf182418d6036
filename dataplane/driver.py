"""What drives an exchange: its coroutine, resumed by the event it waits for, without a task for as long as it can be.

Most requests wait once, for the head of their answer. An asyncio.Task, a future and two turns of the event loop for
that cost more than the policies do; here the first step runs where the request came in, and the next one where the
answer does. Anything else that the coroutine waits for (a connection, the rest of a body, a limit's store) makes it a
task from there on. Code that needs to be in one (asyncio.timeout, TaskGroup) says so by `await x.in_task()` before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

from dataplane.continuation import arrival, cancel, continued

if TYPE_CHECKING:
    from dataplane.exchange import Exchange

Errand = Coroutine[Any, Any, None]
_NAME: Final = "request"  # given, because making one up for each costs more than it tells
_ENDED: Final = object()
_next: Final = next  # compiled code looks built-in functions up by name, each time


class Arrival:
    """Something that one exchange at a time waits for; whoever brings it calls `arrive` or `fail`, once."""

    def __init__(self) -> None:
        self.driver: Driver | None = None  # who waits
        self.future: asyncio.Future[None] | None = None  # done when there is something, for one that is a task
        self.here = False
        self.error: BaseException | None = None

    def expect(self) -> None:
        """Begin to wait for the next one."""
        self.driver = self.future = self.error = None
        self.here = False

    def arrive(self) -> None:
        """It is here: the exchange goes on before this returns, so it must be the last thing that its caller does."""
        self.here = True
        driver, self.driver = self.driver, None
        if driver is not None:
            driver.step()
        elif self.future is not None and not self.future.done():
            self.future.set_result(None)

    def fail(self, error: BaseException) -> None:
        """It will not come; the exchange hears of it with the next turn of the loop."""
        self.here = True
        self.error = error
        if self.driver is not None:
            self.driver.loop.call_soon(self._failed)
        elif self.future is not None and not self.future.done():
            self.future.set_result(None)

    def _failed(self) -> None:
        driver, self.driver = self.driver, None
        if driver is not None:
            driver.step()

    # ---- `await arrival`

    def __await__(self) -> Generator[Any, None, None]:
        return arrival(self)


class Driver:
    """Runs one exchange's coroutine to its end, or until it is a task's.

    The exchange knows its driver only that long: a cycle would keep every request until the collector comes by.
    """

    def __init__(self, x: Exchange, errand: Errand, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._x = x
        self._errand = errand
        self._steps: Iterator[Any] = errand.__await__()
        self._awaited: Arrival | None = None
        self._ended = False

    def step(self) -> None:
        """Go on, until the coroutine waits or ends."""
        self._awaited = None
        awaited = _next(self._steps, _ENDED)  # as `send(None)` is, without the StopIteration: that is costly, compiled
        if awaited is _ENDED:
            self._end()
        else:
            self._wait(awaited)

    def cancel(self) -> None:
        """Raise CancelledError where the coroutine waits, with the next turn of the loop; nothing resumes it before."""
        if self._awaited is not None:
            self._awaited.driver = None
        self.loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        if self._x.task is not None:
            cancel(self._x.task)
        elif not self._ended:
            try:
                pending = self._errand.throw(asyncio.CancelledError())
            except StopIteration:
                self._end()
                return
            self._wait(pending)

    def _wait(self, awaited: Any) -> None:
        if isinstance(awaited, Arrival):
            self._awaited = awaited
            awaited.driver = self
        else:
            self._end()
            self._x.task = self.loop.create_task(continued(self._errand, awaited), name=_NAME)

    def _end(self) -> None:
        self._ended = True
        self._x.driver = None
