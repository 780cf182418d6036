"""Rate limits counted in a real Redis: exact over nodes, and never in the way of a request when Redis fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.client import Response, connected, get
from tests.support.deadline import eventually
from tests.support.gateway import Gateway, document, running_gateway
from tests.support.origin import OK, Origin, answering, serving
from tests.support.redis import Redis, running_redis

HOUR = 3_600_000
MONTH = 1000 * HOUR
QUICK = {"timeout": 200}
"""How long requests wait for a Redis that hangs, in ms."""


def hourly(limit: int, **more: Any) -> dict[str, Any]:
    """A limit for all clients together, to which nothing comes back while a test runs."""
    return {"max": limit, "windowMs": HOUR, "key": "route", **more}


@asynccontextmanager
async def limited(redis: Redis, rule: dict[str, Any], **section: Any) -> AsyncIterator[tuple[Origin, Gateway]]:
    """A gateway whose only route has the rule, and which has found its Redis."""
    async with serving(answering(OK)) as origin:
        text = document(origin.url, route={"name": "r", "rateLimit": rule}, rateLimit=redis.section(**section))
        async with running_gateway(text) as gateway:
            await found(gateway)
            yield origin, gateway


async def checked(gateway: Gateway) -> str:
    """What readiness says of Redis."""
    return str((await gateway.admin("/health/ready")).json["checks"]["redis"])


async def found(gateway: Gateway) -> None:
    await eventually(lambda: checked(gateway), lambda state: state == "UP")


async def missed(gateway: Gateway) -> None:
    await eventually(lambda: checked(gateway), lambda state: state == "DOWN")


async def statuses(gateway: Gateway, count: int) -> list[int]:
    """One request after the other, on one connection."""
    async with connected(gateway.port) as client:
        return [(await client.ask(get())).status for _ in range(count)]


async def storm(gateway: Gateway, clients: int, each: int) -> list[int]:
    """So many clients at once."""
    answers = await asyncio.gather(*(statuses(gateway, each) for _ in range(clients)))
    return [status for answer in answers for status in answer]


# ---- what is granted


@pytest.mark.parametrize("algorithm", ["token-bucket", "sliding-window", "fixed-window"])
async def test_nodes_share_a_limit_exactly(algorithm: str) -> None:
    """Three nodes under load at once grant the limit, no more and no less."""
    async with running_redis() as redis, limited(redis, hourly(50, algorithm=algorithm)) as (_, one):
        text = one.config.read_text()
        async with running_gateway(text) as two, running_gateway(text) as three:
            await found(two)
            await found(three)
            answers = await asyncio.gather(*(storm(gateway, 5, 10) for gateway in (one, two, three)))
    granted = [status for answer in answers for status in answer]
    assert (granted.count(200), granted.count(429)) == (50, 100)


async def test_what_the_client_is_told() -> None:
    """The same fields as of a local limit, and the reason of a refusal."""
    async with (
        running_redis() as redis,
        limited(redis, hourly(2, message="Enough")) as (_, gateway),
        connected(gateway.port) as client,
    ):
        first, second, third = [await client.ask(get()) for _ in range(3)]
    assert [answer.value("x-ratelimit-remaining") for answer in (first, second, third)] == ["1", "0", "0"]
    assert first.value("ratelimit-policy") == '"route";q=2;w=3600'
    assert 1798 <= _seconds(first) <= 1801
    assert third.status == 429
    assert third.json["message"] == "Enough"
    assert 1795 <= int(third.value("retry-after") or 0) <= 1800


def _seconds(answer: Response) -> int:
    return int((answer.value("ratelimit") or "t=0").rpartition("t=")[2])


async def test_a_refused_request_takes_nothing_from_other_limits() -> None:
    """All limits of a request are decided at once; a shadow counts what the others let through."""
    async with running_redis() as redis, serving(answering(OK)) as origin:
        shadow = {"path": "/*", "max": 1, "windowMs": HOUR, "key": "route", "shadow": True}
        section = redis.section(perRoute=[shadow], **{"global": hourly(3)})
        routes: list[dict[str, Any]] = [
            {"path": "/a", "name": "a", "rateLimit": hourly(1)},
            {"path": "/b", "name": "b"},
        ]
        async with running_gateway(document(origin.url, routes=routes, rateLimit=section)) as gateway:
            await found(gateway)
            async with connected(gateway.port) as client:
                seen = [(await client.ask(get(path))).status for path in ("/a", "/a", "/a", "/b", "/b", "/b")]
            metrics = await gateway.settled()
    assert seen == [200, 429, 429, 200, 200, 429]
    assert metrics.value("rate_limit_exceeded_total") == 3
    assert metrics.value("rate_limit_shadow_exceeded_total") == 2


async def test_checks_of_one_turn_share_a_round_trip() -> None:
    """Many requests that arrive together need few calls."""
    async with running_redis() as redis, limited(redis, hourly(10_000)) as (_, gateway):
        await storm(gateway, 30, 10)
        metrics = await gateway.settled()
    assert metrics.value("http_requests_total", status="200") == 300
    assert metrics.value("rate_limit_store_calls_total") < 250


async def test_counts_survive_edits() -> None:
    """An edit that does not touch the rule meets the same counts, over the same connection."""
    async with running_redis() as redis, limited(redis, hourly(2)) as (origin, gateway):
        assert await statuses(gateway, 1) == [200]
        route = {"name": "r", "rateLimit": hourly(2), "timeout": 1234}
        await gateway.reconfigure(document(origin.url, route=route, rateLimit=redis.section()))
        assert await statuses(gateway, 2) == [200, 429]
        clients = await redis.ask("CLIENT", "LIST", "TYPE", "normal")
        assert len([line for line in clients.splitlines() if "cmd=evalsha" in line]) == 1
        await gateway.reconfigure(document(origin.url, route={"name": "r", "rateLimit": hourly(2)}))
        assert await checked(gateway) == "DISABLED"
        assert await statuses(gateway, 3) == [200, 200, 429]


async def test_an_edit_of_the_store_costs_no_request() -> None:
    """Requests that wait for the one before are answered by it, though only Redis may decide."""
    async with running_redis() as redis, limited(redis, hourly(100_000), onStoreError="closed") as (origin, gateway):
        load = asyncio.create_task(storm(gateway, 8, 100))
        for number in range(3):
            store = {"url": redis.url, "timeout": 1000, "keyPrefix": f"other{number}:"}
            section = redis.section(onStoreError="closed", redis=store)
            await gateway.reconfigure(document(origin.url, route={"rateLimit": hourly(100_000)}, rateLimit=section))
        assert set(await load) == {200}


async def test_every_count_in_redis_ends_by_itself() -> None:
    """Each key has a time to live, and a name that gives no header's value away."""
    async with running_redis() as redis, limited(redis, hourly(5, key="header:X-Token")) as (_, gateway):
        assert (await gateway.ask(get("/", "X-Token: secret"))).status == 200
        keys = [key for key in (await redis.ask("KEYS", "*")).splitlines() if "probe" not in key]
        assert len(keys) == 1
        assert keys[0].startswith("flexgate:")
        assert "secret" not in keys[0]
        assert 0 < int(await redis.ask("TTL", keys[0])) <= HOUR / 1000 + 2


