"""What a limit costs that all nodes share: counted in memory, in Redis for every request, and on lease from Redis.

Redis runs on the cores of the load; only the data plane's CPU counts. With `onStoreError: closed` a request that Redis
did not decide is a 503, which makes the run invalid.
"""

from __future__ import annotations

from typing import Any

from tests.bench import compare
from tests.bench.invalid import InvalidRunError
from tests.bench.load import Load
from tests.bench.origin import SMALL
from tests.bench.outcome import Outcome, at_most
from tests.bench.probe import ask
from tests.bench.race import race
from tests.bench.redis import Redis
from tests.bench.stage import Proxy, Stage

CONNECTIONS = 64
_TIMEOUT_MS = 1000
"""Redis shares its core with load and origin here."""


def run(stage: Stage) -> Outcome:
    """FlexGate against itself; all three run at once and take turns."""
    redis = stage.redis()
    shared: dict[str, Any] = {
        "backend": "redis",
        "onStoreError": "closed",
        "redis": {"url": redis.url, "timeout": _TIMEOUT_MS},
    }
    proxies = [
        stage.flexgate(name="local"),
        stage.flexgate(name="exact", limits={**shared, "mode": "exact"}),
        stage.flexgate(name="leased", limits={**shared, "mode": "leased"}),
    ]
    load = Load(SMALL, connections=CONNECTIONS)
    _prove(redis, proxies[1], load)
    samples = race(stage, proxies, load)
    return Outcome(
        compare.rows(samples),
        [
            compare.ratio(samples, "cpu_us", "exact", "local", name="CPU of exact / local", goal=at_most(1.5)),
            compare.ratio(samples, "cpu_us", "leased", "local", name="CPU of leased / local"),
        ],
        compare.notes(samples),
    )


def _prove(redis: Redis, exact: Proxy, load: Load) -> None:
    """InvalidRunError unless Redis is asked about each request: a count in memory would flatter."""
    before = redis.scripts()
    ask(exact.port, load)
    if redis.scripts() != before + 1:
        raise InvalidRunError("a request made no call to Redis: its limit is counted elsewhere")
