"""Failed logins and requests by credential: counted by a clock that tests turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.auth.allowance import Allowance
from controlplane.auth.throttle import Throttle


class Hand:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_five_tries_a_minute() -> None:
    """Five tries that fail, and the sixth waits until the first is a minute old."""
    clock = Hand()
    throttle = Throttle(clock)
    for _ in range(5):
        assert throttle.begin("account a", "address x") == 0.0
        clock.now += 1.0
    assert throttle.begin("account a", "address y") == 55.0
    assert throttle.begin("account b", "address x") == 55.0
    assert throttle.begin("account b", "address y") == 0.0
    clock.now += 55.0
    assert throttle.begin("account a", "address x") == 0.0


def test_tries_at_once_count_before_they_end() -> None:
    """A hundred tries that all begin before the first ends get no further than five."""
    throttle = Throttle(Hand())
    assert sum(throttle.begin("account a") == 0.0 for _ in range(100)) == 5


def test_a_refused_try_costs_nothing() -> None:
    """Whoever goes on trying does not push the end of the wait ahead."""
    clock = Hand()
    throttle = Throttle(clock)
    for _ in range(50):
        throttle.begin("a")
    clock.now += 60.0
    assert throttle.begin("a") == 0.0


def test_success_is_no_failure_and_clears_none() -> None:
    """Logging in rightly never uses tries up; an account of one's own does not give an address new tries."""
    throttle = Throttle(Hand())
    for _ in range(20):
        assert throttle.begin("mine", "address") == 0.0
        throttle.succeeded("mine", "address")
    for _ in range(4):
        throttle.begin("yours", "address")
    assert throttle.begin("mine", "address") == 0.0
    throttle.succeeded("mine", "address")
    assert throttle.begin("yours", "address") == 0.0
    assert throttle.begin("yours", "address") > 0.0


def test_memory_is_bounded() -> None:
    """A million names cost no more than the limit."""
    throttle, allowance = Throttle(Hand(), keys=10), Allowance(5, Hand(), keys=10)
    for number in range(100):
        throttle.begin(f"account {number}")
        allowance.take(f"token {number}")
    assert "10 accounts" in repr(throttle)
    assert "10 credentials" in repr(allowance)


def test_an_allowance_is_a_minute_at_once_and_then_even() -> None:
    """60 a minute: 60 at once, then one each second, and Retry-After is how long that takes."""
    clock = Hand()
    allowance = Allowance(60, clock)
    assert [allowance.take("a") for _ in range(60)] == [0.0] * 60
    assert allowance.take("a") == pytest.approx(1.0)
    assert allowance.take("b") == 0.0
    clock.now += 1.0
    assert allowance.take("a") == 0.0
    assert allowance.take("a") > 0.0


def test_no_allowance_is_no_limit() -> None:
    """0 turns it off."""
    allowance = Allowance(0, Hand())
    assert all(allowance.take("a") == 0.0 for _ in range(1000))


@given(st.integers(1, 200), st.lists(st.floats(0.0, 5.0), max_size=300))
def test_never_more_than_allowed(per_minute: int, pauses: list[float]) -> None:
    """Over any time, no more pass than the bucket held and what came in since."""
    clock = Hand()
    allowance = Allowance(per_minute, clock)
    start, passed = clock.now, 0
    for pause in pauses:
        clock.now += pause
        passed += allowance.take("a") == 0.0
        assert passed <= per_minute + (clock.now - start) * per_minute / 60 + 1e-6
