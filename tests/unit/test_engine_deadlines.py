"""Deadlines on a clock that the test turns: who is told, when, how often, and that one sweep follows another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from dataplane.http1.deadlines import INTERVAL, NEVER, Deadlines
from tests.support.deadline import DEADLINE


@dataclass(eq=False)
class Waiting:
    """Something that expires; `told` are the times it was told so."""

    deadline: float
    told: list[float] = field(default_factory=list)

    def expired(self, now: float) -> None:
        self.told.append(now)


class Clock:
    """Time as the test has it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_who_is_late_is_told_once(clock: Clock) -> None:
    """At its deadline or after, never before, and not again until it sets another."""
    deadlines, waiting = Deadlines(clock), Waiting(101.0)
    deadlines.add(waiting)
    for now in (100.0, 100.99, 101.0, 101.1, 200.0):
        clock.now = now
        deadlines.sweep()
    assert waiting.told == [101.0]
    assert waiting.deadline == NEVER
    waiting.deadline = 200.0
    deadlines.sweep()
    assert waiting.told == [101.0, 200.0]


def test_only_members_are_told(clock: Clock) -> None:
    """Who left is not; leaving twice is no mistake."""
    deadlines, staying, gone = Deadlines(clock), Waiting(50.0), Waiting(50.0)
    for waiting in (staying, gone):
        deadlines.add(waiting)
    deadlines.discard(gone)
    deadlines.discard(gone)
    deadlines.sweep()
    assert (staying.told, gone.told) == ([100.0], [])


def test_a_member_may_change_the_set(clock: Clock) -> None:
    """Expiring closes connections, which leave, and may begin others."""
    deadlines = Deadlines(clock)

    @dataclass(eq=False)
    class Leaving(Waiting):
        def expired(self, now: float) -> None:
            super().expired(now)
            deadlines.discard(self)
            deadlines.add(Waiting(NEVER))

    members = [Leaving(1.0) for _ in range(10)]
    for member in members:
        deadlines.add(member)
    deadlines.sweep()
    deadlines.sweep()
    assert [member.told for member in members] == [[100.0]] * 10


def test_an_expired_member_may_set_its_next_deadline(clock: Clock) -> None:
    """What it sets while it is told stands."""
    deadlines = Deadlines(clock)

    @dataclass(eq=False)
    class Renewing(Waiting):
        def expired(self, now: float) -> None:
            super().expired(now)
            self.deadline = now + 5.0

    renewing = Renewing(100.0)
    deadlines.add(renewing)
    for now in (100.0, 104.0, 105.0):
        clock.now = now
        deadlines.sweep()
    assert renewing.told == [100.0, 105.0]


async def test_sweeps_follow_each_other_until_stopped(clock: Clock) -> None:
    """On the loop, with everyone who asked to come along; the lag is how late a sweep is against the last."""
    deadlines, loop = Deadlines(clock), asyncio.get_running_loop()
    swept: asyncio.Queue[float] = asyncio.Queue()
    lags = iter([0.0, 0.25, 0.0])

    def along() -> None:
        swept.put_nowait(deadlines.lag)
        clock.now += INTERVAL + next(lags, 0.0)

    deadlines.also.append(along)
    deadlines.start(loop)
    async with asyncio.timeout(DEADLINE):
        seen = [await swept.get() for _ in range(4)]
    deadlines.stop()
    assert seen == [0.0, 0.0, pytest.approx(0.25), pytest.approx(0.0)]
    assert swept.empty()
