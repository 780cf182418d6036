"""Waiting for a connection to an endpoint whose every connection is in use: in order, bounded, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dataplane.upstream.pool import Pool
from tests.support.client import connected, get, reset
from tests.support.deadline import Bell, eventually
from tests.support.gateway import Gateway, document, proxied
from tests.support.origin import OK, Origin, Peer, Script, answering_once

CLOSING = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class Turnstile:
    """An origin's script that answers one request each time it is told to."""

    def __init__(self) -> None:
        self.passes = 0
        self._bell = Bell()

    def let(self, count: int = 1) -> None:
        self.passes += count
        self._bell.ring()

    async def script(self, peer: Peer) -> None:
        while await peer.request():
            await self._bell.until(lambda: self.passes > 0)
            self.passes -= 1
            await peer.send(OK)


@asynccontextmanager
async def narrow(script: Script, sockets: int = 1, **upstream: object) -> AsyncIterator[tuple[Origin, Gateway]]:
    """A gateway that may open so many connections to the origin."""
    keys = {"connectionPool": {"maxSockets": sockets}, **upstream}
    async with proxied(script, upstream=keys) as (origin, gateway):
        yield origin, gateway


def pool_of(gateway: Gateway) -> Pool:
    (pool,) = gateway.plane.node.live.pools.values()
    return pool


async def waiting(gateway: Gateway, count: int) -> None:
    """Until so many requests wait for a connection."""
    pool = pool_of(gateway)

    async def length() -> int:
        await gateway.admin("/health/live")
        return len(pool.waiters)

    await eventually(length, lambda found: found == count)


async def test_they_are_served_in_the_order_they_came() -> None:
    """And who comes later takes nobody's turn, not even when a connection is given back in that moment."""
    turnstile = Turnstile()
    async with narrow(turnstile.script) as (origin, gateway), asyncio.TaskGroup() as group:
        asked = []
        for number in range(5):
            asked.append(group.create_task(gateway.ask(get(f"/{number}"))))
            if number:
                await waiting(gateway, number)
            else:
                await origin.arrived()
        for number in range(5, 8):
            turnstile.let()
            asked.append(group.create_task(gateway.ask(get(f"/{number}"))))
            await origin.arrived(number - 3)
        turnstile.let(10)
    assert [task.result().status for task in asked] == [200] * 8
    assert [received.target for received in origin.received] == [f"/{number}" for number in range(8)]
    assert origin.connections == 1


async def test_waiting_ends_with_the_time_for_connecting() -> None:
    """503 with Retry-After, and nobody is left in the line."""
    turnstile = Turnstile()
    async with narrow(turnstile.script, timeout={"connect": 50}) as (origin, gateway), asyncio.TaskGroup() as group:
        group.create_task(gateway.ask(get("/first")))
        await origin.arrived()
        refused = await gateway.ask(get("/late"))
        assert (refused.status, refused.value("Retry-After")) == (503, "1")
        assert not pool_of(gateway).waiters
        turnstile.let()
    assert [received.target for received in origin.received] == ["/first"]


async def test_a_client_that_leaves_gives_its_place_up() -> None:
    """The next one is served, and the line is empty afterwards."""
    turnstile = Turnstile()
    async with narrow(turnstile.script) as (origin, gateway), asyncio.TaskGroup() as group:
        group.create_task(gateway.ask(get("/first")))
        await origin.arrived()
        async with connected(gateway.port) as leaver:
            await leaver.send(get("/leaves"))
            await waiting(gateway, 1)
            last = group.create_task(gateway.ask(get("/last")))
            await waiting(gateway, 2)
            reset(leaver.writer)
            await waiting(gateway, 1)
        turnstile.let(2)
        assert (await last).status == 200
    assert [received.target for received in origin.received] == ["/first", "/last"]


async def test_connections_that_end_make_room_for_those_who_wait() -> None:
    """Whoever waits then opens one: an origin that closes after each answer starves nobody."""
    async with narrow(answering_once(CLOSING), 2) as (origin, gateway):
        answers = await asyncio.gather(*(gateway.ask(get(f"/{number}")) for number in range(12)))
        assert {answer.status for answer in answers} == {200}
        await origin.until(lambda: origin.open == 0)
        await eventually(lambda: gateway.admin("/health/live"), lambda _: pool_of(gateway).open == 0)


async def test_connections_that_fail_make_room_for_those_who_wait() -> None:
    """A reset before the answer is one request's misfortune, not that of the whole line."""

    async def script(peer: Peer) -> None:
        received = await peer.request()
        if received is not None and received.target == "/ill":
            peer.reset()
        else:
            await peer.send(CLOSING)
            peer.close()

    async with narrow(script) as (_, gateway):
        paths = ["/ill", "/a", "/ill", "/b", "/ill", "/c"]
        answers = await asyncio.gather(*(gateway.ask(get(path, method="POST")) for path in paths))
        assert sorted(answer.status for answer in answers) == [200, 200, 200, 502, 502, 502]
        await eventually(lambda: gateway.admin("/health/live"), lambda _: pool_of(gateway).open == 0)


async def test_a_wider_pool_lets_those_who_wait_in() -> None:
    """At once with the edit, without waiting for anyone to finish."""
    turnstile = Turnstile()
    async with narrow(turnstile.script) as (origin, gateway), asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(gateway.ask(get(f"/{number}")))
        await origin.arrived()
        await waiting(gateway, 3)
        await gateway.reconfigure(document(origin.url, upstream={"connectionPool": {"maxSockets": 3}}))
        await origin.arrived(3)
        await waiting(gateway, 1)
        turnstile.let(4)
