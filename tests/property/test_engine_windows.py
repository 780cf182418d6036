"""Fixed and sliding windows against models that keep every request for ever and compute with exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.limits.algorithms import ALGORITHMS
from dataplane.limits.rule import Rule

FIXED, SLIDING = "fixed-window", "sliding-window"
LIMITS = st.integers(1, 20)
WINDOWS = st.sampled_from([0.5, 1.0, 60.0])
NODES = st.integers(1, 7)
EPOCHS = st.sampled_from([0.0, 1_900_000_000.0])
STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.0, 0.125, 0.25, 0.5, 7.0, 30.0, 61.0, 400.0])),
    min_size=1,
    max_size=80,
)
SLACK = Fraction(1, 10**5)


class Model:
    """The moments at which requests were granted, by key."""

    def __init__(self, rule: Rule, nodes: int) -> None:
        self.sliding = rule.algorithm == SLIDING
        self.share = max(Fraction(1), Fraction(rule.limit, nodes))
        self.length = Fraction(rule.window) * max(Fraction(1), Fraction(nodes, rule.limit))
        self.granted: dict[str, list[Fraction]] = {}

    def counted(self, key: str, now: Fraction) -> Fraction:
        """What counts against the share at that moment."""
        windows = [floor(moment / self.length) for moment in self.granted.get(key, [])]
        current = floor(now / self.length)
        counted = Fraction(windows.count(current))
        if self.sliding:
            passed = now / self.length - current
            counted += windows.count(current - 1) * (1 - passed)
        return counted


@pytest.mark.parametrize("algorithm", [FIXED, SLIDING])
@given(LIMITS, WINDOWS, NODES, EPOCHS, STEPS)
def test_every_take_is_what_the_model_says(
    algorithm: str, limit: int, window: float, nodes: int, epoch: float, steps: list[tuple[str, float]]
) -> None:
    """Granted or refused, and what is left: for any times, keys and shares, through every turnover."""
    rule = Rule(limit, window, limit, algorithm)
    counts, model, now = ALGORITHMS[algorithm](rule, epoch), Model(rule, nodes), 0.0
    for key, pause in steps:
        now += pause
        moment = Fraction(now) + Fraction(epoch)
        left = model.share - model.counted(key, moment)
        if abs(moment / model.length - round(moment / model.length)) < SLACK and nodes > limit:
            continue  # the edge of a stretched window is no round number; floating point may fall on either side
        answer = counts.take(key, now, nodes)
        if abs(left - 1) > SLACK:
            assert (answer >= 0.0) == (left >= 1), f"the model has {float(left)} left, the answer is {answer}"
        if answer >= 0.0:
            assert abs(Fraction(answer) - (left - 1)) <= SLACK * limit
            model.granted.setdefault(key, []).append(moment)


@given(LIMITS, WINDOWS, STEPS)
def test_a_window_never_grants_more_than_its_limit(limit: int, window: float, steps: list[tuple[str, float]]) -> None:
    """Fixed windows: counted by the wall clock, whatever the pattern."""
    counts, now = ALGORITHMS[FIXED](Rule(limit, window, limit, FIXED), 0.0), 0.0
    granted: dict[int, int] = {}
    for _, pause in steps:
        now += pause
        granted[floor(now / window)] = granted.get(floor(now / window), 0) + (counts.take("key", now) >= 0.0)
    assert max(granted.values()) <= limit


@pytest.mark.parametrize("algorithm", [FIXED, SLIDING])
@given(LIMITS, WINDOWS, NODES, st.floats(0.0, 100.0))
def test_who_waits_as_told_is_served(algorithm: str, limit: int, window: float, nodes: int, start: float) -> None:
    """A refusal's wait is enough, and a little less is not."""
    counts = ALGORITHMS[algorithm](Rule(limit, window, limit, algorithm), 0.0)
    for _ in range(limit):
        counts.take("key", start, nodes)
    wait = -counts.take("key", start, nodes)
    assert wait > 0.0
    if wait > 0.01:
        assert counts.take("key", start + wait * 0.99, nodes) < 0.0
    assert counts.take("key", (start + wait) * 1.000001 + 1e-5, nodes) >= 0.0


@pytest.mark.parametrize("algorithm", [FIXED, SLIDING])
@given(LIMITS, WINDOWS, NODES, st.floats(0.0, 100.0))
def test_all_is_back_when_told(algorithm: str, limit: int, window: float, nodes: int, start: float) -> None:
    """After `reset` as many requests go through as at the very beginning."""
    counts = ALGORITHMS[algorithm](Rule(limit, window, limit, algorithm), 0.0)
    first = 0
    while (left := counts.take("key", start, nodes)) >= 0.0:
        first += 1
    later = (start + counts.reset(max(left, 0.0), start, nodes)) * 1.000001 + 1e-6
    again = 0
    while counts.take("key", later, nodes) >= 0.0:
        again += 1
    assert again == first


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@given(LIMITS, WINDOWS, STEPS)
def test_what_is_given_back_was_never_taken(
    algorithm: str, limit: int, window: float, steps: list[tuple[str, float]]
) -> None:
    """Takes that are undone at once change no later answer."""
    rule = Rule(limit, window, limit, algorithm)
    plain, undone, now = ALGORITHMS[algorithm](rule, 0.0), ALGORITHMS[algorithm](rule, 0.0), 0.0
    for key, pause in steps:
        now += pause
        if undone.take(key, now) >= 0.0:
            undone.give_back(key)
        assert undone.take(key, now) == pytest.approx(plain.take(key, now))
