"""The Redis that counts the limits fails under load, in every way that it can: no request does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import DataPlane, data_plane
from tests.e2e.load import Load, under_load
from tests.e2e.origin import echo
from tests.e2e.outcome import Outcome
from tests.support.deadline import eventually
from tests.support.origin import serving
from tests.support.redis import Redis, running_redis

pytestmark = [pytest.mark.chaos, pytest.mark.long]
PLENTY = {"max": 10_000_000, "windowMs": 60_000, "key": "route"}
ROUNDS = 3


async def redis_is(state: str, *planes: DataPlane) -> None:
    """Wait until readiness of all of them says so."""
    for plane in planes:
        await eventually(
            lambda plane=plane: plane.admin("/health/ready"),  # type: ignore[misc]  # bound now, not when called
            lambda ready: ready.json["checks"]["redis"] == state,
        )


@asynccontextmanager
async def limited_by(
    redis: Redis, directory: Path, mode: str, outcome: Outcome
) -> AsyncIterator[tuple[Load, DataPlane, DataPlane]]:
    """Two data planes under load, whose limit is counted in the Redis; at the end nothing may have failed."""
    async with serving(echo) as origin:
        text = configured(origin.url, load={"rateLimit": PLENTY}, rateLimit=redis.section(mode=mode))
        async with (
            control_plane(directory, text) as control,
            data_plane(control.address, directory, "a") as one,
            data_plane(control.address, directory, "b") as two,
        ):
            await control.until_current(nodes=2)
            await redis_is("UP", one, two)
            async with under_load(one.port, two.port) as load:
                yield load, one, two
            outcome.load(load)
            assert load.failures == []


@pytest.mark.parametrize("mode", ["exact", "leased"])
async def test_redis_killed_under_load_loses_no_request(tmp_path: Path, mode: str, outcome: Outcome) -> None:
    """Killed and started again, empty, several times: every request is answered, and it is counted with each time."""
    async with running_redis() as redis, limited_by(redis, tmp_path, mode, outcome) as (load, one, two):
        for _ in range(ROUNDS):
            await load.more(100)
            outcome.struck(f"Redis killed, then started empty ({mode} limits)")
            await redis.kill()
            await redis_is("DOWN", one, two)
            await load.more(100)
            await redis.start()
            await redis_is("UP", one, two)
            outcome.recovered()
        await load.more(100)
        await one.process.event("rate_limit.store_back")


async def test_redis_that_hangs_under_load_loses_no_request(tmp_path: Path, outcome: Outcome) -> None:
    """Stopped in its tracks: those at hand wait for its timeout, all others go on; it is found when it goes on."""
    async with running_redis() as redis, limited_by(redis, tmp_path, "exact", outcome) as (load, one, two):
        outcome.struck("Redis frozen (SIGSTOP), then thawed")
        redis.pause()
        try:
            await redis_is("DOWN", one, two)
            await load.more(200)
        finally:
            redis.resume()
        await redis_is("UP", one, two)
        outcome.recovered()
        await load.more(100)


async def test_failover_of_redis_under_load_loses_no_request(tmp_path: Path, outcome: Outcome) -> None:
    """Read-only for a while, as the old primary is, with its scripts flushed: every request is answered."""
    async with running_redis() as redis, limited_by(redis, tmp_path, "exact", outcome) as (load, one, two):
        outcome.struck("Redis read-only and without its scripts, then writable")
        await redis.ask("SCRIPT", "FLUSH")
        await load.more(100)
        await redis.ask("REPLICAOF", "127.0.0.1", "1")
        await redis_is("DOWN", one, two)
        await load.more(100)
        await redis.ask("REPLICAOF", "NO", "ONE")
        await redis_is("UP", one, two)
        outcome.recovered()
        await load.more(100)
