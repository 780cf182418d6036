"""Overload with real sockets: who waits, who is shed, what goes on meanwhile, and that every place comes back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.client import RawClient, Response, connected, get, post
from tests.support.deadline import eventually
from tests.support.gateway import Gateway, document, proxied, running_gateway
from tests.support.origin import OK, Peer, answering, serving

PRIORITIES = [{"name": "critical", "weight": 100, "routes": ["/pay"]}, {"name": "default", "weight": 10}]
ROUTES = [{"path": "/*"}, {"path": "/pay"}]


class Slow:
    """An origin that holds every request until it is let go, and knows how many it held at most."""

    def __init__(self) -> None:
        self.held: list[asyncio.Event] = []
        self.most = 0

    async def __call__(self, peer: Peer) -> None:
        while await peer.request():
            go = asyncio.Event()
            self.held.append(go)
            self.most = max(self.most, len(self.held))
            peer.origin.bell.ring()
            await go.wait()
            await peer.send(OK)

    def let_go(self) -> None:
        """Answer the request that is held longest."""
        self.held.pop(0).set()


async def clients(stack: AsyncExitStack, gateway: Gateway, *paths: str) -> list[RawClient]:
    """A client for each path that has sent its request; each is in flight or waits before the next one comes."""
    made = []
    for path in paths:
        before = await busy(gateway)
        client = await stack.enter_async_context(connected(gateway.port))
        await client.send(get(path))
        await eventually(lambda: busy(gateway), lambda now, before=before: now == before + 1)  # type: ignore[misc]  # bound
        made.append(client)
    return made


async def busy(gateway: Gateway) -> int:
    """Requests that have a place, or wait for one."""
    shedding = gateway.plane.node.live.shedding
    await asyncio.sleep(0)
    return shedding.inside + shedding.waiting


async def at_rest(gateway: Gateway) -> None:
    """Wait until every place is free, and nobody waits."""
    await eventually(lambda: busy(gateway), lambda now: now == 0)


async def test_no_more_than_the_limit_reach_the_origin() -> None:
    """The others wait, and are all served in the end: a queue loses nobody."""
    slow = Slow()
    async with (
        proxied(slow, backpressure={"maxConcurrent": 2}) as (origin, gateway),
        AsyncExitStack() as stack,
    ):
        waiting = await clients(stack, gateway, *["/"] * 6)
        assert (await gateway.metrics()).value("requests_queued") == 4
        for _ in waiting:
            await origin.until(lambda: bool(slow.held))
            slow.let_go()
        answers = await asyncio.gather(*(client.response() for client in waiting))
        assert [answer.status for answer in answers] == [200] * 6
        assert slow.most == 2
        await at_rest(gateway)


async def test_the_critical_overtake_and_the_others_give_way() -> None:
    """In a full queue the newcomer of a higher priority takes the place of the last of the lowest: 503, Retry-After."""
    slow, limits = Slow(), {"maxConcurrent": 1, "maxQueueSize": 2, "queueTimeout": 3000}
    async with (
        proxied(slow, backpressure=limits, priorities=PRIORITIES, routes=ROUTES) as (origin, gateway),
        AsyncExitStack() as stack,
    ):
        first, second, third = await clients(stack, gateway, "/", "/", "/")
        pay = await stack.enter_async_context(connected(gateway.port))
        await pay.send(get("/pay"))
        shed = await third.response()
        assert (shed.status, shed.json["retryAfter"], shed.value("Retry-After")) == (503, 3, "3")
        late = await gateway.ask(get("/"))
        assert late.status == 503
        for client in (first, pay, second):
            await origin.until(lambda: bool(slow.held))
            slow.let_go()
            assert (await client.response()).status == 200
        assert (await gateway.settled()).value("requests_shed_total", priority="default") == 2
        await at_rest(gateway)


async def test_the_wait_ends_with_its_timeout() -> None:
    """After `queueTimeout` the answer is 503, and the one in flight goes on."""
    slow = Slow()
    async with (
        proxied(slow, backpressure={"maxConcurrent": 1, "queueTimeout": 150}) as (_, gateway),
        AsyncExitStack() as stack,
    ):
        first, second = await clients(stack, gateway, "/", "/")
        answer = await second.response()
        assert (answer.status, answer.json["message"]) == (503, "The gateway is overloaded")
        slow.let_go()
        assert (await first.response()).status == 200


async def test_a_client_that_leaves_leaves_the_queue() -> None:
    """At once, whether it waits or has its place: the next one has it."""
    slow = Slow()
    async with (
        proxied(slow, backpressure={"maxConcurrent": 1}) as (origin, gateway),
        AsyncExitStack() as stack,
    ):
        first, second, third = await clients(stack, gateway, "/1", "/2", "/3")
        second.abort()
        await eventually(lambda: busy(gateway), lambda now: now == 2)
        first.abort()
        await origin.arrived(2)
        slow.held[-1].set()
        assert (await third.response()).status == 200
        assert [one.target for one in origin.received] == ["/1", "/3"]
        await at_rest(gateway)


async def test_the_rest_of_a_waiting_body_stays_with_its_client() -> None:
    """Of ten megabytes only what a buffer holds is read before the request has its place; then all of it arrives."""
    slow, size = Slow(), 10 * 1024 * 1024
    async with (
        proxied(slow, backpressure={"maxConcurrent": 1}) as (origin, gateway),
        AsyncExitStack() as stack,
    ):
        (first,) = await clients(stack, gateway, "/")
        big = await stack.enter_async_context(connected(gateway.port))
        big.writer.write(post(bytes(size)))
        await eventually(lambda: busy(gateway), lambda now: now == 2)
        connection = next(c for c in gateway.plane.node.listener.connections if c.current and c.current.body.length)
        assert connection.current is not None
        body = connection.current.body
        await eventually(lambda: gateway.admin("/health"), lambda _: body.received > 0)
        assert body.received < 1024 * 1024
        slow.let_go()
        assert (await first.response()).status == 200
        await origin.until(lambda: len(slow.held) == 1)
        assert len(origin.last.body) == size
        slow.let_go()
        assert (await big.response()).status == 200


async def test_a_tunnel_keeps_no_place() -> None:
    """Its place is free from the 101 on: two tunnels stand where one request may be in flight."""

    async def switching(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await peer.gone()

    upgrade = get("/", "Connection: upgrade", "Upgrade: websocket")
    async with (
        proxied(switching, backpressure={"maxConcurrent": 1, "maxQueueSize": 0}) as (_, gateway),
        connected(gateway.port) as first,
        connected(gateway.port) as second,
    ):
        assert (await first.ask(upgrade)).status == 101
        assert (await second.ask(upgrade)).status == 101
        assert await busy(gateway) == 0


async def test_the_gateway_itself_is_never_shed() -> None:
    """With everything refused: health and metrics on both ports answer, and an edit of the configuration is served."""
    slow = Slow()
    refusing = {"maxConcurrent": 1, "thresholds": [{"queueSize": 1, "action": "reject_all"}]}
    async with serving(slow) as origin, AsyncExitStack() as stack:
        text = document(origin.url, backpressure=refusing)
        gateway = await stack.enter_async_context(running_gateway(text))
        first, _second = await clients(stack, gateway, "/", "/")
        assert (await gateway.ask(get("/"))).status == 503
        for path in ("/health", "/health/ready", "/version", "/metrics"):
            assert (await gateway.ask(get(path))).status == 200
            assert (await gateway.admin(path)).status == 200
        overload = (await gateway.admin("/health/deep")).json["overload"]
        assert (overload["inFlight"], overload["queued"], overload["limit"]) == (1, 1, 1)
        assert overload["stages"] == [{"queueSize": 1, "action": "reject_all"}]
        assert (await gateway.metrics()).value("overload_stages", action="reject_all") == 1
        await gateway.reconfigure(document(origin.url, backpressure={"maxConcurrent": 3}))
        await origin.arrived(2)
        assert (await gateway.metrics()).value("overload_stages", action="reject_all") == 0
        slow.let_go()
        assert (await first.response()).status == 200


async def test_three_times_the_load_leaves_the_critical_unharmed() -> None:
    """A third of the load is critical, as much as the origin can do: 99 % of it at least succeeds, others are shed."""
    waves, each = 20, 12

    async def steady(peer: Peer) -> None:
        while await peer.request():
            await asyncio.sleep(0.005)  # what an answer takes here; nothing is measured by it
            await peer.send(OK)

    limits = {"maxConcurrent": 4, "maxQueueSize": 12, "queueTimeout": 2000}
    options: dict[str, Any] = {"backpressure": limits, "priorities": PRIORITIES, "routes": ROUTES}
    async with proxied(steady, **options) as (_, gateway), AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connected(gateway.port)) for _ in range(3 * each)]

        async def one(number: int, client: RawClient) -> tuple[bool, list[int]]:
            critical = number % 3 == 0
            path = "/pay" if critical else "/"
            return critical, [(await client.ask(get(path))).status for _ in range(waves)]

        told = await asyncio.gather(*(one(number, client) for number, client in enumerate(opened)))
        paid = [status for critical, statuses in told if critical for status in statuses]
        others = [status for critical, statuses in told if not critical for status in statuses]
        assert paid.count(200) >= 0.99 * len(paid)
        assert set(others) == {200, 503}
        samples = await gateway.settled()
        assert samples.value("requests_shed_total", priority="default") == others.count(503)
        assert samples.value("http_requests_total") == 3 * each * waves
        await at_rest(gateway)


async def test_a_noisy_route_takes_no_place_from_others() -> None:
    """What its limit refuses never reaches the queue, so another route's request finds room at once."""
    slow = Slow()
    routes = [{"path": "/noisy", "rateLimit": {"max": 1, "windowMs": 60_000}}, {"path": "/quiet"}]
    limits = {"maxConcurrent": 2, "maxQueueSize": 0}
    async with (
        proxied(slow, backpressure=limits, routes=routes) as (origin, gateway),
        AsyncExitStack() as stack,
    ):
        (noisy,) = await clients(stack, gateway, "/noisy")
        answers: list[Response] = [await gateway.ask(get("/noisy")) for _ in range(10)]
        assert {answer.status for answer in answers} == {429}
        (quiet,) = await clients(stack, gateway, "/quiet")
        await origin.arrived(2)
        slow.let_go()
        slow.let_go()
        assert [(await client.response()).status for client in (noisy, quiet)] == [200, 200]


