"""The shared store of counts: a Redis, asked once per turn of the event loop, and done without while it is lost.

Nobody waits longer than `timeout` for it: what has no answer by then is told so, and from there on nobody waits at all
until a probe, made in the background, has gone the whole way of a request. Redis' own clock counts, so those of the
nodes do not matter; the script is sent again where Redis has lost it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha1
from importlib import resources
from typing import Any, Final

from dataplane.events import Events
from dataplane.limits.asking import Ask, Batch, Gathering, Group, Rule
from dataplane.limits.redis_address import read_address
from dataplane.limits.redis_link import RedisLink, StoreError, open_link
from shared import log

SCRIPT: Final = resources.files("dataplane.limits").joinpath("take.lua").read_bytes()
SCRIPT_HASH: Final = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()  # Redis names scripts by it
MOST_IN_FLIGHT: Final = 2
"""Calls at a time: what comes meanwhile goes together with the next, which costs less than a call of its own."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between probes, doubling, with jitter."""
STEADY_SECONDS: Final = 10.0
"""After so long without a failure the next one is held to be the first again."""
_PROBED: Final[Rule] = (0, 1_000_000, 1.0, 1_000_000)


@dataclass(frozen=True, slots=True)
class StoreKey:
    """What makes it another store: an edit of anything else keeps the connection. `timeout` is in seconds."""

    url: str
    prefix: str
    timeout: float


