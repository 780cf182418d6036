"""Bulkheads with real sockets: a slow upstream is bounded, and the others do not feel it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from tests.integration.test_overload import Slow
from tests.support.client import connected, get
from tests.support.deadline import eventually
from tests.support.gateway import Gateway, document, proxied, running_gateway
from tests.support.origin import OK, Peer, answering, serving


async def busy(gateway: Gateway, upstream: str = "origin") -> tuple[int, int]:
    """Those inside an upstream's bulkhead, and those that wait."""
    await asyncio.sleep(0)
    bulkhead = gateway.plane.node.live.bulkheads[upstream]
    return bulkhead.inside, bulkhead.waiting


def limited(**limits: Any) -> dict[str, Any]:
    return {"upstream": {"limits": limits}}


async def test_a_slow_upstream_does_not_take_the_others_down() -> None:
    """Its places are taken, its queue is full: 503 for it, and 200 for the other upstream all the while."""
    slow = Slow()
    async with serving(slow) as reports, serving(answering(OK)) as origin, AsyncExitStack() as stack:
        text = json.loads(document(origin.url, routes=[{"path": "/*"}, {"path": "/reports/*", "upstream": "reports"}]))
        limits = {"maxConnections": 2, "maxQueueSize": 1, "queueTimeout": 2000}
        text["upstreams"].append({"name": "reports", "url": reports.url, "limits": limits})
        gateway = await stack.enter_async_context(running_gateway(json.dumps(text)))
        waiting = [await stack.enter_async_context(connected(gateway.port)) for _ in range(3)]
        for client in waiting:
            await client.send(get("/reports/x"))
        await eventually(lambda: busy(gateway, "reports"), lambda now: now == (2, 1))
        refused = await gateway.ask(get("/reports/x"))
        assert (refused.status, refused.value("Retry-After")) == (503, "2")
        assert refused.json["message"] == "The upstream service has too many requests"
        assert [(await gateway.ask(get("/"))).status for _ in range(20)] == [200] * 20
        samples = await gateway.metrics()
        assert samples.value("bulkhead_rejected_total", upstream="reports") == 1
        assert samples.value("bulkhead_requests", upstream="reports", state="queued") == 1
        assert slow.most == 2
        for _ in waiting:
            await reports.until(lambda: bool(slow.held))
            slow.let_go()
        answers = await asyncio.gather(*(client.response() for client in waiting))
        assert [answer.status for answer in answers] == [200] * 3
        assert await busy(gateway, "reports") == (0, 0)


async def test_the_wait_for_an_upstream_ends_with_its_timeout() -> None:
    """`limits.queueTimeout`: 503, and nothing of the request was sent."""
    slow = Slow()
    async with (
        proxied(slow, **limited(maxConnections=1, queueTimeout=150)) as (origin, gateway),
        connected(gateway.port) as first,
    ):
        await first.send(get("/1"))
        await origin.arrived()
        assert (await gateway.ask(get("/2"))).status == 503
        slow.let_go()
        assert (await first.response()).status == 200
        assert [one.target for one in origin.received] == ["/1"]


async def test_a_client_that_waits_for_an_upstream_may_leave() -> None:
    """It leaves the queue at once, and the next one is served."""
    slow = Slow()
    async with proxied(slow, **limited(maxConnections=1)) as (origin, gateway), AsyncExitStack() as stack:
        first, second, third = [await stack.enter_async_context(connected(gateway.port)) for _ in range(3)]
        for number, client in enumerate((first, second, third)):
            await client.send(get())
            await eventually(lambda: busy(gateway), lambda now, number=number: now == (1, number))  # type: ignore[misc]  # bound
        second.abort()
        await eventually(lambda: busy(gateway), lambda now: now == (1, 1))
        slow.let_go()
        assert (await first.response()).status == 200
        await origin.arrived(2)
        slow.let_go()
        assert (await third.response()).status == 200


async def test_an_edit_keeps_or_opens_a_bulkhead() -> None:
    """A higher limit lets in who waits, and those inside count; without limits nobody waits any more."""
    slow = Slow()
    async with serving(slow) as origin, AsyncExitStack() as stack:
        text = document(origin.url, **limited(maxConnections=1))
        gateway = await stack.enter_async_context(running_gateway(text))
        waiting = [await stack.enter_async_context(connected(gateway.port)) for _ in range(4)]
        for client in waiting:
            await client.send(get())
        await eventually(lambda: busy(gateway), lambda now: now == (1, 3))
        await gateway.reconfigure(document(origin.url, **limited(maxConnections=2)))
        await origin.arrived(2)
        assert await busy(gateway) == (2, 2)
        await gateway.reconfigure(document(origin.url))
        await origin.arrived(4)
        assert gateway.plane.node.live.bulkheads == {}
        for _ in waiting:
            slow.let_go()
        answers = await asyncio.gather(*(client.response() for client in waiting))
        assert [answer.status for answer in answers] == [200] * 4


async def test_behind_an_open_breaker_nobody_waits_for_a_place() -> None:
    """The places are taken and the breaker is open: the fallback serves at once, rather than 503 after the wait."""

    async def failing(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 10\r\n\r\nfive ")
        await peer.gone()

    async with serving(failing) as broken, serving(answering(OK)) as other, AsyncExitStack() as stack:
        limits = {"maxConnections": 1, "maxQueueSize": 0}
        breaker = {"failureThreshold": 1}
        upstream = {"limits": limits, "circuitBreaker": breaker, "fallback": "other"}
        text = json.loads(document(broken.url, upstream=upstream))
        text["upstreams"].append({"name": "other", "url": other.url})
        gateway = await stack.enter_async_context(running_gateway(json.dumps(text)))
        held = await stack.enter_async_context(connected(gateway.port))
        await held.send(get())
        assert b"500" in (await held.head()).start
        assert await busy(gateway) == (1, 0)
        assert (await gateway.ask(get())).status == 200
        assert (await gateway.metrics()).value("bulkhead_rejected_total") == 0
