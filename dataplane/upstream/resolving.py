"""Names of endpoints, resolved in the background and kept fresh, so that no request looks a name up.

A name is asked about again when its TTL ends (`dns.refresh` overrides that). While look-ups fail, or answer without an
address, the last addresses stay: a resolver in trouble is no reason to stop serving. Only a name that was never
resolved makes requests wait (`first_addresses`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from random import random
from typing import TYPE_CHECKING, Final

from dataplane.errors import ConnectFailed, ConnectTimeout
from dataplane.upstream.lookup import LookUp, LookUpFailed
from dataplane.upstream.watches import Watch, Watches, pause_after

if TYPE_CHECKING:
    from dataplane.live import Live
    from dataplane.runtime import Upstream

SHORTEST_TTL: Final = 1.0
LONGEST_TTL: Final = 300.0
"""Seconds: a record that lives for a day may still be changed in an emergency."""
_AT_A_TIME: Final = 16
_FIRST_RETRY: Final = 0.5
_LAST_RETRY: Final = 10.0


class Name:
    """What is known of a host name of one upstream. It outlives configurations, by (upstream, host)."""

    def __init__(self, upstream: str, host: str) -> None:
        self.upstream = upstream
        self.host = host
        self.addresses: tuple[str, ...] = ()  # of the last answer that had any
        self.resolved_at = 0.0  # epoch seconds, of that answer
        self.ttl = 0.0  # seconds, as that answer had it
        self.failures = 0  # in a row, since then
        self.error = ""  # of the last look-up; empty: it went well
        self.waiters: dict[asyncio.Future[None], Upstream] = {}  # for a first answer, and of which configuration

    def __repr__(self) -> str:
        return f"<Name {self.host} {self.addresses} {self.error}>"

    def wake(self) -> None:
        """Let those who wait for a first answer look again."""
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def after_answer(ttl: float, refresh: float | None, chance: float) -> float:
    """Seconds until a name is asked about again, up to a tenth late: never before the answer has expired."""
    seconds = min(max(ttl, SHORTEST_TTL), LONGEST_TTL) if refresh is None else refresh
    return seconds * (1 + chance / 10)


def after_failure(failures: int, chance: float) -> float:
    """Seconds until a name is tried again."""
    return pause_after(failures, _FIRST_RETRY, _LAST_RETRY, chance)


class Resolving:
    """Keeps the names of the served upstreams resolved. `changed` is called with an upstream's name, once the addresses
    of one of its hosts are others."""

    def __init__(
        self,
        live: Live,
        look_up: LookUp,
        changed: Callable[[str], None],
        *,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random,
    ) -> None:
        self._live = live
        self._look_up = look_up
        self._changed = changed
        self._wall = wall
        self._chance = chance
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._watches: Watches[tuple[str, str, float | None]] = Watches()

    def follow(self, upstreams: Iterable[Upstream]) -> None:
        """Keep the names of these upstreams, and no others. An edit of `dns.refresh` asks anew at once."""
        wanted: dict[tuple[str, str, float | None], Watch] = {}
        for upstream in upstreams:
            for name in upstream.names:
                wanted[name.upstream, name.host, upstream.refresh] = self._watch(name, upstream.refresh)
        self._watches.follow(wanted)
        kept = {(upstream, host) for upstream, host, _ in wanted}
        for key in [key for key in self._live.names if key not in kept]:
            del self._live.names[key]

    async def run(self) -> None:
        """Until cancelled."""
        await self._watches.run()

    def _watch(self, name: Name, refresh: float | None) -> Watch:
        async def keep() -> None:
            while True:
                if await self._resolve(name):
                    await asyncio.sleep(after_answer(name.ttl, refresh, self._chance()))
                else:
                    await asyncio.sleep(after_failure(name.failures, self._chance()))

        return keep

    async def _resolve(self, name: Name) -> bool:
        """Ask once, and tell what that changed; whether there was a good answer."""
        traffic = self._live.traffic.upstream(name.upstream)
        traffic.lookups += 1
        try:
            async with self._slots:
                found = await self._look_up(name.host)
        except LookUpFailed as failure:
            traffic.lookup_failures[failure.kind] = traffic.lookup_failures.get(failure.kind, 0) + 1
            self._failed(name, str(failure))
            return False
        before, was_failing = name.addresses, name.failures
        name.addresses, name.ttl, name.resolved_at = found.addresses, found.ttl, self._wall()
        name.failures, name.error = 0, ""
        if before != found.addresses:
            self._changed(name.upstream)
        name.wake()
        if was_failing:
            self._live.events.emit("upstream.recovered", upstream=name.upstream, host=name.host, reason="dns")
        return True

    def _failed(self, name: Name, error: str) -> None:
        name.failures += 1
        name.error = error
        name.wake()
        if name.failures == 1:
            kept = list(name.addresses)
            self._live.events.emit(
                "upstream.failure", upstream=name.upstream, host=name.host, reason="dns", error=error, kept=kept
            )


async def first_addresses(upstream: Upstream) -> None:
    """Wait until one of the names of an upstream has addresses; returns at once where one has, or there are no names.

    Raises ConnectFailed when all of them failed, ConnectTimeout after `timeout.dns`.
    """
    names = upstream.names
    if not names or any(name.addresses for name in names):
        return
    loop = asyncio.get_running_loop()
    end = loop.time() + upstream.dns if upstream.dns else None
    while not any(name.addresses for name in names):
        if all(name.error for name in names):
            raise ConnectFailed(detail=f"looking up {names[0].host}: {names[0].error}")
        if end is not None and loop.time() >= end:
            raise ConnectTimeout(detail=f"looking up {names[0].host}")
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_at(end, _expire, waiter) if end is not None else None
        for name in names:
            name.waiters[waiter] = upstream
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            for name in names:
                name.waiters.pop(waiter, None)


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
