"""The table of `make chaos`: a row for each test, whatever it told."""

from __future__ import annotations

from tests.e2e.load import Load
from tests.e2e.outcome import Outcome, table


def test_a_row_tells_what_the_test_told() -> None:
    """What was done, requests of all loads, refusals, failures, and the longest time to recovery."""
    told: dict[str, object] = {}
    now = 0.0
    outcome = Outcome(told.__setitem__, lambda: now)
    for seconds in (3.0, 1.0):
        outcome.struck("origin killed")
        now += seconds
        outcome.recovered()
    one, other = Load((1,), 1), Load((2,), 1, frozenset({502, 503}))
    other.statuses.update({200: 9, 502: 1, 503: 2})
    one.answered[7] = 40
    other.failures.append("GET /: 502")
    outcome.load(one, other)
    _, row = table([("test_x", "passed", told)])
    assert row.split() == ["origin", "killed", "44", "3", "1", "3.00", "s", "passed"]


def test_a_test_that_tells_nothing_has_a_row_too() -> None:
    """Under its own name; and without tests there is no table."""
    assert table([("test_x", "failed", {})])[1].split() == ["test_x", "failed"]
    assert table([]) == []
