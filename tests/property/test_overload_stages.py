"""Stages of a queue's length: in order, with hysteresis, and quiet about swings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.overload.stages import REJECT_ALL, REJECT_LOW_PRIORITY, Stage, Stages

SIZES = st.lists(st.integers(1, 100), min_size=1, max_size=5)
LENGTHS = st.lists(st.integers(0, 120), min_size=1, max_size=60)


@given(SIZES, LENGTHS)
def test_stages_follow_the_queue_with_hysteresis(sizes: list[int], lengths: list[int]) -> None:
    """In force from its length on, until half of it; in between as it was. An empty queue has none."""
    stages = Stages([Stage(size, REJECT_ALL) for size in sizes])
    on = [False] * len(sizes)
    for length in [*lengths, 0]:
        before = stages.in_force
        changed = stages.moved(length)
        for index, size in enumerate(sorted(sizes)):
            on[index] = length >= size or (on[index] and length > size // 2)
        assert stages.in_force == sum(on)
        assert on == sorted(on, reverse=True)
        assert changed == (stages.in_force != before)
    assert stages.in_force == 0


def test_a_look_tells_the_most_there_was() -> None:
    """A stage that began and ended between two looks was there; one look later it is not."""
    stages = Stages([Stage(10, REJECT_LOW_PRIORITY), Stage(20, REJECT_LOW_PRIORITY)])
    stages.moved(25)
    assert stages.count(REJECT_LOW_PRIORITY) == 2
    stages.moved(0)
    assert (stages.look(), stages.look()) == (2, 0)
