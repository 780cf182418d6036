"""The worker's gate: who is let in, who waits, and who is told to come again, when more is asked than can be done.

One for each worker, through every configuration. A request that finds room costs a comparison and two additions. The
rest is decided by what is in force: the stages of the queue, the adaptive limit, the memory's watermark. What is never
asked here, is never shed: health, metrics, the admin port, the configuration stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dataplane.errors import GatewayError, Overloaded
from dataplane.overload.adaptive import AdaptiveLimit
from dataplane.overload.gate import NO_LIMIT, Gate, Places, Waiter
from dataplane.overload.memory import Pressure, Watermark
from dataplane.overload.stages import DISABLE_LOGGING, REJECT_ALL, REJECT_LOW_PRIORITY, SAMPLE_METRICS, Stage, Stages

if TYPE_CHECKING:
    from dataplane.events import Events
    from dataplane.exchange import Exchange
    from dataplane.metrics import Traffic
    from dataplane.overload.priorities import Priority

SAMPLED: Final = 10
"""Under `sample_metrics`, one request in so many is in the histograms, and stands for all of them."""
_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class OverloadPolicy:
    """What `backpressure` and `priorities` say. `weights`: of all priorities, ascending."""

    places: Places | None
    adaptive: bool = False
    stages: tuple[Stage, ...] = ()
    weights: tuple[int, ...] = (0,)


_OFF: Final = OverloadPolicy(None)


class Shedding(Gate):
    """`shed` counts by the name of the priority. `bar`: newcomers that weigh less are refused at once."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], traffic: Traffic, events: Events
    ) -> None:
        super().__init__(loop, clock)
        self.policy = _OFF
        self.stages = Stages()
        self.adaptive: AdaptiveLimit | None = None
        self.memory = Watermark()
        self.shed: dict[str, int] = {}
        self.bar = 0
        self.strained = False  # whether `bar` or memory refuses anybody
        self._traffic = traffic
        self._events = events
        self._full = False  # whether the limit was reached since the last look
        self._told = 0
        self._look_at = 0.0

    # ---- a request's way

    def come(self, x: Exchange, priority: Priority) -> asyncio.Future[None] | None:
        """Let the exchange in now, or when the future is done; raises Overloaded, now or by the future."""
        if self.inside < self.limit and not self.strained:
            self.inside += 1
            x.shedding = self
            return None
        return self._come_late(x, priority)

    def go(self, x: Exchange) -> None:
        """The exchange is over, or has become a tunnel: its place is free. What it took tells the adaptive limit."""
        x.shedding = None
        adaptive = self.adaptive
        if adaptive is not None and (x.upstream_status or x.status == 504) and x.upstream_ms > 0.0:
            adaptive.sample(x.upstream_ms)
        self.leave(x.shedding_waiter)

    def _come_late(self, x: Exchange, priority: Priority) -> asyncio.Future[None] | None:
        if priority.weight < self.bar:
            raise self.refused(priority.name, "the worker is under strain")
        if self.memory.pressure and not x.body.complete:
            raise self.refused(priority.name, "memory is short, and the request has a body")
        waiter = self.enter(priority.weight, priority.name)
        x.shedding = self
        if waiter is None:
            return None
        self._full = True
        x.shedding_waiter = waiter
        return waiter.future

    def refused(self, name: str, why: str) -> GatewayError:
        self.shed[name] = self.shed.get(name, 0) + 1
        self._events.often("request.shed", name, why=why, waiting=self.waiting, limit=self.limit)
        return Overloaded(detail=f"priority {name}: {why}", retry_after=max(1, math.ceil(self.timeout)))

    # ---- what is in force

    def moved(self) -> None:
        if self.stages.moved(self.waiting):
            self._enforce()

    def _enforce(self) -> None:
        """Do what the stages and the memory ask for.

        Each `reject_low_priority` refuses one more class of priorities, from the lowest, and never the highest.
        """
        stages, weights = self.stages, self.policy.weights
        lower = stages.count(REJECT_LOW_PRIORITY) + (1 if self.memory.pressure else 0)
        self.bar = NO_LIMIT if stages.count(REJECT_ALL) else weights[min(lower, len(weights) - 1)] if lower else 0
        self.strained = self.bar > 0 or self.memory.pressure > 0
        self._traffic.log_successes = not stages.count(DISABLE_LOGGING)
        self._traffic.histogram_every = SAMPLED if stages.count(SAMPLE_METRICS) else 1

    def obey(self, policy: OverloadPolicy | None) -> None:
        """Do as the configuration that is served now says; who waits goes on waiting, where there still is a limit."""
        policy = policy or _OFF
        if policy != self.policy:
            self.policy = policy
            self._tell("overload.ended", self.stages.stages[: self._told])
            self._told = 0
            self.stages = Stages(policy.stages)
            places = policy.places
            if not policy.adaptive or places is None:
                self.adaptive = None
            elif self.adaptive is None:
                self.adaptive = AdaptiveLimit(places.limit, self.inside)
            else:
                self.adaptive.follow(places.limit)
            if places is not None and self.adaptive is not None:
                places = Places(self.adaptive.limit, places.most_waiting, places.timeout)
            self.follow(places)
            self.stages.moved(self.waiting)
            self._enforce()

    # ---- from time to time

    def sweep(self) -> None:
        """With each sweep of the deadlines: refuse who waited too long; once a second, look at everything else."""
        self.expire()
        now = self.clock()
        adaptive = self.adaptive
        due = now >= self._look_at
        if adaptive is not None and (due or adaptive.rising):
            self._adapt(adaptive, now)
        if due:
            self._look_at = now + _LOOK_SECONDS
            self._look()

    def _adapt(self, adaptive: AdaptiveLimit, now: float) -> None:
        full = self._full or self.inside >= self.limit
        before, self.limit = self.limit, adaptive.turn(now, full=full)
        self._full = False
        if self.limit > before and self.waiting:
            self.admit()

    def _look(self) -> None:
        if self.memory.look():
            self._enforce()
            name = "overload.memory_low" if self.memory.pressure else "overload.memory_enough"
            self._events.emit(name, pressure=self.memory.pressure.name.lower(), limit=self.memory.limit)
        reached, told = self.stages.look(), self._told
        self._tell("overload.began", self.stages.stages[told:reached])
        self._tell("overload.ended", self.stages.stages[reached:told])
        self._told = reached

    def _tell(self, event: str, stages: Sequence[Stage]) -> None:
        for stage in stages:
            self._events.emit(event, action=stage.action, queueSize=stage.queue_size, waiting=self.waiting)

    def may_accept(self) -> bool:
        """Whether there is memory for another connection."""
        return self.memory.pressure is not Pressure.STOP


def waited_ms(waiter: Waiter | None, other: Waiter | None) -> float:
    """The time an exchange spent in queues, in milliseconds."""
    return ((waiter.waited if waiter is not None else 0.0) + (other.waited if other is not None else 0.0)) * 1000.0
