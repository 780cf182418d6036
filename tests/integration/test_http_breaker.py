"""Circuit breakers before real origins that fail, hang, reset and recover; the clock is turned, never waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.client import connected, get, post
from tests.support.clock import Clock
from tests.support.deadline import eventually
from tests.support.gateway import Gateway, document, proxied, running_gateway
from tests.support.origin import OK, Origin, Peer, Script, answering, answering_once, serving
from tests.support.wire import Truncated

BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
POLICY = {"failureThreshold": 2, "openDuration": 30_000, "successThreshold": 1}


class Mood:
    """A script that answers with whatever `answer` is at the time."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    async def __call__(self, peer: Peer) -> None:
        while await peer.request():
            await peer.send(self.answer)


@asynccontextmanager
async def broken(
    script: Script, policy: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Origin, Gateway, Clock]]:
    """An origin behind a breaker with that policy, no retries, and the gateway's clock."""
    clock = Clock()
    upstream = {"circuitBreaker": policy or POLICY, "retry": {"enabled": False}, **options.pop("upstream", {})}
    async with (
        serving(script) as origin,
        running_gateway(document(origin.url, upstream=upstream, **options), clock=clock) as gateway,
    ):
        yield origin, gateway, clock


async def statuses(gateway: Gateway, count: int, data: bytes = get()) -> list[int]:
    return [(await gateway.ask(data)).status for _ in range(count)]


async def deep(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.admin("/health/deep")).json["circuitBreakers"]["origin"]
    return found


async def test_a_breaker_opens_and_closes_again() -> None:
    """Failures pass until the threshold; then 503 at once with the time to wait, a probe after it, and all is well."""
    mood = Mood(BAD)
    async with broken(mood) as (origin, gateway, clock):
        assert await statuses(gateway, 2) == [500, 500]
        refused = await gateway.ask(get())
        assert (refused.status, refused.value("retry-after")) == (503, "30")
        assert refused.json["retryAfter"] == 30
        assert "127.0.0.1" not in refused.json["message"]
        assert len(origin.received) == 2
        clock.turn(29)
        assert (await gateway.ask(get())).value("retry-after") == "1"
        mood.answer = OK
        clock.turn(2)
        assert await statuses(gateway, 3) == [200, 200, 200]
        assert len(origin.received) == 5


async def test_a_failed_probe_opens_again() -> None:
    """One is enough, and the time begins anew."""
    async with broken(answering(BAD)) as (origin, gateway, clock):
        await statuses(gateway, 2)
        clock.turn(31)
        assert await statuses(gateway, 2) == [500, 503]
        assert len(origin.received) == 3
        assert (await gateway.metrics()).value("circuit_breaker_opened_total", upstream="origin") == 2


async def test_the_state_is_seen_everywhere() -> None:
    """Metrics, events, deep health; readiness is degraded, and still 200."""
    mood = Mood(BAD)
    async with broken(mood, POLICY | {"successThreshold": 2}) as (_, gateway, clock):
        assert (await deep(gateway))["state"] == "closed"
        assert (await gateway.metrics()).value("circuit_breaker_state", upstream="origin") == 0
        await statuses(gateway, 3)
        found = await deep(gateway)
        assert (found["state"], found["failures"]) == ("open", 2)
        assert found["lastFailureTime"].endswith("Z")
        ready = await gateway.admin("/health/ready")
        assert (ready.status, ready.json["status"], ready.json["checks"]["upstreams"]) == (200, "DEGRADED", "DEGRADED")
        metrics = await gateway.metrics()
        assert metrics.value("circuit_breaker_state", upstream="origin") == 2
        assert metrics.value("circuit_breaker_refused_total", upstream="origin") == 1
        mood.answer = OK
        clock.turn(31)
        await statuses(gateway, 1)
        assert (await deep(gateway))["state"] == "half_open"
        assert (await gateway.metrics()).value("circuit_breaker_state", upstream="origin") == 1
        await statuses(gateway, 1)
        assert (await gateway.admin("/health/ready")).json["status"] == "UP"
        told = [event for event in gateway.plane.node.live.events.recent if event.name.startswith("circuit_breaker.")]
        assert [event.name.rpartition(".")[2] for event in told] == ["opened", "half_open", "closed"]
        assert all(event.data["upstream"] == "origin" and event.data["reason"] for event in told)