class Store:
    """`up` is what health says; while `lost` nobody is to ask. The counters count since the start."""

    def __init__(
        self,
        key: StoreKey,
        loop: asyncio.AbstractEventLoop,
        events: Events,
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.key = key
        self.lost = False
        self.calls = 0
        self.errors = 0
        self.fallbacks = 0  # requests that were decided without it
        self.leases = 0
        self.last_error = ""
        self._loop = loop
        self._events = events
        self._clock = clock
        self._chance = chance
        self._address = read_address(key.url)
        self._gathering = Gathering()
        self._in_flight: deque[Batch] = deque()
        self._flushing = False
        self._watch: asyncio.TimerHandle | None = None
        self._link: RedisLink | None = None
        self._gone = asyncio.Event()
        self._lost_at = 0.0
        self._up_since = 0.0
        self._pause = FIRST_PAUSE
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Store {self._address.host or self._address.path} {'up' if self.up else 'down'}>"

    @property
    def up(self) -> bool:
        return self._link is not None

    def described(self) -> dict[str, Any]:
        """Its state and its counters, for /health/deep; nothing secret."""
        return {
            "state": "UP" if self.up else "DOWN" if self.lost else "CONNECTING",
            "calls": self.calls,
            "errors": self.errors,
            "fallbacks": self.fallbacks,
            "leases": self.leases,
            "lastError": self.last_error or None,
        }

    # ---- its life

    def start(self) -> None:
        """Connect, in the background, and stay connected."""
        if self._task is None:
            self._task = self._loop.create_task(self._keep_connected(), name="limit store")

    def close(self) -> None:
        """End; those who wait are told that there is no answer."""
        self.lost = True
        if self._task is not None:
            self._task.cancel()
        if self._watch is not None:
            self._watch.cancel()
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._give_up()

    # ---- those who ask

    def now(self) -> float:
        """Seconds of the clock that its deadlines and leases go by."""
        return self._clock()

    def ask(self, ask: Ask, name: str, granting: list[str], counting: list[str], rules: list[Rule]) -> None:
        """Ask for one request of each key; the answer comes to `ask`. `name`: the same for the same keys.

        Not to be called while `lost`.
        """
        self._group(name, granting, counting, rules).add(ask)

    def ask_one(self, ask: Ask, key: str, rule: Rule, granting: bool) -> None:
        """Ask for one request of one key, or (not `granting`) let it count along."""
        group = self._gathering.groups.get(key)
        if group is None:
            group = self._group(key, [key] if granting else [], [] if granting else [key], [rule])
        group.add(ask)

    def lease(self, ask: Ask, key: str, rule: Rule, count: int) -> None:
        """Ask for up to `count` requests of one key."""
        self.leases += 1
        self._group(f"lease {key}", [key], [], [rule]).add(ask, count)

    def _group(self, name: str, granting: list[str], counting: list[str], rules: list[Rule]) -> Group:
        gathering = self._gathering
        group = gathering.groups.get(name)
        if group is None:
            if not gathering.groups:
                gathering.since = self._clock()
                self._flush_soon()
            group = gathering.groups[name] = Group(granting, counting, rules)
        return group

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        if self._watch is None:
            self._watch = self._loop.call_later(self.key.timeout, self._look)

    def _flush(self) -> None:
        """Send what was gathered, unless enough is on its way."""
        self._flushing = False
        link = self._link
        if link is None or len(self._in_flight) >= MOST_IN_FLIGHT or not self._gathering.groups:
            return
        for batch in self._gathering.take(self.key.timeout):
            self._send(link, batch, b"EVALSHA", SCRIPT_HASH)

    def _send(self, link: RedisLink, batch: Batch, *name: bytes) -> None:
        self.calls += 1
        self._in_flight.append(batch)
        link.send(batch.words(*name), self._answered)

    def _answered(self, reply: bytes, failed: bool) -> None:
        if not self._in_flight or self._link is None:
            return  # they were told already
        batch = self._in_flight.popleft()
        if not failed:
            try:
                batch.told(reply)
            except ValueError as error:
                self._fail(str(error), batch)
                return
            self._flush()
        elif reply.startswith(b"NOSCRIPT") and not batch.whole:
            batch.whole = True
            self._send(self._link, batch, b"EVAL", SCRIPT)
        else:
            self._fail(reply.decode("utf-8", "replace"), batch)

    # ---- when it does not answer

    def _look(self) -> None:
        """Whether somebody has waited for too long; one timer for all of them."""
        self._watch = None
        due = self._oldest()
        if due is None:
            return
        now = self._clock()
        if due <= now:
            self._fail("no answer in time")
        else:
            self._watch = self._loop.call_later(due - now, self._look)

    def _oldest(self) -> float | None:
        """The deadline of the one that waits longest."""
        if self._in_flight:
            return self._in_flight[0].deadline
        return self._gathering.since + self.key.timeout if self._gathering.groups else None

    def _fail(self, reason: str, batch: Batch | None = None) -> None:
        """Tell all that wait, and let nobody wait any more."""
        self.errors += 1
        self.last_error = reason
        if batch is not None:
            self._in_flight.appendleft(batch)
        link, self._link = self._link, None
        if link is not None:
            link.close()
            self._gone.set()
        if not self.lost:
            self.lost = True
            self._lost_at = self._clock()
            if self._lost_at - self._up_since > STEADY_SECONDS:
                self._pause = FIRST_PAUSE
            self._events.emit("rate_limit.store_lost", reason=reason)
        self._give_up()

    def _give_up(self) -> None:
        batches = [*self._in_flight, *self._gathering.take(self.key.timeout)]
        self._in_flight.clear()
        for batch in batches:
            batch.gave_up()

    def _ended(self, link: RedisLink) -> None:
        """The connection ended by itself: a failure where something waited; else Redis may close idle ones."""
        if link is not self._link:
            return
        self._link = None
        if self._in_flight:
            self._fail("the connection ended")
        self._gone.set()

    # ---- the connection

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._connect()
            except StoreError as error:
                self._fail(str(error))
            except Exception as error:
                log.failure("rate_limit.store_broken")
                self._fail(repr(error))
            else:
                await self._gone.wait()
            if self.lost or self._clock() - self._up_since < FIRST_PAUSE:
                await asyncio.sleep(self._next_pause())

    def _next_pause(self) -> float:
        pause, self._pause = self._pause, min(LONGEST_PAUSE, self._pause * 2)
        return pause * (0.5 + self._chance() / 2)

    async def _connect(self) -> None:
        """Open, and go the whole way of a request once; raises StoreError."""
        timeout = self.key.timeout
        link = await open_link(self._address, self._ended, max(1.0, timeout))
        try:
            async with asyncio.timeout(timeout):
                await link.call(b"SCRIPT", b"LOAD", SCRIPT)
            async with asyncio.timeout(timeout):
                await link.call(*_probe(self.key.prefix))  # a replica, which may not write, must not count as up
        except TimeoutError:
            link.close()
            raise StoreError("no answer in time") from None
        except BaseException:
            link.close()
            raise
        self._gone.clear()
        self._link = link
        self._up_since = self._clock()
        if self.lost:
            self.lost = False
            self._events.emit("rate_limit.store_back", seconds=round(self._up_since - self._lost_at, 3))
        self._flush()


def _probe(prefix: str) -> tuple[bytes, ...]:
    """The words of a call as requests make it."""
    group = Group([f"{prefix}probe"], [], [_PROBED])
    group.count = 1
    return Batch([group], 0.0).words(b"EVALSHA", SCRIPT_HASH)
