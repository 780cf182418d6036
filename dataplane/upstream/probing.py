"""Active checks: every endpoint of an upstream that wants them is probed now and then, and taken out or back by it.

An endpoint is down after so many failed probes in a row, up again after so many good ones. One that was not judged yet
counts as available: a node that has just started would otherwise refuse everything until its first probes are done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module
from random import uniform
from typing import TYPE_CHECKING, Final

from dataplane.upstream.watches import Watch, Watches

if TYPE_CHECKING:
    from dataplane.runtime import Endpoint, Guard, HealthCheck, Upstream
    from dataplane.upstream.pool import Pool

_AT_A_TIME: Final = 32
_JITTER: Final = 0.1

Probe = Callable[["Endpoint", "Guard", str, float], Awaitable[int]]
"""The status of an endpoint's answer to a path within so many seconds; raises ProbeFailed."""


class ProbeFailed(Exception):
    """No answer in time, or none at all; the text says why."""


async def probed(endpoint: Endpoint, guard: Guard, path: str, seconds: float) -> int:
    """A real probe (probe.py). Its HTTP client is loaded with the first one, beside the event loop: most configurations
    have no checks, and it is a fifth of a worker's memory.
    """
    module = await asyncio.to_thread(import_module, "dataplane.upstream.probe")
    status: int = await module.probe(endpoint, guard, path, seconds)
    return status


class Verdict:
    """What the probes of one endpoint say. It lives for as long as the endpoint is checked, through every edit."""

    def __init__(self) -> None:
        self.down = False
        self.successes = self.failures = 0  # in a row
        self.at = 0.0  # epoch seconds, of the last probe; 0: none yet
        self.ms = 0.0  # what it took
        self.status: int | None = None  # of its answer
        self.error = ""  # why it failed; empty: it went well

    def __repr__(self) -> str:
        return f"<Verdict {'down' if self.down else 'up'} {self.error or self.status}>"

    def count(self, good: bool, check: HealthCheck) -> bool:
        """Count one more probe; whether it changed the verdict."""
        self.successes, self.failures = (self.successes + 1, 0) if good else (0, self.failures + 1)
        before = self.down
        if good and self.successes >= check.healthy_threshold:
            self.down = False
        elif not good and self.failures >= check.unhealthy_threshold:
            self.down = True
        return self.down != before


class Probing:
    """Checks the endpoints of the served upstreams. `verdicts` are there for each endpoint that is checked."""

    def __init__(
        self,
        *,
        ask: Probe = probed,
        wall: Callable[[], float] = time.time,
        chance: Callable[[float, float], float] = uniform,
    ) -> None:
        self.verdicts: dict[Pool, Verdict] = {}
        self._ask = ask
        self._wall = wall
        self._chance = chance
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._watches: Watches[tuple[Pool, HealthCheck]] = Watches()

    def follow(self, upstreams: Iterable[Upstream]) -> None:
        """Check the endpoints that these upstreams have now. A check that was edited starts anew, its verdict stays.

        An endpoint that is not checked any more is available, as far as checks go.
        """
        wanted: dict[tuple[Pool, HealthCheck], Watch] = {}
        for upstream in upstreams:
            for pool in upstream.balancer.endpoints:
                if upstream.check is not None:
                    self.verdicts.setdefault(pool, Verdict())
                    wanted[pool, upstream.check] = self._watch(pool, upstream, upstream.check)
                elif self.verdicts.pop(pool, None) is not None and pool.health.probed_down:
                    pool.health.probed(True)
        checked = {pool for pool, _ in wanted}
        for pool in [pool for pool in self.verdicts if pool not in checked]:
            del self.verdicts[pool]
        self._watches.follow(wanted)

    async def run(self) -> None:
        """Until cancelled."""
        await self._watches.run()

    def _watch(self, pool: Pool, upstream: Upstream, check: HealthCheck) -> Watch:
        guard, traffic = upstream.guard, upstream.traffic

        async def keep() -> None:
            verdict = self.verdicts[pool]
            verdict.successes = verdict.failures = 0
            while True:
                next_at = time.monotonic() + check.interval * self._chance(1 - _JITTER, 1 + _JITTER)
                async with self._slots:
                    await self._probe(pool, guard, check, verdict)
                if verdict.error:
                    traffic.checks_failed += 1
                else:
                    traffic.checks_passed += 1
                changed = verdict.count(not verdict.error, check)
                if changed or verdict.down:
                    pool.health.probed(not verdict.down, verdict.error)
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))

        return keep

    async def _probe(self, pool: Pool, guard: Guard, check: HealthCheck, verdict: Verdict) -> None:
        began = time.perf_counter()
        try:
            verdict.status = await self._ask(pool.endpoint, guard, check.path, check.timeout)
            verdict.error = "" if check.expects(verdict.status) else f"status {verdict.status}"
        except ProbeFailed as failure:
            verdict.status, verdict.error = None, str(failure)
        verdict.at, verdict.ms = self._wall(), (time.perf_counter() - began) * 1000