async def test_without_memory_no_connection_is_accepted() -> None:
    """`--memory-limit`, passed by far: traffic is refused, the admin port answers and says why."""
    async with serving(answering(OK)) as origin, running_gateway(document(origin.url), memory_limit=1) as gateway:
        samples = await eventually(gateway.metrics, lambda found: found.value("memory_pressure") == 2)
        assert samples.value("connections_refused_total") == 0
        async with connected(gateway.port) as client:
            assert await client.whole(get()) is None
        assert (await gateway.metrics()).value("connections_refused_total") == 1
        assert (await gateway.admin("/health/deep")).json["overload"]["memory"]["pressure"] == "stop"


@pytest.mark.parametrize("how", ["answered", "client gone", "origin gone", "timeout"])
async def test_a_place_comes_back_however_it_ends(how: str) -> None:
    """Served, abandoned by either side, or too slow: the gate and the bulkhead are empty afterwards."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if how == "answered":
            await peer.send(OK)
        elif how == "origin gone":
            peer.reset()
        await peer.gone()

    options: dict[str, Any] = {"backpressure": {"maxConcurrent": 5}, "upstream": {"limits": {"maxConnections": 5}}}
    if how == "timeout":
        options["proxy"] = {"timeout": {"request": 200}}
    async with proxied(script, **options) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get())
        await origin.arrived()
        if how == "client gone":
            client.abort()
        else:
            status = (await client.response()).status
            assert status == {"answered": 200, "origin gone": 502, "timeout": 504}[how]
        await at_rest(gateway)
        assert gateway.plane.node.live.bulkheads["origin"].inside == 0
