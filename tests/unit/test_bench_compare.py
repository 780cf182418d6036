"""From samples to ratios: medians of pairs, and honest notes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import compare
from tests.bench.outcome import at_least, at_most
from tests.bench.sample import Sample, middle, paired_ratios

SAMPLE = Sample(
    cpu_us=20.0,
    requests_per_second=1000.0,
    p50_ms=1.0,
    p99_ms=2.0,
    megabytes_per_second=5.0,
    rss_megabytes=40.0,
    busy=0.99,
    foreign=0.0,
)


def rounds(*cpu: float) -> list[Sample]:
    """Samples that differ in their cost alone."""
    return [replace(SAMPLE, cpu_us=us) for us in cpu]


def test_a_disturbed_round_does_not_move_the_median() -> None:
    """One round out of three in which the machine was busy changes neither the value nor the ratio."""
    ours, theirs = rounds(20, 90, 21), rounds(10, 10, 10)
    assert middle(ours, "cpu_us") == 21
    assert paired_ratios(ours, theirs, "cpu_us") == [2.0, 2.1, 9.0]
    figure = compare.ratio({"a": ours, "b": theirs}, "cpu_us", "a", "b", name="a / b", goal=at_most(2.5))
    assert (figure.value, figure.spread, figure.met) == (2.1, (2.0, 9.0), True)


@given(st.lists(st.tuples(st.floats(0.5, 100), st.floats(0.5, 4)), min_size=1, max_size=9), st.floats(0.5, 50))
def test_a_slow_minute_cancels_out(machine: list[tuple[float, float]], factor: float) -> None:
    """However much the machine slows down from round to round, the ratio within the rounds is what is reported."""
    theirs = rounds(*(cost * slowness for cost, slowness in machine))
    ours = rounds(*(cost * slowness * factor for cost, slowness in machine))
    assert paired_ratios(ours, theirs, "cpu_us") == pytest.approx([factor] * len(machine))


def test_rounds_must_pair() -> None:
    """A contestant that missed a round is a mistake, not a shorter average."""
    with pytest.raises(ValueError, match="shorter"):
        paired_ratios(rounds(1, 2), rounds(1), "cpu_us")


def test_rows_carry_every_column() -> None:
    """A row has one value for each column, and the suffix of its load."""
    (row,) = compare.rows({"nginx": rounds(10, 12, 11)}, " c=32")
    assert row.subject == "nginx c=32"
    assert set(row.cells) == set(compare.COLUMNS)
    assert row.cells["cpu us/req"] == 11


def test_what_weakens_a_sample_is_noted() -> None:
    """A shared core and an idle proxy are said; a clean run says nothing."""
    assert compare.notes({"nginx": rounds(10)}) == []
    shared, idle = replace(SAMPLE, foreign=0.2), replace(SAMPLE, busy=0.6)
    assert compare.notes({"a": [shared]}) == ["a: others took 20% of its core; measure on a quiet machine"]
    assert compare.notes({"b": [idle]}, " up") == [
        "b up: busy only 60%, so load or origin set its req/s and latency, not it"
    ]


@given(limit=st.floats(0.1, 100), value=st.floats(0.1, 100))
def test_goals_have_two_sides(limit: float, value: float) -> None:
    """A value meets the bound itself on both sides, and otherwise exactly one of them."""
    low, high = at_most(limit), at_least(limit)
    assert low.met(limit)
    assert high.met(limit)
    assert low.met(value) != high.met(value) or value == limit
