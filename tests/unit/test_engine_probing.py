"""What probes add up to, and which answers are good ones."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.runtime import HealthCheck
from dataplane.upstream.probing import Verdict


def check(healthy: int = 2, unhealthy: int = 3, expected: frozenset[int] = frozenset()) -> HealthCheck:
    """A check with these thresholds."""
    return HealthCheck("/", 10.0, 2.0, healthy, unhealthy, expected)


@given(probes=st.lists(st.booleans(), max_size=60), healthy=st.integers(1, 5), unhealthy=st.integers(1, 5))
def test_a_verdict_needs_as_many_in_a_row(probes: list[bool], healthy: int, unhealthy: int) -> None:
    """Down exactly after `unhealthy` failures in a row, up after `healthy` successes in a row; told at the change."""
    verdict, down = Verdict(), False
    for index, good in enumerate(probes):
        seen = probes[: index + 1]
        before = down
        if down and seen[-healthy:] == [True] * healthy:
            down = False
        elif not down and seen[-unhealthy:] == [False] * unhealthy:
            down = True
        assert verdict.count(good, check(healthy, unhealthy)) == (down != before)
        assert verdict.down == down


@given(status=st.integers(200, 599))
def test_good_answers_are_2xx_and_3xx_or_those_that_are_named(status: int) -> None:
    """By default, and with `expectedStatus`."""
    assert check().expects(status) == (status < 400)
    assert check(expected=frozenset({401, 204})).expects(status) == (status in (401, 204))
