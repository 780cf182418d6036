"""Clients that vanish wherever a request can wait: every place they held is free again, nobody is blamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.client import Response, connected, get, post
from tests.support.deadline import eventually
from tests.support.gateway import Gateway, Samples, proxied
from tests.support.origin import OK, Peer

CROWD = 8
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
GAUGES = ("http_requests_in_flight", "requests_queued", "bulkhead_requests")


class Gate:
    """An origin that holds answers while it is shut, and answers with what it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.answer = OK

    async def script(self, peer: Peer) -> None:
        while await peer.request():
            if self.open.is_set() or self.answer is not OK:
                await peer.send(self.answer)
                continue
            waits = {asyncio.ensure_future(self.open.wait()), asyncio.ensure_future(peer.gone())}
            done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            if not self.open.is_set():
                return
            del done
            await peer.send(self.answer)


async def until_all_is_free(gateway: Gateway) -> Samples:
    """Wait until nothing is in flight, queued or busy."""

    def free(found: Samples) -> bool:
        busy = found.value("upstream_connections", state="busy")
        return busy == 0 and all(found.value(name) == 0 for name in GAUGES)

    return await eventually(gateway.metrics, free)


async def in_flight(gateway: Gateway, count: int) -> None:
    await eventually(gateway.metrics, lambda found: found.value("http_requests_in_flight") == count)


BULKHEAD = {"upstream": {"limits": {"maxConnections": 1, "maxQueueSize": 100}}}
QUEUE = {"backpressure": {"enabled": True, "maxConcurrent": 1, "maxQueueSize": 100}}
POOL = {"connectionPool": {"maxSockets": 1}}


@pytest.mark.parametrize("data", [get(), post(b"x" * 1000)], ids=["get", "post"])
@pytest.mark.parametrize("policies", [BULKHEAD, QUEUE, POOL], ids=["bulkhead", "overload queue", "pool"])
async def test_in_a_queue(policies: dict[str, Any], data: bytes) -> None:
    """One request holds the only place, a crowd waits behind it and vanishes, and so does the one at the front."""
    gate = Gate()
    async with proxied(gate.script, **policies) as (origin, gateway):
        async with connected(gateway.port) as holder:
            await holder.send(get())
            await origin.arrived(1)
            async with asyncio.TaskGroup() as crowd:
                for _ in range(CROWD):
                    crowd.create_task(waits_and_vanishes(gateway, data))
            await in_flight(gateway, 1)
            holder.abort()
        found = await until_all_is_free(gateway)
        assert found.value("http_requests_total", status="499") == CROWD + 1
        assert len(origin.received) == 1
        gate.open.set()
        assert [(await gateway.ask(data)).status for _ in range(3)] == [200] * 3
        assert found.value("upstream_errors_total") == 0


async def waits_and_vanishes(gateway: Gateway, data: bytes) -> None:
    async with connected(gateway.port) as client:
        await client.send(data)
        await eventually(gateway.metrics, lambda found: found.value("http_requests_in_flight") >= CROWD // 2)
        client.abort()


async def test_while_a_retry_backs_off() -> None:
    """The attempts that are left are not made."""
    gate = Gate()
    gate.answer = UNAVAILABLE
    retry = {"maxAttempts": 5, "backoff": {"initialDelay": 4000, "jitter": False}}
    async with proxied(gate.script, upstream={"retry": retry}) as (origin, gateway):
        for _ in range(2):
            async with connected(gateway.port) as client:
                before = len(origin.received)
                await client.send(get())
                await origin.arrived(before + 1)
                client.abort()
            await until_all_is_free(gateway)
        assert len(origin.received) == 2
        gate.answer = OK
        gate.open.set()
        assert (await gateway.ask(get())).status == 200


async def test_as_the_probe_of_a_breaker() -> None:
    """Half-open, all its probes leave without an outcome: their places are free, and others close it."""
    gate = Gate()
    gate.answer = UNAVAILABLE
    breaker = {"failureThreshold": 1, "openDuration": 50, "halfOpenRequests": 2, "successThreshold": 1}
    async with proxied(gate.script, upstream={"circuitBreaker": breaker}) as (origin, gateway):
        assert (await gateway.ask(get())).status == 503
        gate.answer = OK
        for probe in range(4):
            await probe_and_vanish(gateway, lambda: len(origin.received), 2 + probe)
        await until_all_is_free(gateway)
        gate.open.set()
        await eventually(lambda: gateway.ask(get()), lambda answer: answer.status == 200)
        deep = (await gateway.admin("/health/deep")).json
        assert deep["circuitBreakers"]["origin"]["state"] == "closed"


def held(arrived: Callable[[], int], count: int, answer: asyncio.Future[Response], _: Samples) -> bool:
    """Whether the request is at the origin, or was refused."""
    return answer.done() or arrived() >= count


async def probe_and_vanish(gateway: Gateway, arrived: Callable[[], int], count: int) -> None:
    """Ask until the breaker lets a request through, and go while the origin holds it."""
    while arrived() < count:
        async with connected(gateway.port) as client:
            await client.send(get())
            answer = asyncio.ensure_future(client.response())
            await eventually(gateway.metrics, partial(held, arrived, count, answer))
            if not answer.done():
                client.abort()
            await asyncio.gather(answer, return_exceptions=True)
