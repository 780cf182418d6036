"""The places of a pool against a plain model: never too many, none forgotten, first come, first served."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from dataplane.http1.upstream import UpstreamConnection
from dataplane.upstream.pool import Pool
from tests.unit.engine_bench import Bench, bench, routed

Waiter = asyncio.Future["UpstreamConnection | None"]
Used = UpstreamConnection | None
"""What someone holds: a connection, or with None a place to make one."""


class Transport:
    """A socket that nobody is behind."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class Places(RuleBasedStateMachine):
    """People come, use what they get, give it back, lose it, and leave at any moment."""

    held = Bundle("held")

    @initialize(places=st.integers(1, 3))
    def begin(self, places: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.bench = Bench(self.loop)
        document: dict[str, Any] = {"connectionPool": {"maxSockets": places}, **routed()}
        upstream = self.bench.serve(document).runtime.upstreams["origin"]
        (self.pool,) = cast(tuple[Pool], tuple(upstream.balancer.endpoints))
        self.places = places
        self.holders = 0
        self.line: list[Waiter] = []

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def served(self) -> Any:
        """Those at the head of the line who got something: they hold it now."""
        found: list[Used] = []
        while self.line and self.line[0].done():
            found.append(self.line.pop(0).result())
        self.holders += len(found)
        return multiple(*found)

    @rule(target=held)
    def come(self) -> Any:
        """As forward does: an idle connection, else a place, else a place in the line."""
        connection = self.pool.take()
        if connection is not None:
            self.holders += 1
            return connection
        if self.pool.open < self.pool.max_open:
            self.pool.open += 1
            self.holders += 1
            return None
        self.line.append(self.pool.join())
        return self.served()

    @rule(target=held, used=consumes(held))
    def finish(self, used: Used) -> Any:
        """The exchange went well; a place has become a connection."""
        self.holders -= 1
        if used is None:
            used = UpstreamConnection(self.pool)
            used.transport = cast(asyncio.Transport, Transport())
            used.placed = True
        self.pool.put(used)
        return self.served()

    @rule(target=held, used=consumes(held))
    def fail(self, used: Used) -> Any:
        """The dial failed, or the connection broke."""
        self.holders -= 1
        if used is None:
            self.pool.vacate()
        else:
            used.busy = True
            used.connection_lost(None)
        return self.served()

    @rule(target=held)
    def lose_an_idle_one(self) -> Any:
        """The endpoint closes a connection that nobody uses."""
        if self.pool.idle:
            self.pool.idle[0][1].connection_lost(None)
        return self.served()

    @rule(target=held, which=st.integers(0, 5))
    def leave(self, which: int) -> Any:
        """Someone in the line gives up."""
        if self.line:
            waiter = self.line.pop(which % len(self.line))
            waiter.cancel()
            self.pool.leave(waiter)
        return self.served()

    @rule(target=held, used=consumes(held))
    def leave_in_that_moment(self, used: Used) -> Any:
        """Someone was given something and gives up before they could use it."""
        self.holders -= 1
        waiter: Waiter = self.loop.create_future()
        waiter.set_result(used)
        self.pool.leave(waiter)
        return self.served()

    @rule(target=held, places=st.integers(1, 4))
    def edit(self, places: int) -> Any:
        """There may be more, or fewer, from now on."""
        self.pool.allow(places)
        self.places = max(places, self.pool.open)
        return self.served()

    @invariant()
    def every_place_is_accounted_for(self) -> None:
        if not hasattr(self, "pool"):
            return
        assert self.pool.open == self.holders + len(self.pool.idle)
        assert self.pool.open <= self.places
        assert list(self.pool.waiters) == self.line
        if self.line:
            assert not self.pool.idle
            assert self.pool.open >= self.pool.max_open


@given(st.lists(st.floats(0, 10), max_size=30), st.integers(1, 10))
def test_free_connections_beyond_the_allowed_are_closed(returned: list[float], most: int) -> None:
    """Those that were idle for longest, and only what was idle for a second: a busy client's next request may come."""
    with bench() as worker:
        document = {"connectionPool": {"maxFreeSockets": most}, **routed()}
        (pool,) = worker.serve(document).runtime.upstreams["origin"].balancer.endpoints
        connections = []
        for worker.now in sorted(returned):
            connection = UpstreamConnection(pool)
            connection.transport = cast(asyncio.Transport, Transport())
            pool.put(connection)
            connections.append((worker.now, connection))
        worker.now = 10.0
        worker.live.trim()
        excess = max(0, len(connections) - most)
        closed = [cast(Transport, connection.transport).closed for _, connection in connections]
        assert closed == [index < excess and at < 9.0 for index, (at, _) in enumerate(connections)]


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
