"""Endpoints are killed, frozen, reset connections or flap under load: others serve, breakers open and close again."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import DataPlane, data_plane
from tests.e2e.load import CONNECTIONS, under_load
from tests.e2e.origin import echo
from tests.e2e.origin_process import OriginProcess, origin_process
from tests.e2e.outcome import Outcome
from tests.support.client import ask, get
from tests.support.deadline import eventually
from tests.support.origin import Peer, serving
from tests.support.wire import read_content, read_head

pytestmark = [pytest.mark.chaos, pytest.mark.long]
FLAPS = 5
OPEN_MS = 300
RETRY = {"maxAttempts": 3, "backoff": {"initialDelay": 1, "maxDelay": 10}, "budget": {"minPerSecond": 1000}}
BREAKER = {"failureThreshold": 5, "openDuration": OPEN_MS, "successThreshold": 2}
SHARE = {"failureThreshold": "60%", "volumeThreshold": 20}
"""Where there are several endpoints: one of them that fails must not count for all."""
EJECTED = {"consecutiveFailures": 2, "ejectionTime": 300}


@asynccontextmanager
async def before(directory: Path, *origins: str, spare: str = "", **policies: Any) -> AsyncIterator[DataPlane]:
    """A data plane whose route under load leads to these endpoints, under these policies of the upstream."""
    upstream = {"name": "tested", "endpoints": [{"url": url} for url in origins], **policies}
    text = configured(
        origins[0], load={"upstream": "tested"}, upstreams=[upstream, {"name": "spare", "url": spare or origins[0]}]
    )
    async with (
        control_plane(directory, text) as control,
        data_plane(control.address, directory, "a") as plane,
    ):
        await control.until_current(nodes=1)
        yield plane


async def until_told(plane: DataPlane, name: str, count: int = 1, **data: str) -> None:
    """Wait for so many events of that name about the upstream under test."""
    wanted = {"upstream": "tested", **data}

    def enough(answer: Any) -> bool:
        found = [event for event in answer.json["events"] if wanted.items() <= event["data"].items()]
        return len(found) >= count

    await eventually(lambda: plane.admin(f"/events?name={name}"), enough)


async def serves(origin: OriginProcess) -> None:
    """Wait until it answers by itself."""
    await eventually(lambda: ask(origin.port, get("/", "Connection: close")), lambda answer: answer.status == 200)


async def test_one_of_two_endpoints_is_killed_and_comes_back(tmp_path: Path, outcome: Outcome) -> None:
    """What it had at hand goes to the other, and so does the rest until it is back: no request fails."""
    async with (
        origin_process() as one,
        origin_process() as other,
        before(tmp_path, one.url, other.url, retry=RETRY, passiveHealth=EJECTED) as plane,
        under_load(plane.port) as load,
    ):
        outcome.struck("one of two endpoints killed, then started again")
        await one.kill()
        await until_told(plane, "upstream.failure")
        await load.more(200)
        await one.start()
        await until_told(plane, "upstream.recovered")
        outcome.recovered()
        await load.more(200)
    outcome.load(load)
    assert load.failures == []


async def test_the_only_endpoint_is_killed_and_comes_back(tmp_path: Path, outcome: Outcome) -> None:
    """502 while that is tried, then the breaker opens: 503 with Retry-After; back again, a probe closes it."""
    async with (
        origin_process() as origin,
        before(tmp_path, origin.url, circuitBreaker=BREAKER, retry=RETRY) as plane,
        under_load(plane.port, tolerated={502, 503}) as load,
    ):
        outcome.struck("the only endpoint killed, then started again")
        await origin.kill()
        await until_told(plane, "circuit_breaker.opened")
        await load.more_of(503)
        answer = await plane.ask("/load/1")
        assert (answer.status, int(answer.value("retry-after") or 0)) == (503, 1)
        ready = await plane.admin("/health/ready")
        assert (ready.status, ready.json["status"]) == (200, "DEGRADED")
        await until_told(plane, "circuit_breaker.half_open")
        await origin.start()
        await until_told(plane, "circuit_breaker.closed")
        await load.more(100)
        outcome.recovered()
        settled = load.statuses[502] + load.statuses[503]
        await load.more(100)
        assert load.statuses[502] + load.statuses[503] == settled
        assert (await plane.admin("/health/ready")).json["status"] == "UP"
    outcome.load(load)
    assert load.failures == []


async def test_an_endpoint_is_frozen(tmp_path: Path, outcome: Outcome) -> None:
    """It takes requests and answers none: those it had time out, then it has its turn no more, until it thaws."""
    frozen = {"consecutiveFailures": 2, "ejectionTime": 1500}
    async with (
        origin_process() as one,
        origin_process() as other,
        before(
            tmp_path, one.url, other.url, timeout={"response": 500}, passiveHealth=frozen, circuitBreaker=SHARE
        ) as plane,
        under_load(plane.port, tolerated={504}) as load,
    ):
        outcome.struck("one of two endpoints frozen (SIGSTOP), then thawed")
        one.freeze()
        await until_told(plane, "upstream.failure")
        await load.more(300)
        one.thaw()
        await until_told(plane, "upstream.recovered")
        await serves(one)
        outcome.recovered()
        await load.more(200)
    outcome.load(load)
    assert load.failures == []
    assert load.statuses[504] <= 3 * CONNECTIONS


async def test_an_endpoint_that_flaps(tmp_path: Path, outcome: Outcome) -> None:
    """Killed and started again and again: the other carries what it drops, and no request fails."""
    async with (
        origin_process() as one,
        origin_process() as other,
        before(tmp_path, one.url, other.url, retry=RETRY, passiveHealth=EJECTED, circuitBreaker=SHARE) as plane,
        under_load(plane.port) as load,
    ):
        outcome.struck(f"one of two endpoints killed and started {FLAPS} times")
        for turn in range(FLAPS):
            await one.kill()
            await load.more(50)
            await one.start()
            await until_told(plane, "upstream.recovered", turn + 1)
            await load.more(50)
        outcome.recovered()
    outcome.load(load)
    assert load.failures == []


async def test_an_endpoint_that_resets(tmp_path: Path, outcome: Outcome) -> None:
    """Every second request of one endpoint ends in a reset: each is sent to the other, and no request fails."""
    turns = itertools.count()

    async def resetting(peer: Peer) -> None:
        while (head := await read_head(peer.reader)) is not None:
            content = await read_content(peer.reader, head)
            if next(turns) % 2:
                peer.reset()
                return
            body = head.start.rpartition(b" ")[0] + b" " + content.body
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    breaker = {"enabled": False}
    async with (
        serving(resetting) as one,
        serving(echo) as other,
        before(
            tmp_path, one.url, other.url, retry=RETRY, circuitBreaker=breaker, passiveHealth={"enabled": False}
        ) as plane,
    ):
        outcome.struck("one of two endpoints resets every second request")
        async with under_load(plane.port) as load:
            await load.more(300)
        outcome.recovered()
        outcome.load(load)
    assert load.failures == []
    assert next(turns) > 50


async def test_a_fallback_serves_while_the_upstream_is_dead(tmp_path: Path, outcome: Outcome) -> None:
    """But for what was on the wire in the moment of its death no request fails; then the upstream serves again."""
    async with (
        origin_process() as origin,
        origin_process() as spare,
        before(tmp_path, origin.url, spare=spare.url, fallback="spare", circuitBreaker=BREAKER, retry=RETRY) as plane,
        under_load(plane.port, tolerated={502, 503}) as load,
    ):
        outcome.struck("the only endpoint killed where there is a fallback, then started again")
        await origin.kill()
        await load.more(300)
        await until_told(plane, "circuit_breaker.opened")
        await origin.start()
        await until_told(plane, "circuit_breaker.closed")
        outcome.recovered()
        await load.more(200)
    outcome.load(load)
    assert load.failures == []
    assert load.statuses[502] + load.statuses[503] <= CONNECTIONS
