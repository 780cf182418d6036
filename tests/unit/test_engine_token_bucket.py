"""The memory of token buckets: what is forgotten, and when."""

from __future__ import annotations

import pytest

from dataplane.limits.algorithms import ALGORITHMS
from dataplane.limits.rule import Rule
from dataplane.limits.token_bucket import TokenBuckets

MOST = 100_000
"""Buckets in one generation, as the module has it."""


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_million_keys_stay_bounded(algorithm: str) -> None:
    """An attack with a key per request costs two generations of counts, never a million."""
    buckets = ALGORITHMS[algorithm](Rule(1, 60.0, 1, algorithm), 0.0)
    most = 0
    for number in range(1_000_000):
        buckets.take(f"key {number}", 0.0)
        if number % 10_000 == 0:
            most = max(most, len(buckets))
    assert MOST < most <= 2 * MOST


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_an_attack_does_not_free_a_key_in_use(algorithm: str) -> None:
    """Who goes on asking stays known, however many others come in between."""
    buckets = ALGORITHMS[algorithm](Rule(1, 60.0, 1, algorithm), 0.0)
    assert buckets.take("busy", 0.0) >= 0.0
    for number in range(5 * MOST):
        buckets.take(f"key {number}", 0.0)
        if number % (MOST // 2) == 0:
            assert buckets.take("busy", 0.0) < 0.0


def test_quiet_keys_are_let_go() -> None:
    """Two turnovers after the last request nothing of a key is left."""
    buckets = TokenBuckets(Rule(10, 1.0, 10))
    for number in range(1_000):
        buckets.take(f"key {number}", 0.0)
    for late in (1.1, 2.2, 3.3):
        buckets.take("one", late)
    assert len(buckets) <= 2


def test_a_bucket_that_is_not_full_is_kept_by_every_share() -> None:
    """With more nodes than burst a bucket takes longer to fill, and is kept that much longer."""
    buckets = TokenBuckets(Rule(1, 60.0, 1))
    assert buckets.take("key", 0.0, 4) >= 0.0
    for number, late in enumerate((61.0, 122.0, 183.0)):
        buckets.take(f"other {number}", late, 4)
    assert buckets.take("key", 184.0, 4) < 0.0
    assert buckets.take("key", 241.0, 4) >= 0.0
