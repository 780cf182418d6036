"""Several endpoints that fail in every way there is, behind a gateway: who is asked, and what clients get."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

import pytest

from tests.support.client import get
from tests.support.deadline import Bell, eventually
from tests.support.gateway import Gateway, document, running_gateway
from tests.support.origin import OK, Origin, Peer, Script, answering, serving

LONG = 600_000
NO_BREAKER: dict[str, Any] = {"circuitBreaker": {"enabled": False}, "retry": {"enabled": False}}
"""What happens here is the endpoints' doing alone."""
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def text(*urls: str, **upstream: Any) -> str:
    """A configuration with these endpoints."""
    listed = [{"url": url} for url in urls]
    return document("", upstream={"url": "", "endpoints": listed, **NO_BREAKER, **upstream})


@asynccontextmanager
async def spread(*scripts: Script, **upstream: Any) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """An origin for each script, and a gateway with all of them as endpoints of one upstream."""
    async with AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(serving(script)) for script in scripts]
        urls = [origin.url for origin in origins]
        yield origins, await stack.enter_async_context(running_gateway(text(*urls, **upstream)))


async def statuses(gateway: Gateway, count: int, *lines: str) -> list[int]:
    """Of so many requests, one after the other."""
    return [(await gateway.ask(get("/", *lines))).status for _ in range(count)]


async def ejected(gateway: Gateway) -> float:
    return (await gateway.metrics()).value("upstream_endpoints", upstream="origin", state="ejected")


async def told(gateway: Gateway) -> list[str]:
    """The events about upstreams, by name."""
    found = (await gateway.admin("/events")).json["events"]
    return [one["event"] for one in found if one["event"].startswith("upstream.")]


async def reset_each(peer: Peer) -> None:
    """Reads a request and resets."""
    await peer.request()
    peer.reset()


async def hang(peer: Peer) -> None:
    """Reads and never says anything."""
    while await peer.request():
        pass


async def garbage(peer: Peer) -> None:
    """Speaks something else."""
    await peer.request()
    await peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize(
    "script", [reset_each, hang, garbage, answering(UNAVAILABLE)], ids=["resets", "hangs", "garbage", "503"]
)
async def test_an_endpoint_that_fails_is_soon_asked_no_more(script: Script) -> None:
    """After three failures its share goes to the others, and clients notice nothing more."""
    rules = {"passiveHealth": {"ejectionTime": LONG}, "timeout": {"response": 60}}
    async with spread(script, answering(OK), answering(OK), **rules) as (origins, gateway):
        first = await statuses(gateway, 9)
        assert sum(status != 200 for status in first) <= 3
        assert await ejected(gateway) == 1
        asked = len(origins[0].received)
        assert await statuses(gateway, 20) == [200] * 20
        assert len(origins[0].received) == asked
        found = await gateway.metrics()
        assert found.value("upstream_ejections_total", upstream="origin") == 1
        assert found.value("upstream_endpoints", upstream="origin", state="available") == 2
        assert await told(gateway) == ["upstream.failure"]
        ready = (await gateway.admin("/health/ready")).json
        assert (ready["status"], ready["checks"]["upstreams"]) == ("DEGRADED", "DEGRADED")


async def test_an_endpoint_where_nobody_listens() -> None:
    """The same; its failures cost a refused connection each."""
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        free = unused.getsockname()[1]
    async with serving(answering(OK)) as origin:
        config = text(f"http://127.0.0.1:{free}", origin.url, passiveHealth={"ejectionTime": LONG})
        async with running_gateway(config) as gateway:
            assert sum(status != 200 for status in await statuses(gateway, 8)) <= 3
            assert await statuses(gateway, 20) == [200] * 20
            assert await ejected(gateway) == 1


class Flapping:
    """An origin that is ill or well as it is told."""

    def __init__(self) -> None:
        self.well = False

    async def script(self, peer: Peer) -> None:
        while await peer.request():
            await peer.send(OK if self.well else UNAVAILABLE)


async def test_an_endpoint_that_recovers_is_used_again() -> None:
    """By itself, once its time is over; until then and since, nobody sees an error."""
    flapping = Flapping()
    rules = {"passiveHealth": {"ejectionTime": 250}}
    async with spread(flapping.script, answering(OK), **rules) as (origins, gateway):

        async def out() -> float:
            await statuses(gateway, 2)
            return await ejected(gateway)

        await eventually(out, lambda count: count == 1)
        flapping.well = True
        asked = len(origins[0].received)

        async def again() -> int:
            assert await statuses(gateway, 2) == [200, 200]
            return len(origins[0].received)

        await eventually(again, lambda count: count > asked + 3)
        assert set(await told(gateway)) == {"upstream.failure", "upstream.recovered"}


async def test_a_single_endpoint_stays_whatever_it_does() -> None:
    """There is nothing to use instead; the client gets its answer."""
    async with spread(answering(UNAVAILABLE)) as (origins, gateway):
        assert await statuses(gateway, 10) == [503] * 10
        assert len(origins[0].received) == 10
        assert await ejected(gateway) == 0