async def test_a_redis_with_a_password_and_a_database() -> None:
    """Both stand in the URL; the password is shown nowhere."""
    async with running_redis("--requirepass", "s3cret") as redis, serving(answering(OK)) as origin:
        store = {"url": f"redis://:s3cret@127.0.0.1:{redis.port}/5", "timeout": 1000}
        route = {"rateLimit": hourly(1)}
        text = document(origin.url, route=route, rateLimit=redis.section(redis=store))
        async with running_gateway(text) as gateway:
            await found(gateway)
            assert await statuses(gateway, 2) == [200, 429]
            assert "s3cret" not in (await gateway.admin("/health/deep")).body.decode()
        keys = await redis.ask("KEYS", "*", flags=("-a", "s3cret", "-n", "5"))
        assert len(keys.splitlines()) == 2  # the count, and the probe's


# ---- when Redis fails


async def test_a_lost_script_is_sent_again() -> None:
    """SCRIPT FLUSH costs no request and no count."""
    async with running_redis() as redis, limited(redis, hourly(3)) as (_, gateway):
        assert await statuses(gateway, 1) == [200]
        assert await redis.ask("SCRIPT", "FLUSH") == "OK"
        assert await statuses(gateway, 3) == [200, 200, 429]
        assert (await gateway.metrics()).value("rate_limit_store_errors_total") == 0


