"""The gate against a model: lists, sorted anew for each question, in place of its queues."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.errors import GatewayError, Overloaded
from dataplane.overload.gate import Gate, Places, Waiter

TIMEOUT = 5.0
MOST = 4


class CountingGate(Gate):
    """A gate that writes down whom it refuses."""

    def refused(self, name: str, why: str) -> GatewayError:
        return Overloaded(detail=f"{name} {why}")


@dataclass
class Visitor:
    """One that came: who it is to the gate, and what the model thinks of it."""

    weight: int
    number: int
    since: float
    waiter: Waiter | None

    @property
    def answered(self) -> str:
        """What it was told: it may come in, it must go, nothing yet, or it left before."""
        future = self.waiter.future if self.waiter is not None else None
        if future is None:
            return "in"
        if not future.done():
            return "waits"
        if future.cancelled():
            return "cancelled"
        return "refused" if future.exception() is not None else "in"


class GateMachine(RuleBasedStateMachine):
    """Visitors of three weights come, leave, lose patience and are cancelled, in any order, while the limit moves."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.gate = CountingGate(self.loop, lambda: self.now)
        self.limit = 2
        self.gate.follow(Places(self.limit, MOST, TIMEOUT))
        self.inside: list[Visitor] = []
        self.queue: list[Visitor] = []
        self.gone: list[Visitor] = []
        self.count = 0

    def teardown(self) -> None:
        for visitor in [*self.inside, *self.queue]:
            self.gate.leave(visitor.waiter)
        assert (self.gate.inside, self.gate.waiting) == (0, 0)
        self.loop.close()

    def _refill(self) -> None:
        """The model: the heaviest that came first goes in while there is room."""
        while self.queue and len(self.inside) < self.limit:
            visitor = min(self.queue, key=lambda one: (-one.weight, one.number))
            self.queue.remove(visitor)
            if visitor.answered != "cancelled":
                self.inside.append(visitor)
            else:
                self.gone.append(visitor)

    @rule(weight=st.sampled_from([0, 10, 100]))
    def come(self, weight: int) -> None:
        """Inside, into the queue, or refused; a full queue gives up the lightest that came last for a heavier one."""
        self.count += 1
        lightest = min(self.queue, key=lambda one: (one.weight, -one.number), default=None)
        full = len(self.inside) >= self.limit and len(self.queue) >= MOST
        try:
            waiter = self.gate.enter(weight, str(weight))
        except Overloaded:
            assert full
            assert lightest is not None
            assert lightest.weight >= weight
            return
        visitor = Visitor(weight, self.count, self.now, waiter)
        if full:
            assert lightest is not None
            assert lightest.weight < weight
            assert lightest.answered in {"refused", "cancelled"}
            self.queue.remove(lightest)
            self.gone.append(lightest)
        if waiter is None:
            self.inside.append(visitor)
        else:
            self.queue.append(visitor)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        """A place that is given back is the next one's."""
        visitor = data.draw(st.sampled_from(self.inside))
        self.inside.remove(visitor)
        self.gate.leave(visitor.waiter)
        self._refill()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def lose_patience(self, data: Any) -> None:
        """A client that goes while it waits leaves the queue at once."""
        visitor = data.draw(st.sampled_from(self.queue))
        self.queue.remove(visitor)
        self.gate.leave(visitor.waiter)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def be_cancelled(self, data: Any) -> None:
        """Its future is cancelled, and it has had no turn yet to leave: no place is lost to it."""
        visitor = data.draw(st.sampled_from(self.queue))
        assert visitor.waiter is not None
        visitor.waiter.future.cancel()

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def leave_late(self, data: Any) -> None:
        """Who was refused, or passed over, leaves too, and that changes nothing."""
        visitor = data.draw(st.sampled_from(self.gone))
        self.gone.remove(visitor)
        self.gate.leave(visitor.waiter)

    @rule(limit=st.integers(1, 5))
    def move_limit(self, limit: int) -> None:
        """A limit that grows lets in; one that falls sends nobody away."""
        self.limit = limit
        self.gate.follow(Places(limit, MOST, TIMEOUT))
        self._refill()

    @rule(seconds=st.sampled_from([0.1, 1.0, TIMEOUT]))
    def wait(self, seconds: float) -> None:
        """Who has waited for the whole timeout is refused by the sweep, and nobody else."""
        self.now += seconds
        self.gate.expire()
        late = [one for one in self.queue if self.now - one.since >= TIMEOUT]
        assert all(one.answered in {"refused", "cancelled"} for one in late)
        self.queue = [one for one in self.queue if one not in late]
        self.gone += late

    @invariant()
    def agrees_with_the_model(self) -> None:
        """The numbers are those of the model, whoever is inside was told so, and a free place means an empty queue."""
        assert (self.gate.inside, self.gate.waiting) == (len(self.inside), len(self.queue))
        assert all(one.answered == "in" for one in self.inside)
        assert all(one.answered in {"waits", "cancelled"} for one in self.queue)
        assert self.gate.waiting <= MOST
        assert not self.queue or self.gate.inside >= self.limit


TestGate = GateMachine.TestCase