async def hang(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def garbage(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"no http\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "times", "status"),
    [
        (hang, {"response": 50}, 504),
        (hang, {"request": 50}, 504),
        (reset, {}, 502),
        (garbage, {}, 502),
        (answering(BAD), {}, 500),
    ],
    ids=["no answer", "no answer in the request's time", "reset", "garbage", "5xx"],
)
async def test_what_counts_as_a_failure(script: Script, times: dict[str, int], status: int) -> None:
    """Timeouts of either kind, lost connections, malformed answers, 5xx."""
    async with broken(script, upstream={"timeout": times} if times else {}) as (origin, gateway, _):
        assert await statuses(gateway, 3) == [status, status, 503]
        assert len(origin.received) == 2


async def test_a_refused_connection_is_a_failure() -> None:
    """Nothing listens there."""
    async with serving(answering(OK)) as origin:
        gone = origin.url
    upstream = {"circuitBreaker": POLICY, "retry": {"enabled": False}}
    async with running_gateway(document(gone, upstream=upstream)) as gateway:
        assert await statuses(gateway, 3) == [502, 502, 503]


async def test_what_the_gateway_must_not_connect_to_is_no_failure() -> None:
    """A blocked address says nothing about the upstream: no retry, and the breaker stays closed."""
    async with serving(answering(OK)) as origin:
        url = origin.url.replace("127.0.0.1", "localhost")
        blocked = {"blockedIPs": ["127.0.0.0/8", "::1"]}
        text = document(url, security=blocked, upstream={"circuitBreaker": {"failureThreshold": 1}})
        async with running_gateway(text) as gateway:
            assert await statuses(gateway, 3) == [502, 502, 502]
            metrics = await gateway.metrics()
            assert metrics.value("upstream_errors_total", error="connect_not_allowed") == 3
            assert metrics.value("retry_attempts_total") == 0
    assert origin.connections == 0


async def test_an_answer_cut_short_is_a_failure() -> None:
    """The head said 200; the client sees the cut, the breaker counts it."""
    async with broken(answering_once(CUT)) as (_, gateway, _):
        for _ in range(2):
            async with connected(gateway.port) as client:
                await client.send(get())
                with pytest.raises((Truncated, ConnectionError)):
                    await client.response()
        await gateway.settled()
        assert await statuses(gateway, 1) == [503]
        assert (await gateway.metrics()).value("upstream_errors_total", error="connection_lost") == 2


async def test_slow_answers_are_failures() -> None:
    """Where `slowCallMs` says so: the client gets them, and the breaker opens."""
    clock = Clock()

    async def script(peer: Peer) -> None:
        while await peer.request():
            clock.turn(1)
            await peer.send(OK)

    upstream = {"circuitBreaker": {**POLICY, "slowCallMs": 500}}
    async with (
        serving(script) as origin,
        running_gateway(document(origin.url, upstream=upstream), clock=clock) as gateway,
    ):
        assert await statuses(gateway, 3) == [200, 200, 503]


async def test_4xx_are_answers() -> None:
    """The upstream works; it is the request that does not."""
    answer = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
    async with broken(answering(answer)) as (_, gateway, _):
        assert await statuses(gateway, 5) == [429] * 5


async def test_a_client_that_leaves_proves_nothing() -> None:
    """Not while closed; and a half-open breaker gets the place back."""
    mood: list[str] = ["hang"]

    async def script(peer: Peer) -> None:
        while await peer.request():
            if mood[0] == "hang":
                await peer.gone()
                return
            await peer.send(BAD if mood[0] == "bad" else OK)

    async def leave(gateway: Gateway, origin: Origin) -> None:
        before = len(origin.received)
        async with connected(gateway.port) as client:
            await client.send(get())
            await origin.arrived(before + 1)
        await gateway.settled()

    async with broken(script, POLICY | {"halfOpenRequests": 1}) as (origin, gateway, clock):
        for _ in range(3):
            await leave(gateway, origin)
        assert (await deep(gateway))["failures"] == 0
        mood[0] = "bad"
        assert await statuses(gateway, 3) == [500, 500, 503]
        clock.turn(31)
        mood[0] = "hang"
        await leave(gateway, origin)
        assert (await deep(gateway))["state"] == "half_open"
        mood[0] = "good"
        assert await statuses(gateway, 2) == [200, 200]


async def test_probes_are_bounded() -> None:
    """While one is out and only one may be, the others are refused at once."""
    hold: asyncio.Event | None = None

    async def script(peer: Peer) -> None:
        while await peer.request():
            if hold is None:
                await peer.send(BAD)
            else:
                await hold.wait()
                await peer.send(OK)

    async with broken(script, POLICY | {"halfOpenRequests": 1}) as (origin, gateway, clock):
        await statuses(gateway, 2)
        clock.turn(31)
        hold = asyncio.Event()
        async with connected(gateway.port) as client:
            await client.send(get())
            await origin.arrived(3)
            refused = await gateway.ask(get())
            assert (refused.status, refused.value("retry-after")) == (503, "1")
            hold.set()
            assert (await client.response()).status == 200
        assert await statuses(gateway, 1) == [200]


async def test_an_open_breaker_survives_edits() -> None:
    """Of other things of its upstream, of the routes, and of its own policy; not being switched off."""
    async with broken(answering(BAD)) as (origin, gateway, _):

        async def edit(policy: Any, **keys: Any) -> int:
            upstream = {"circuitBreaker": policy, "retry": {"enabled": False}, **keys}
            await gateway.reconfigure(document(origin.url, upstream=upstream))
            return (await gateway.ask(get())).status

        assert await statuses(gateway, 3) == [500, 500, 503]
        assert await edit(POLICY, timeout=1234, metadata={"a": "b"}) == 503
        assert await edit({**POLICY, "failureThreshold": 50}) == 503
        assert await edit(False) == 500
        assert await edit(POLICY) == 500


async def test_the_shared_policy_is_overridden_field_by_field() -> None:
    """What the upstream does not say, the settings say; what neither says is the default."""
    async with serving(answering(BAD)) as origin:
        text = document(
            origin.url,
            circuitBreaker={"failureThreshold": 1, "openDuration": 7000},
            upstream={"circuitBreaker": {"openDuration": 9000}},
        )
        async with running_gateway(text) as gateway:
            assert await statuses(gateway, 1, post(b"x")) == [500]
            assert (await gateway.ask(get())).value("retry-after") == "9"


async def test_switched_off_it_never_opens() -> None:
    """`circuitBreaker: false`, and health does not list it."""
    async with proxied(answering(BAD), circuitBreaker=False) as (_, gateway):
        assert await statuses(gateway, 20) == [500] * 20
        assert (await gateway.admin("/health/deep")).json["circuitBreakers"] == {}


@pytest.mark.parametrize(
    "queue",
    [
        {"backpressure": {"maxConcurrent": 1, "queueTimeout": 60_000}},
        {"upstream": {"limits": {"maxConnections": 1, "queueTimeout": 60_000}}},
        {"connectionPool": {"maxSockets": 1}, "timeouts": {"connect": 60_000}},
    ],
)
async def test_time_spent_in_a_queue_of_the_gateway_is_not_the_upstreams(queue: dict[str, Any]) -> None:
    """What waited here for most of its time and ran out of it there is no failure; what was there all the time is."""
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        while await peer.request():
            await go.wait()
            go.clear()
            await peer.send(OK)

    async with (
        broken(slow, route={"timeout": 10_000}, **queue) as (origin, gateway, clock),
        connected(gateway.port) as first,
        connected(gateway.port) as second,
    ):
        await first.send(get())
        await origin.arrived(1)
        await second.send(get())
        await eventually(gateway.metrics, lambda seen: seen.value("http_requests_in_flight") == 2)
        clock.turn(8)
        go.set()
        assert (await first.response()).status == 200
        await origin.arrived(2)
        clock.turn(3)
        assert (await second.response()).status == 504
        assert (await deep(gateway))["failures"] == 0

        await first.send(get())
        await origin.arrived(3)
        clock.turn(11)
        assert (await first.response()).status == 504
        assert (await deep(gateway))["failures"] == 1