@pytest.mark.parametrize(
    ("word", "expected"), [("local", [200, 200, 429, 429]), ("open", [200] * 4), ("closed", [503] * 4)]
)
async def test_without_redis_the_word_decides(word: str, expected: list[int]) -> None:
    """`onStoreError`: this node's share, everything, or nothing; readiness is degraded and stays 200."""
    async with running_redis() as redis, limited(redis, hourly(2), onStoreError=word) as (_, gateway):
        await redis.kill()
        await missed(gateway)
        assert await statuses(gateway, 4) == expected
        ready = await gateway.admin("/health/ready")
        assert (ready.status, ready.json["status"]) == (200, "DEGRADED")
        if word == "closed":
            refused = await gateway.ask(get())
            assert refused.value("retry-after") == "1"
            assert refused.json["error"] == "Service Unavailable"
        metrics = await gateway.metrics()
        assert metrics.value("rate_limit_store_fallbacks_total") >= 4
        assert metrics.value("rate_limit_store_up") == 0


async def test_a_killed_redis_loses_no_request_and_is_found_again() -> None:
    """Every request under load is answered; once Redis is back, it counts again."""
    async with running_redis() as redis, limited(redis, hourly(100_000)) as (_, gateway):
        load = asyncio.create_task(storm(gateway, 8, 150))
        await eventually(gateway.metrics, lambda found: found.value("http_requests_total") > 100)
        await redis.kill()
        await eventually(gateway.metrics, lambda seen: seen.value("rate_limit_store_errors_total") >= 1)
        await redis.start()
        assert set(await load) == {200}
        await found(gateway)
        before = (await gateway.metrics()).value("rate_limit_store_calls_total")
        assert await statuses(gateway, 3) == [200] * 3
        metrics = await gateway.metrics()
        assert metrics.value("rate_limit_store_calls_total") == before + 3
        events = gateway.plane.node.live.events.counts
        assert (events["rate_limit.store_lost"], events["rate_limit.store_back"]) == (1, 1)


async def test_a_redis_that_hangs_holds_nobody_up() -> None:
    """Those at hand wait for its timeout at most, all others not at all; it is found again when it goes on."""
    async with running_redis() as redis, serving(answering(OK)) as origin:
        section = redis.section(redis={"url": redis.url, **QUICK})
        text = document(origin.url, route={"rateLimit": hourly(1000)}, rateLimit=section)
        async with running_gateway(text) as gateway:
            await found(gateway)
            redis.pause()
            try:
                loop = asyncio.get_running_loop()
                begun = loop.time()
                assert set(await storm(gateway, 5, 1)) == {200}
                assert loop.time() - begun < 2.0
                begun = loop.time()
                assert set(await storm(gateway, 5, 20)) == {200}
                assert await checked(gateway) == "DOWN"
            finally:
                redis.resume()
            await found(gateway)
            assert await statuses(gateway, 2) == [200, 200]


async def test_a_replica_that_may_not_write_does_not_count() -> None:
    """After a failover the old primary refuses writes: requests go on, and it is used once it may write again."""
    async with running_redis() as redis, limited(redis, hourly(1000)) as (_, gateway):
        assert await redis.ask("REPLICAOF", "127.0.0.1", "1") == "OK"
        assert await statuses(gateway, 3) == [200] * 3
        await missed(gateway)
        assert "READONLY" in (await gateway.admin("/health/deep")).json["rateLimits"]["store"][0]["lastError"]
        assert await redis.ask("REPLICAOF", "NO", "ONE") == "OK"
        await found(gateway)


async def test_connections_that_redis_closes_when_idle_are_no_failure() -> None:
    """A closed connection with nobody waiting is opened again, quietly."""
    async with running_redis() as redis, limited(redis, hourly(2), onStoreError="closed") as (_, gateway):
        assert await statuses(gateway, 1) == [200]
        await redis.ask("CLIENT", "KILL", "TYPE", "normal")
        assert await statuses(gateway, 2) == [200, 429]
        assert (await gateway.metrics()).value("rate_limit_store_errors_total") == 0


async def test_a_gateway_that_starts_without_redis_serves() -> None:
    """The first requests wait for the connection a moment at most; Redis is used when it comes."""
    async with running_redis() as redis, serving(answering(OK)) as origin:
        await redis.kill()
        text = document(origin.url, route={"rateLimit": hourly(1000)}, rateLimit=redis.section())
        async with running_gateway(text) as gateway:
            assert await statuses(gateway, 5) == [200] * 5
            await redis.start()
            await found(gateway)


# ---- leased


