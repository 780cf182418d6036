"""Token buckets against a model that keeps every bucket for ever and computes with exact fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from dataplane.limits.rule import Rule
from dataplane.limits.token_bucket import TokenBuckets

RULES = st.builds(Rule, st.integers(1, 50), st.sampled_from([0.001, 0.5, 1.0, 60.0, 3600.0]), st.integers(1, 80))
STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from([0.0, 0.001, 0.1, 0.5, 1.0, 2.0, 7.0, 30.0, 61.0, 130.0, 4000.0])
    ),
    min_size=1,
    max_size=60,
)
NODES = st.integers(1, 7)
SLACK = 1e-6


class Model:
    """Buckets that are never forgotten. A node grants its share, but always at least one request at a time."""

    def __init__(self, rule: Rule, nodes: int) -> None:
        self.capacity = max(Fraction(1), Fraction(rule.burst, nodes))
        self.rate = Fraction(rule.limit) / (Fraction(rule.window) * nodes)
        self.left: dict[str, tuple[Fraction, Fraction]] = {}

    def tokens(self, key: str, now: Fraction) -> Fraction:
        left, at = self.left.get(key, (self.capacity, now))
        return min(self.capacity, left + (now - at) * self.rate)

    def spend(self, key: str, now: Fraction, amount: int) -> None:
        self.left[key] = (self.tokens(key, now) - amount, now)


@given(RULES, STEPS, NODES)
def test_every_take_is_what_the_model_says(rule: Rule, steps: list[tuple[str, float]], nodes: int) -> None:
    """Granted or refused, what is left, how long to wait: for any times, keys and shares, through every turnover."""
    buckets, model, now = TokenBuckets(rule), Model(rule, nodes), 0.0
    for key, pause in steps:
        now += pause
        expected = model.tokens(key, Fraction(now))
        answer = buckets.take(key, now, nodes)
        granted = answer >= 0.0
        if abs(expected - 1) > SLACK:  # at exactly one token floating point may fall on either side
            assert granted == (expected >= 1), f"the model has {float(expected)} tokens, the answer is {answer}"
        if granted:
            assert abs(answer - (expected - 1)) <= SLACK * rule.burst
        else:
            assert abs(-answer - (1 - expected) / model.rate) <= SLACK * rule.window * nodes
        model.spend(key, Fraction(now), int(granted))


@given(RULES, STEPS, NODES)
def test_no_more_than_burst_and_rate_allow(rule: Rule, steps: list[tuple[str, float]], nodes: int) -> None:
    """Between any two moments one key gets at most the capacity and what flowed in since."""
    buckets, now = TokenBuckets(rule), 0.0
    granted: list[float] = []
    for _, pause in steps:
        now += pause
        if buckets.take("key", now, nodes) >= 0.0:
            granted.append(now)
    capacity, rate = max(1.0, rule.burst / nodes), rule.limit / rule.window / nodes
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            assert last - first + 1 <= capacity + (granted[last] - granted[first]) * rate + SLACK


@given(RULES, NODES)
def test_who_waits_as_told_is_served(rule: Rule, nodes: int) -> None:
    """A refusal's wait is enough, and a little less is not."""
    buckets = TokenBuckets(rule)
    while (answer := buckets.take("key", 0.0, nodes)) >= 0.0:
        pass
    wait = -answer
    assert buckets.take("key", wait * 0.99, nodes) < 0.0
    assert buckets.take("key", wait * 1.0001, nodes) >= 0.0


@given(RULES, NODES, st.integers(0, 80))
def test_full_again_when_told(rule: Rule, nodes: int, taken: int) -> None:
    """After the `reset` as many requests go through at once as at the very beginning."""
    buckets, at_first = TokenBuckets(rule), 0
    while buckets.take("measure", 0.0, nodes) >= 0.0:
        at_first += 1
    left = float(max(1.0, rule.burst / nodes))
    for _ in range(min(taken, at_first)):
        left = buckets.take("key", 0.0, nodes)
    later = buckets.reset(left, 0.0, nodes) * (1 + SLACK) + SLACK * rule.window / rule.limit
    again = 0
    while buckets.take("key", later, nodes) >= 0.0:
        again += 1
    assert again >= at_first


@given(RULES, st.lists(st.tuples(NODES, st.sampled_from([0.0, 0.01, 1.0, 50.0])), min_size=2, max_size=40))
def test_a_changed_number_of_nodes_hands_out_nothing(rule: Rule, steps: list[tuple[int, float]]) -> None:
    """However the count of live nodes moves, a key never gets more than a single node alone would grant."""
    buckets, now, granted = TokenBuckets(rule), 0.0, 0
    for nodes, pause in steps:
        now += pause
        granted += buckets.take("key", now, nodes) >= 0.0
    assert granted <= rule.burst + now * rule.limit / rule.window + SLACK


@given(RULES, st.floats(0.0, 1e6))
def test_a_clock_that_steps_back_refills_nothing(rule: Rule, back: float) -> None:
    """A reading before the last one counts as no time passed."""
    buckets = TokenBuckets(rule)
    first = buckets.take("key", back, 1)
    second = buckets.take("key", 0.0, 1)
    assert second < first
