"""How many nodes a node believes in: against a model that remembers everything it ever heard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.limits.sharers import HOLD_SECONDS, Sharers

EVERY = 5.0


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from([0.5, 5.0, 10.0]), st.integers(1, 9)), max_size=60))
def test_the_most_that_was_heard_of_late_counts(least: int, beats: list[tuple[float, int]]) -> None:
    """More at once, fewer once nothing else was heard for as long as a node may take to come back."""
    sharers, now = Sharers(least), 0.0
    heard: list[tuple[float, int]] = []
    for pause, count in beats:
        now += pause
        heard.append((now, count))
        late = [many for at, many in heard if at > now - HOLD_SECONDS]
        assert sharers.hear(count, now, EVERY) == max(least, *late)


@given(
    st.integers(2, 100), st.floats(16.0, 1e6), st.lists(st.floats(0.0, HOLD_SECONDS - 1.0), min_size=99, max_size=99)
)
def test_a_restart_of_the_control_plane_loosens_no_limit(nodes: int, away: float, pauses: list[float]) -> None:
    """While nodes come back one after the other, each goes on granting its share and no more; then all agree."""
    sharers = Sharers()
    sharers.hear(nodes, 0.0, EVERY)
    back = sorted(pauses[: nodes - 1])
    for there, pause in enumerate(back, 1):
        assert sharers.hear(there, away + pause, EVERY) == nodes
    assert sharers.hear(nodes, away + HOLD_SECONDS, EVERY) == nodes


def test_nodes_that_are_gone_are_believed_to_be() -> None:
    """After the hold, also where heartbeats are further apart than that."""
    for every in (1.0, 5.0, 60.0):
        sharers, now = Sharers(), 0.0
        sharers.hear(9, now, every)
        while now <= HOLD_SECONDS:
            now += every
            sharers.hear(3, now, every)
        assert sharers.count == 3