async def test_leases_stay_within_their_bound() -> None:
    """Of a limit of 300 a node that goes quiet keeps a tenth at most from the others, and nobody gets too many."""
    async with (
        running_redis() as redis,
        limited(redis, hourly(300), mode="leased") as (_, one),
        running_gateway(one.config.read_text()) as two,
    ):
        await found(two)
        quiet = await statuses(one, 100)
        busy = await storm(two, 6, 60)
    assert quiet.count(200) == 100
    assert 300 - 30 <= quiet.count(200) + busy.count(200) <= 300


async def test_leases_over_time_stay_within_their_bound() -> None:
    """Three nodes that want far more than flows in: in any stretch of time, the limit and a tenth of it at most."""
    rule = {"max": 200, "windowMs": 1000, "key": "route"}
    async with running_redis() as redis, limited(redis, rule, mode="leased") as (_, one):
        text = one.config.read_text()
        async with running_gateway(text) as two, running_gateway(text) as three:
            await found(two)
            await found(three)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            answers = await asyncio.gather(*(storm(gateway, 4, 150) for gateway in (one, two, three)))
            passed = loop.time() - begun
    granted = sum(answer.count(200) for answer in answers)
    assert granted <= 200 + 200 * passed + 20
    assert granted >= min(1800, 200 + 200 * passed) * 0.8


async def test_most_leased_requests_make_no_call() -> None:
    """One call for many requests once it is known how many a key needs; a refusal is known here until its time."""
    async with running_redis() as redis, limited(redis, hourly(2000, windowMs=MONTH), mode="leased") as (_, gateway):
        assert set(await statuses(gateway, 1000)) == {200}
        metrics = await gateway.metrics()
        assert metrics.value("rate_limit_leases_total") < 100
        answers = await statuses(gateway, 1100)
        assert answers.count(200) == 1000
        after = (await gateway.metrics()).value("rate_limit_store_calls_total")
        assert set(await statuses(gateway, 100)) == {429}
        assert (await gateway.metrics()).value("rate_limit_store_calls_total") == after


async def test_all_leased_limits_of_a_request_act_together() -> None:
    """What one refuses costs the others nothing; shadow limits count."""
    async with running_redis() as redis, serving(answering(OK)) as origin:
        shadow = {"path": "/*", "max": 1, "windowMs": HOUR, "key": "route", "shadow": True}
        section = redis.section(mode="leased", perRoute=[shadow], **{"global": hourly(3)})
        routes: list[dict[str, Any]] = [
            {"path": "/a", "name": "a", "rateLimit": hourly(1)},
            {"path": "/b", "name": "b"},
        ]
        async with running_gateway(document(origin.url, routes=routes, rateLimit=section)) as gateway:
            await found(gateway)
            async with connected(gateway.port) as client:
                seen = [(await client.ask(get(path))).status for path in ("/a", "/a", "/a", "/b", "/b", "/b")]
                told = await client.ask(get("/b"))
    assert seen == [200, 429, 429, 200, 200, 429]
    assert told.value("x-ratelimit-remaining") == "0"


@pytest.mark.parametrize(("limit", "granted"), [(100_000, 500), (60, 60)])
async def test_many_that_need_several_leases_are_all_decided_by_redis(limit: int, granted: int) -> None:
    """A hundred at once, two limits, no lease yet, and only Redis may decide: nobody hears that it cannot."""
    async with running_redis() as redis, serving(answering(OK)) as origin:
        section = redis.section(mode="leased", onStoreError="closed", **{"global": hourly(limit, windowMs=MONTH)})
        text = document(origin.url, route={"name": "r", "rateLimit": hourly(100_000)}, rateLimit=section)
        async with running_gateway(text) as gateway:
            await found(gateway)
            answers = await storm(gateway, 100, 5)
            metrics = await gateway.settled()
    assert set(answers) <= {200, 429}
    assert granted * 0.9 <= answers.count(200) <= granted
    assert metrics.value("rate_limit_store_fallbacks_total") == 0


async def test_a_killed_redis_costs_no_leased_request() -> None:
    """As with exact limits: every request is answered, and Redis is found again."""
    async with running_redis() as redis, limited(redis, hourly(100_000), mode="leased") as (_, gateway):
        load = asyncio.create_task(storm(gateway, 8, 150))
        await eventually(gateway.metrics, lambda seen: seen.value("http_requests_total") > 100)
        await redis.kill()
        await redis.start()
        assert set(await load) == {200}
        await found(gateway)
        assert set(await statuses(gateway, 5)) == {200}
