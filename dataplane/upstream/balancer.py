"""Which endpoint of an upstream serves the next attempt: what all policies share, and the first of them.

A balancer belongs to one compiled upstream; what must outlive it (whose turn it is, how endpoints fare) it gets from
`Live`. What `pick` reads is arranged beforehand: `refresh` does it anew whenever an endpoint comes, goes, fails or
returns, so that a request only looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataplane.events import Events
from dataplane.upstream.endpoint_health import FULL_STEP, PassiveHealth
from dataplane.upstream.turns import Rotation

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.runtime import Endpoint
    from dataplane.upstream.pool import Pool


@dataclass(frozen=True, slots=True)
class Balancing:
    """What the configuration says of an upstream's endpoints as a whole."""

    policy: str = "round-robin"
    on: str = "ip"  # what consistent-hash goes by
    passive: PassiveHealth | None = None
    slow_start: float = 0.0  # seconds
    panic_percent: float = 0.0  # all endpoints are used when a smaller share of them is available
    has_fallback: bool = False  # another upstream takes over when none is available


@dataclass(frozen=True, slots=True)
class Sources:
    """What a balancer takes from the process: its time, its chances, the count of its picks, who hears of events."""

    clock: Callable[[], float]
    draw: Callable[[], float]  # a random number from 0 to 1, without 1
    counter: Iterator[int]
    events: Events


class Balancer:
    """Smooth weighted round robin; other policies choose otherwise."""

    measures = False  # whether the policy needs the endpoints' latencies

    def __init__(self, name: str, endpoints: Mapping[Pool, Endpoint], rules: Balancing, sources: Sources) -> None:
        self.name = name
        self.endpoints = endpoints
        self.rules = rules
        self.passive = rules.passive
        self.slow_start = rules.slow_start
        self.serving = False
        self.panic = False  # endpoints that are not available are used all the same
        self.only: Pool | None = None  # where there is nothing to choose
        self.rotation = Rotation({})
        self.draw = sources.draw
        self.clock = sources.clock
        self.counter = sources.counter
        self.events = sources.events
        self.refresh()

    def __repr__(self) -> str:
        state = "panic" if self.panic else f"{len(self.rotation.pools)} of {len(self.endpoints)}"
        return f"<{self.rules.policy} {self.name} {state}>"

    # ---- for `forward`

    def pick(self, x: Exchange, tried: Sequence[Pool]) -> Pool | None:
        """The endpoint for an attempt, one that was not tried yet if there is any; None where there is none at all."""
        only = self.only
        if only is not None:
            return only
        rotation = self.rotation
        if not rotation.turns:
            return None
        if tried:
            rotation = rotation.without(tried)
        return self.choose(x, rotation)

    def choose(self, x: Exchange, rotation: Rotation) -> Pool:
        """One of a rotation that is not empty."""
        turns = rotation.turns
        return turns[next(self.counter) % len(turns)]

    # ---- which endpoints there are

    def serve(self) -> None:
        """This is the balancer that serves now: the health of its endpoints reports to it."""
        if not self.serving:
            self.serving = True
            self._adopt()

    def follow(self, endpoints: Mapping[Pool, Endpoint]) -> None:
        """Other endpoints from now on, while serving; those that stay keep everything."""
        for pool in self.endpoints:
            if pool not in endpoints and pool.health.balancer is self:
                pool.health.retire()
        self.endpoints = endpoints
        if self.serving:
            self._adopt()
        else:
            self.refresh()

    def _adopt(self) -> None:
        """Newcomers among endpoints that serve already start slowly; where all are new, none can."""
        newcomers = [pool for pool in self.endpoints if pool.health.balancer is None]
        for pool in self.endpoints:
            pool.measure(self.measures)
            pool.health.balancer = self
            if self.passive is None:
                pool.health.pardon()
            else:
                pool.health.time_ejection(self.passive)
            if not self.slow_start:
                pool.health.step = FULL_STEP
        if len(newcomers) < len(self.endpoints):
            for pool in newcomers:
                pool.health.ramp()
        self.refresh()

    # ---- how they fare

    def refresh(self) -> None:
        """Arrange anew what `pick` reads; called whenever something about an endpoint has changed."""
        was = self.panic
        weighed = {pool: endpoint.weight for pool, endpoint in self.endpoints.items() if endpoint.weight}
        usable = [pool for pool in weighed if pool.health.available]
        few = not usable or len(usable) * 100 < self.rules.panic_percent * len(weighed)
        self.panic = few and len(usable) < len(weighed) and (bool(usable) or not self.rules.has_fallback)
        used = list(weighed) if self.panic else usable
        self.rotation = Rotation({pool: weighed[pool] * pool.health.step for pool in used})
        self.only = used[0] if len(used) == 1 else None
        if self.panic != was and self.serving:
            self.events.emit(
                "upstream.panic", upstream=self.name, panic=self.panic, available=len(usable), endpoints=len(weighed)
            )

    def may_eject(self) -> bool:
        """Whether one more endpoint may be out without more than the allowed share being so.

        Those that active checks took out count, those without a weight do not; the allowed number is rounded down, and
        a single endpoint always stays.
        """
        weighed = [pool for pool, endpoint in self.endpoints.items() if endpoint.weight]
        if self.passive is None or len(weighed) < 2:
            return False
        out = sum(not pool.health.available for pool in weighed)
        return (out + 1) * 100 <= self.passive.percent * len(weighed)
