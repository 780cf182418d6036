"""The driver of exchanges: no task while one waits for an arrival, a task for everything else, cancelled either way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.continuation import ENTER_TASK, GO_ON
from dataplane.driver import Arrival, Driver, Errand
from dataplane.errors import RequestTimeout
from dataplane.exchange import Exchange
from dataplane.http1.downstream import DownstreamConnection


def exchange() -> Exchange:
    """All that a driver knows of an exchange: its task."""
    return cast(Exchange, SimpleNamespace(task=None))


def started(errand: Errand) -> tuple[Exchange, Driver]:
    x = exchange()
    driver = Driver(x, errand, asyncio.get_running_loop())
    driver.step()
    return x, driver


def expected() -> Arrival:
    arrival = Arrival()
    arrival.expect()
    return arrival


async def test_an_arrival_resumes_at_once_and_without_a_task() -> None:
    """The coroutine goes on within the call of `arrive`."""
    told: list[str] = []
    head = expected()

    async def errand() -> None:
        told.append("begun")
        await head
        told.append("ended")

    x, _ = started(errand())
    assert told == ["begun"]
    head.arrive()
    assert told == ["begun", "ended"]
    assert x.task is None


async def test_what_has_arrived_is_not_waited_for() -> None:
    """An arrival before the wait lets it pass."""
    head = expected()
    head.arrive()
    told: list[str] = []

    async def errand() -> None:
        await head
        told.append("ended")

    started(errand())
    assert told == ["ended"]


async def test_a_failure_is_raised_with_the_next_turn() -> None:
    """Never on the stack of whoever found it: that one has to clean up first."""
    head = expected()
    raised: list[BaseException] = []

    async def errand() -> None:
        try:
            await head
        except OSError as error:
            raised.append(error)

    started(errand())
    head.fail(OSError("gone"))
    assert raised == []
    await asyncio.sleep(0)
    assert [str(error) for error in raised] == ["gone"]


@pytest.mark.parametrize("via_task", [False, True])
async def test_cancelling_raises_where_it_waits(via_task: bool) -> None:
    """Outside a task and within one; what arrives meanwhile does not resume it first."""
    head = expected()
    told: list[str] = []

    async def errand() -> None:
        await (ENTER_TASK if via_task else GO_ON)
        try:
            await head
            told.append("resumed")
        except asyncio.CancelledError:
            told.append("cancelled")

    x, driver = started(errand())
    await asyncio.sleep(0)
    driver.cancel()
    head.arrive()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == ["cancelled"]
    assert (x.task is not None) is via_task


async def test_cancelling_reaches_a_task_that_has_not_run_yet() -> None:
    """In the very turn in which the exchange became one: a deadline is looked at between two turns of the loop."""
    told: list[str] = []

    async def errand() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            told.append("cancelled")

    x = Exchange(cast(DownstreamConnection, None), 0.0)
    x.begun = True
    x.driver = Driver(x, errand(), asyncio.get_running_loop())
    x.driver.step()
    assert x.task is not None
    x.cancel(RequestTimeout())
    await asyncio.wait([x.task])
    assert told == ["cancelled"]


async def test_anything_else_makes_it_a_task_that_keeps_its_place() -> None:
    """Futures, sleeps, timeouts after `in_task`, arrivals again: all of asyncio works from there on."""
    told: list[Any] = []
    head = expected()
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def errand() -> None:
        told.append(await future)
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        await head
        told.append("answered")

    x, _ = started(errand())
    assert x.task is not None
    future.set_result(7)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    head.arrive()
    await asyncio.wait_for(x.task, 5)
    assert told == [7, "answered"]


async def test_a_timeout_works_right_after_entering_a_task() -> None:
    """`asyncio.timeout` cancels the current task: it has to be the exchange's own."""
    told: list[str] = []

    async def errand() -> None:
        await ENTER_TASK
        try:
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            told.append("late")

    x, _ = started(errand())
    assert x.task is not None
    await asyncio.wait_for(x.task, 5)
    assert told == ["late"]


async def test_an_exception_of_what_is_awaited_goes_in_and_out() -> None:
    """A future's exception is raised at its await; one that nobody handles is the task's."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def errand() -> None:
        try:
            await future
        except OSError as error:
            raise ValueError("told") from error

    x, _ = started(errand())
    future.set_exception(OSError())
    assert x.task is not None
    with pytest.raises(ValueError, match="told"):
        await asyncio.wait_for(x.task, 5)


async def test_cancelling_what_has_ended_does_nothing() -> None:
    """An exchange may end between the decision to stop it and the next turn."""
    head = expected()

    async def errand() -> None:
        await head

    _, driver = started(errand())
    head.arrive()
    driver.cancel()
    await asyncio.sleep(0)