async def test_an_ejection_outlives_edits() -> None:
    """Of a time, of the policy, of another endpoint."""
    async with spread(answering(UNAVAILABLE), answering(OK), passiveHealth={"ejectionTime": LONG}) as (
        origins,
        gateway,
    ):
        await statuses(gateway, 8)
        assert await ejected(gateway) == 1
        urls = [origin.url for origin in origins]
        passive = {"ejectionTime": LONG}
        await gateway.reconfigure(text(*urls, passiveHealth=passive, timeout=4321, loadBalancer="random"))
        assert await ejected(gateway) == 1
        async with serving(answering(OK)) as third:
            await gateway.reconfigure(text(*urls, third.url, passiveHealth=passive))
            assert await statuses(gateway, 12) == [200] * 12
            assert len(third.received) == 6
            await gateway.reconfigure(text(*urls, passiveHealth={"enabled": False}))
            assert await ejected(gateway) == 0


async def test_a_slow_endpoint_gets_no_more_than_it_bears() -> None:
    """least-request: while one holds its requests, all others go to those that answer."""
    held = Bell()
    going: list[bool] = []

    async def slow(peer: Peer) -> None:
        while await peer.request():
            await held.until(lambda: bool(going))
            await peer.send(OK)

    scripts = (slow, answering(OK))
    async with spread(*scripts, loadBalancer="least-request") as (origins, gateway), asyncio.TaskGroup() as group:
        while not origins[0].received:
            group.create_task(gateway.ask(get()))
            await gateway.admin("/health/live")
        stuck = len(origins[0].received)
        assert await statuses(gateway, 40) == [200] * 40
        assert len(origins[0].received) == stuck
        going.append(True)
        held.ring()


@pytest.mark.parametrize(
    ("on", "line"),
    [("header:X-Tenant", "X-Tenant: {}"), ("cookie:sid", "Cookie: a=b; sid={}")],
)
async def test_a_key_stays_with_its_endpoint(on: str, line: str) -> None:
    """consistent-hash: each key has one, all have some; when one fails, only its keys go elsewhere, and come back."""
    async with spread(*[answering(OK)] * 3, loadBalancer={"policy": "consistent-hash", "on": on}) as (origins, gateway):

        async def home(key: str) -> int:
            before = [len(origin.received) for origin in origins]
            assert await statuses(gateway, 3, line.format(key)) == [200] * 3
            (found,) = [n for n, origin in enumerate(origins) if len(origin.received) - before[n] == 3]
            return found

        keys = [f"tenant-{n}" for n in range(72)]  # fewer could all go one way by chance
        before = [await home(key) for key in keys]
        assert set(before) == {0, 1, 2}
        health = next(
            pool.health for pool in gateway.plane.node.live.pools.values() if str(origins[0].port) in repr(pool)
        )
        health.probed(False)
        during = [await home(key) for key in keys]
        assert {home for home, was in zip(during, before, strict=True) if was == 0} == {1, 2}
        assert all(now == was for now, was in zip(during, before, strict=True) if was)
        health.probed(True)
        assert [await home(key) for key in keys] == before


@pytest.mark.parametrize("policy", ["round-robin", "least-request", "ewma", "random"])
async def test_every_policy_uses_every_endpoint(policy: str) -> None:
    """Under requests at the same time, all are answered and no endpoint is left out."""
    async with spread(*[answering(OK)] * 3, loadBalancer=policy) as (origins, gateway):
        answers: list[list[int]] = await asyncio.gather(*(statuses(gateway, 15) for _ in range(8)))
        assert {status for found in answers for status in found} == {200}
        assert all(len(origin.received) >= 5 for origin in origins)


@pytest.mark.parametrize("policy", ["round-robin", "consistent-hash"])
async def test_endpoints_come_and_go_under_load(policy: str) -> None:
    """No request fails while an edit takes one out and puts another in."""
    rule = {"policy": policy, **({"on": "header:K"} if policy == "consistent-hash" else {})}
    async with spread(*[answering(OK)] * 3, loadBalancer=rule) as (origins, gateway):
        done = asyncio.Event()
        failed: list[int] = []

        async def load(number: int, over: Callable[[], bool]) -> None:
            while not over():
                status = (await gateway.ask(get("/", f"K: {number}"))).status
                if status != 200:
                    failed.append(status)

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(load(number, done.is_set))
            one, two, three = (origin.url for origin in origins)
            for urls in ((one, two), (two, three), (three,), (one, three)):
                await gateway.reconfigure(text(*urls, loadBalancer=rule))
            done.set()
        assert failed == []


async def test_a_connection_that_was_closed_meanwhile_moves_no_key() -> None:
    """consistent-hash: the request is sent again to the same endpoint, which has done nothing wrong."""

    async def one_each(peer: Peer) -> None:
        if await peer.request():
            await peer.send(OK)
            await peer.request()
        peer.close()

    rule = {"policy": "consistent-hash", "on": "header:K"}
    async with spread(*[one_each] * 4, loadBalancer=rule) as (origins, gateway):
        for key in range(8):
            assert await statuses(gateway, 5, f"K: {key}") == [200] * 5
        homes = [{received.value("K") for received in origin.received} for origin in origins]
        assert sum(map(len, homes)) == 8
