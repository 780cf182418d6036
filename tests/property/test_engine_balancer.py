"""One round of turns: as often as the weights say, and spread as evenly as can be."""

from __future__ import annotations

from functools import reduce
from math import gcd

from hypothesis import given
from hypothesis import strategies as st

from dataplane.upstream.turns import smooth_turns

WEIGHTS = st.lists(st.integers(0, 60), max_size=8)
MOST_TURNS = 1024


@given(WEIGHTS)
def test_each_index_as_often_as_its_weight(weights: list[int]) -> None:
    """Exactly, in the shortest round there is."""
    turns = smooth_turns(weights)
    divisor = reduce(gcd, weights, 0) or 1
    assert [turns.count(index) for index in range(len(weights))] == [weight // divisor for weight in weights]


@given(WEIGHTS)
def test_no_run_is_longer_than_it_must_be(weights: list[int]) -> None:
    """The heaviest of the others cuts everyone's turns into runs, within a round and where two rounds meet."""
    turns = smooth_turns(weights)
    for index in range(len(weights)):
        next_heaviest = max((turns.count(other) for other in range(len(weights)) if other != index), default=0)
        if next_heaviest:
            assert _longest_run(turns * 2, index) <= turns.count(index) / next_heaviest + 1


@given(WEIGHTS)
def test_never_far_from_the_fair_share(weights: list[int]) -> None:
    """At every point of the round each index had what it is due, give or take one turn for each of the others."""
    turns = smooth_turns(weights)
    for size in range(1, len(turns) + 1):
        for index in range(len(weights)):
            due = size * turns.count(index) / len(turns)
            assert abs(turns[:size].count(index) - due) < max(1, len(weights) - 1)


@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=30))
def test_large_weights_make_no_endless_round(weights: list[int]) -> None:
    """A round stays near 1024 turns; who has a weight has a turn, and shares keep their order."""
    turns = smooth_turns(weights)
    assert len(turns) <= MOST_TURNS + len(weights)
    counts = [turns.count(index) for index in range(len(weights))]
    assert [bool(count) for count in counts] == [bool(weight) for weight in weights]
    ranked = sorted(range(len(weights)), key=weights.__getitem__)
    assert [counts[index] for index in ranked] == sorted(counts)


def _longest_run(turns: list[int], index: int) -> int:
    longest = run = 0
    for turn in turns:
        run = run + 1 if turn == index else 0
        longest = max(longest, run)
    return longest
