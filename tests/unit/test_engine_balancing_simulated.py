"""Policies compared in a simulation: arrivals and service times by chance, a clock that jumps from event to event."""

from __future__ import annotations

import heapq
from random import Random
from statistics import mean, quantiles
from typing import Any

import pytest

from tests.unit.engine_bench import bench, routed

REQUESTS = 12_000


def latencies(policy: str, service_ms: list[float], per_second: float, seed: int = 1, **balancer: Any) -> list[float]:
    """Milliseconds from arrival to answer; each endpoint serves one request at a time, in their order."""
    chance = Random(seed)
    with bench() as worker:
        worker.live.draw = chance.random
        endpoints = [{"url": f"http://127.0.0.1:{port}"} for port in range(1, len(service_ms) + 1)]
        rules = {"policy": policy, **balancer}
        document = {"upstreams": [{"name": "origin", "endpoints": endpoints, "loadBalancer": rules}], **routed()}
        upstream = worker.serve(document).runtime.upstreams["origin"]
        x = worker.exchange()
        free_at = dict.fromkeys(upstream.balancer.endpoints, 0.0)
        service = dict(zip(free_at, service_ms, strict=True))
        answers: list[tuple[float, int, Any, float]] = []
        found: list[float] = []
        now = 0.0
        for number in range(REQUESTS):
            now += chance.expovariate(per_second)
            while answers and answers[0][0] <= now:
                worker.now, _, pool, began = heapq.heappop(answers)
                pool.open -= 1
                found.append((worker.now - began) * 1000)
                pool.answered(200, found[-1])
            worker.now = now
            pool = upstream.balancer.pick(x, ())
            assert pool is not None
            pool.open += 1
            free_at[pool] = max(now, free_at[pool]) + chance.expovariate(1000 / service[pool])
            heapq.heappush(answers, (free_at[pool], number, pool, now))
        return found


@pytest.mark.parametrize("policy", ["least-request", "ewma"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_choices_beat_chance(policy: str, seed: int) -> None:
    """Ten equal endpoints at 80 %: by chance queues grow long where two choices keep them short."""
    equal = [10.0] * 10
    by_chance = latencies("random", equal, 800, seed)
    by_choice = latencies(policy, equal, 800, seed)
    assert mean(by_choice) < 0.7 * mean(by_chance)
    assert quantiles(by_choice, n=100)[98] < 0.7 * quantiles(by_chance, n=100)[98]


@pytest.mark.parametrize("policy", ["least-request", "ewma"])
def test_a_slow_endpoint_is_spared(policy: str) -> None:
    """One of five is ten times slower: its turn would overrun it; two choices leave it what it can bear."""
    skewed = [10.0] * 4 + [100.0]
    in_turn = latencies("round-robin", skewed, 200)
    by_choice = latencies(policy, skewed, 200)
    assert quantiles(by_choice, n=100)[98] < 0.2 * quantiles(in_turn, n=100)[98]


def test_ewma_sees_the_difference_that_least_request_does_not() -> None:
    """With few requests queues are empty everywhere, and only latency tells near from far.

    Far ones are asked when chance offers two of them, once in five.
    """
    skewed = [2.0] * 3 + [40.0] * 3
    assert mean(latencies("ewma", skewed, 20)) < 0.6 * mean(latencies("least-request", skewed, 20))
