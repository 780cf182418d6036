"""Presence over a real PostgreSQL: what replicas know of each other's nodes, and what they make of silence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.conversation import Outcome
from controlplane.nodes import Node, Nodes
from controlplane.presence import MISSED_BEATS, Presence
from controlplane.store.database import Database, DatabaseGone
from controlplane.store.migrate import opened
from shared.pb.discovery_pb2 import Hello
from tests.support.postgres import Postgres, running_postgres, started, stopped

INTERVAL = 5.0


class Replica:
    """A control plane as far as presence goes, with a clock that the test turns."""

    def __init__(self, database: Database, name: str) -> None:
        self.now = 1000.0
        self.nodes = Nodes(lambda: self.now)
        self.presence = Presence(database, self.nodes, name, interval=INTERVAL, clock=lambda: self.now)

    async def later(self, seconds: float) -> None:
        """Let time pass here, and exchange."""
        self.now += seconds
        await self.presence.exchange()

    def connect(self, name: str, *, epoch: str = "e") -> Node:
        """A node's stream begins here."""
        return self.nodes.connect(Hello(node_id=name, instance_epoch=epoch, version="1"), lambda reason: None)

    def shown(self, desired: int = 7) -> dict[str, tuple[str, str]]:
        """(state, replica) of each node as operators see it here."""
        return {node.id: (node.state, node.replica) for node in self.nodes.view(desired)}


@asynccontextmanager
async def replicas(server: Postgres) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two over one new database."""
    async with opened(await server.create()) as database:
        yield Replica(database, "one"), Replica(database, "two")


async def test_every_replica_shows_all_nodes(postgres: Postgres) -> None:
    """What a node is at one replica is seen at the other, with who has it, and counts among the live ones."""
    async with replicas(postgres) as (one, two):
        node = one.connect("a")
        one.nodes.learn(node, Outcome(acked=7))
        two.connect("b")
        for replica in (one, two, one):
            await replica.later(1)
        assert one.shown() == {"a": ("current", ""), "b": ("applying", "two")}
        assert two.shown() == {"a": ("current", "one"), "b": ("applying", "")}
        assert (one.nodes.live, two.nodes.live) == (2, 2)
        assert two.nodes.states(7) == {"current": 1, "applying": 1, "nacked": 0, "disconnected": 0}
        assert two.nodes.states(8)["current"] == 0


async def test_a_node_that_moves_is_counted_once(postgres: Postgres) -> None:
    """A node goes from one replica to the other: in between both know it, and it counts as one."""
    async with replicas(postgres) as (one, two):
        before = one.connect("a")
        await one.later(1)
        two.connect("a", epoch="f")
        await two.later(1)
        assert (two.nodes.live, two.shown()["a"]) == (1, ("applying", ""))
        one.nodes.disconnect(before)
        await one.later(1)
        assert (one.nodes.live, one.shown()["a"]) == (1, ("applying", "two"))
        await two.later(1)
        assert two.shown()["a"] == ("applying", "")


async def test_a_silent_replica_is_gone(postgres: Postgres) -> None:
    """One whose beat stands still for three intervals has no nodes any more; it is back with its next beat."""
    async with replicas(postgres) as (one, two):
        one.connect("a")
        await one.later(1)
        await two.later(1)
        await two.later(INTERVAL * MISSED_BEATS - 1)
        assert two.nodes.live == 1
        await two.later(2)
        assert (two.nodes.live, two.shown()["a"][0]) == (0, "disconnected")
        await one.later(INTERVAL)
        await two.later(1)
        assert two.nodes.live == 1


async def test_clocks_are_not_compared(postgres: Postgres) -> None:
    """A replica whose clock is a year off is as alive as any other."""
    async with replicas(postgres) as (one, two):
        one.now += 365 * 86_400
        one.connect("a")
        await one.later(1)
        await two.later(1)
        assert (two.nodes.live, two.shown()["a"]) == (1, ("applying", "one"))


async def test_who_leaves_says_so(postgres: Postgres) -> None:
    """A replica that stops in order takes its nodes off at once; one long dead is forgotten."""
    async with replicas(postgres) as (one, two):
        one.connect("a")
        await one.later(1)
        await two.later(1)
        await one.presence.leave()
        await two.later(1)
        assert (two.nodes.live, two.shown()) == (0, {})
        await one.later(INTERVAL)
        await two.later(1)
        await two.later(3601)
        await two.later(1)
        assert two.shown() == {}


async def test_what_is_known_stands_while_the_database_is_gone() -> None:
    """Limits do not become laxer because PostgreSQL is down; once it is back, so is everything."""
    with running_postgres() as server:
        async with replicas(server) as (one, two):
            one.connect("a")
            await one.later(1)
            await two.later(1)
            await stopped(server)
            with pytest.raises(DatabaseGone):
                await two.later(100 * INTERVAL)
            assert two.nodes.live == 1
            await started(server)
            await one.later(INTERVAL)
            await two.later(1)
            assert two.nodes.live == 1


async def test_only_what_changed_is_written(postgres: Postgres) -> None:
    """A node that only beats costs no row."""
    async with replicas(postgres) as (one, _):
        node = one.connect("a")
        await one.later(1)
        assert one.presence.written == 1
        node.bytes_sent += 100
        one.nodes.seen(node)
        await one.later(1)
        assert one.presence.written == 1
        one.nodes.learn(node, Outcome(acked=3))
        await one.later(1)
        assert one.presence.written == 2
