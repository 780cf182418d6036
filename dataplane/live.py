"""What outlives every configuration: pools, buckets, turns and counters, each found by a key of its own.

Compiling only ever adds to it; what a configuration no longer names is put away after the swap (`retire`).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from dataplane.events import Events
from dataplane.http1.deadlines import Deadlines
from dataplane.http1.outbox import Outbox
from dataplane.limits.algorithms import ALGORITHMS
from dataplane.limits.asking import Rule as StoreRule
from dataplane.limits.counts import Counts
from dataplane.limits.lease import Leases
from dataplane.limits.room import KeyRoom
from dataplane.limits.rule import Rule
from dataplane.limits.store import Store, StoreKey
from dataplane.metrics import Traffic
from dataplane.overload.shedding import Shedding
from dataplane.tokens.key_source import KeySource
from dataplane.upstream.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, BreakerPolicy
from dataplane.upstream.bulkhead import Bulkhead
from dataplane.upstream.endpoint_health import EndpointHealth
from dataplane.upstream.pool import Pool, PoolKey
from dataplane.upstream.resolving import Name
from dataplane.upstream.retry_budget import BudgetPolicy, RetryBudget

if TYPE_CHECKING:
    from dataplane.runtime import Endpoint, Upstream
    from dataplane.tokens.verifier import Verifier

LimitKey = tuple[str, Rule, str]
"""(where the rule stands, the rule, what it counts by): an edit that touches none of it keeps the counts."""

_BREAKER_EVENTS = {
    CLOSED: "circuit_breaker.closed",
    HALF_OPEN: "circuit_breaker.half_open",
    OPEN: "circuit_breaker.opened",
}


class Live:
    """The live state of one worker. `clock` counts seconds for limits; `wall` (epoch seconds) is what people
    read. `draw` gives random numbers from 0 to 1."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        traffic: Traffic,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.loop = loop
        self.outbox = Outbox(loop)  # towards upstreams
        self.deadlines = deadlines
        self.traffic = traffic
        self.clock = clock
        self.wall = wall
        self.draw = draw
        self.epoch = wall() - clock()  # from `clock` to the time of day, which somebody may set
        self.events = Events(wall, clock)
        self.nodes = 1  # data planes that share the limits: those the control plane counts, else the workers
        self.pools: dict[PoolKey, Pool] = {}
        self.names: dict[tuple[str, str], Name] = {}  # by upstream and host
        self.limits: dict[LimitKey, Counts] = {}
        self.room = KeyRoom()  # for the keys of all limits
        self.bulkheads: dict[str, Bulkhead] = {}
        self.shedding = Shedding(loop, clock, traffic, self.events)
        self.leases: dict[tuple[LimitKey, StoreKey], Leases] = {}
        self.stores: dict[StoreKey, Store] = {}
        self._leaving: list[Store] = []
        self.breakers: dict[str, Breaker] = {}
        self.retry_budgets: dict[str, RetryBudget] = {}
        self.key_sources: WeakValueDictionary[str, KeySource] = WeakValueDictionary()  # by URL
        self.verifiers: WeakValueDictionary[bytes, Verifier] = WeakValueDictionary()  # by what they were made of
        self._turns: dict[str, Iterator[int]] = {}

    def aside(self) -> Live:
        """A live state for a trial: whatever a compile adds to it, nothing of it is ever used."""
        trial = Live(self.loop, Deadlines(self.clock), Traffic(), clock=self.clock, wall=self.wall, draw=self.draw)
        trial.shedding.memory.limit = self.shedding.memory.limit
        return trial

    def pool(self, key: PoolKey, endpoint: Endpoint) -> Pool:
        """The connections to an endpoint."""
        pool = self.pools.get(key)
        if pool is None:
            health = EndpointHealth(
                key[0],
                key[1].partition("://")[2],
                clock=self.clock,
                deadlines=self.deadlines,
                events=self.events,
                traffic=self.traffic.upstream(key[0]),
            )
            pool = self.pools[key] = Pool(key, endpoint, self.loop, self.deadlines, health, self.outbox)
            pool.clock = self.clock
        return pool

    def name(self, upstream: str, host: str) -> Name:
        """What is known of a host name of an upstream."""
        return self.names.setdefault((upstream, host), Name(upstream, host))

    def counts(self, key: LimitKey) -> Counts:
        """What is counted for a rule."""
        counts = self.limits.get(key)
        if counts is None:
            rule = key[1]
            counts = self.limits[key] = ALGORITHMS[rule.algorithm](rule, self.wall() - self.clock())
            counts.room = self.room
            self.room.add(counts)
        return counts

    def bulkhead(self, upstream: str) -> Bulkhead:
        """The places of an upstream that limits them."""
        bulkhead = self.bulkheads.get(upstream)
        if bulkhead is None:
            bulkhead = self.bulkheads[upstream] = Bulkhead(upstream, self.loop, self.clock, self.events)
        return bulkhead

    def store(self, key: StoreKey) -> Store:
        """The store of shared limits; it connects once it is followed."""
        store = self.stores.get(key)
        if store is None:
            store = self.stores[key] = Store(key, self.loop, self.events, self.clock)
        return store

    def leases_of(self, limit: LimitKey, rule: StoreRule, key: StoreKey) -> Leases:
        """What this node holds of a rule that is counted in a store."""
        leases = self.leases.get((limit, key))
        if leases is None:
            leases = self.leases[limit, key] = Leases(limit[1], rule, self.store(key))
            leases.room = self.room
            self.room.add(leases)
        return leases

    def follow_store(self, key: StoreKey | None) -> None:
        """Be connected to the store of the configuration that is served now, and to no other."""
        for other in [other for other in self.stores if other != key]:
            store = self.stores.pop(other)
            self._leaving.append(store)
            # Requests of the configuration before still wait for it, and none waits longer.
            self.loop.call_later(other.timeout, self._leave, store)
        if key is not None and key in self.stores:
            self.stores[key].start()

    def _leave(self, store: Store) -> None:
        if store in self._leaving:
            self._leaving.remove(store)
            store.close()

    def close_stores(self) -> None:
        """The process ends."""
        for store in (*self.stores.values(), *self._leaving):
            store.close()
        self.stores.clear()
        self._leaving.clear()

    def turns(self, upstream: str) -> Iterator[int]:
        """Counts the picks of an upstream."""
        return self._turns.setdefault(upstream, itertools.count())

    def breaker(self, upstream: str, policy: BreakerPolicy) -> Breaker:
        """The breaker of an upstream; the policy is for a new one, see `follow`."""
        breaker = self.breakers.get(upstream)
        if breaker is None:
            breaker = self.breakers[upstream] = Breaker(upstream, policy, self._breaker_changed)
        return breaker

    def retry_budget(self, upstream: str, policy: BudgetPolicy) -> RetryBudget:
        """The retry budget of an upstream; the policy is for a new one, see `follow`."""
        budget = self.retry_budgets.get(upstream)
        if budget is None:
            budget = self.retry_budgets[upstream] = RetryBudget(policy)
        return budget

    def key_source(self, url: str) -> KeySource:
        """The keys at a URL; they are fetched once it is followed."""
        source = self.key_sources.get(url)
        if source is None:
            source = self.key_sources[url] = KeySource(url, clock=self.clock)
        return source

    def _breaker_changed(self, breaker: Breaker, reason: str) -> None:
        self.events.emit(_BREAKER_EVENTS[breaker.state], upstream=breaker.name, reason=reason)

    def follow(self, upstreams: Iterable[Upstream]) -> None:
        """Take up what the configuration that is served now says of its upstreams."""
        limited: set[str] = set()
        for upstream in upstreams:
            self._govern(upstream)
            upstream.balancer.serve()
            if upstream.bulkhead is not None:
                limited.add(upstream.name)
                upstream.bulkhead.follow(upstream.places)
            upstream.retry_budget.policy = upstream.budget_policy
            if upstream.breaker is not None and upstream.breaker_policy is not None:
                upstream.breaker.follow(upstream.breaker_policy)
            else:
                self.breakers.pop(upstream.name, None)  # switched on again, it begins closed
        for name in [name for name in self.bulkheads if name not in limited]:
            self.bulkheads.pop(name).follow(None)

    def relocate(self, upstream: Upstream, endpoints: Mapping[Pool, Endpoint]) -> None:
        """The endpoints of an upstream that serves are now these (a name has other addresses).

        Those that stay keep connections and health; of those that go, idle connections end now, busy ones after their
        exchange.
        """
        gone = [pool for pool in upstream.balancer.endpoints if pool not in endpoints]
        upstream.balancer.follow(endpoints)
        self._govern(upstream)
        for pool in gone:
            self._put_away(pool)

    def _govern(self, upstream: Upstream) -> None:
        """Keep idle connections as the upstream says."""
        for pool, endpoint in upstream.balancer.endpoints.items():
            pool.endpoint = endpoint
            pool.max_free, pool.keep_idle = upstream.max_free_sockets, upstream.keep_idle
            pool.keep_alive = upstream.keep_alive
            pool.allow(upstream.max_sockets)
            if not pool.keep_alive:
                pool.close()

    def _put_away(self, pool: Pool) -> None:
        self.pools.pop(pool.key, None)
        pool.health.retire()
        pool.close()

    def sweep(self) -> None:
        """With each sweep of the deadlines: end what has waited too long, and look what time of day it is."""
        self.epoch = self.wall() - self.clock()
        self.shedding.sweep()
        for bulkhead in self.bulkheads.values():
            bulkhead.expire()

    def retire(
        self,
        pools: Collection[Pool],
        limits: Collection[LimitKey],
        routes: Collection[str],
        upstreams: Collection[str],
    ) -> None:
        """Put away what the configuration that is served now does not name."""
        for pool in [pool for pool in self.pools.values() if pool not in pools]:
            self._put_away(pool)
        for limit in [limit for limit in self.limits if limit not in limits]:
            self.room.remove(self.limits.pop(limit))
        for held in [held for held in self.leases if held[0] not in limits or held[1] not in self.stores]:
            self.room.remove(self.leases.pop(held))
        for name in [name for name in self._turns if name not in upstreams]:
            del self._turns[name]
        for name in [name for name in self.breakers if name not in upstreams]:
            del self.breakers[name]
        for name in [name for name in self.retry_budgets if name not in upstreams]:
            del self.retry_budgets[name]
        self.traffic.forget(routes, upstreams)

    def trim(self) -> None:
        """Close connections that are free beyond what is allowed."""
        for pool in self.pools.values():
            pool.trim()
