"""The breaker, the retry budget and the waits between attempts: values in, decisions out, on a clock of the test's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.upstream.breaker import CLOSED, HALF_OPEN, OPEN, REFUSED, Breaker, BreakerPolicy
from dataplane.upstream.retry_budget import BudgetPolicy, RetryBudget
from dataplane.upstream.retrying import RetryPolicy, asks_for_longer, backoff


def made(policy: BreakerPolicy) -> tuple[Breaker, list[tuple[int, str]]]:
    """A breaker, and the list of its changes: state and reason."""
    changes: list[tuple[int, str]] = []
    return Breaker("a", policy, lambda breaker, reason: changes.append((breaker.state, reason))), changes


def fail(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(breaker.admit(now), now, "connect")


def test_a_count_of_failures_opens() -> None:
    """The fifth within the window, not the fourth; successes between them change nothing."""
    breaker, changes = made(BreakerPolicy())
    for second in range(4):
        fail(breaker, float(second))
        breaker.answered(breaker.admit(second), second, 200, 1.0)
    assert breaker.state == CLOSED
    breaker.answered(breaker.admit(5.0), 5.0, 503, 1.0)
    assert breaker.state == OPEN
    assert changes == [(OPEN, "5 of 9 calls failed within 10 s; the last: status 503")]


def test_failures_are_forgotten_after_the_window() -> None:
    """Four, then ten seconds later four more: it stays closed."""
    breaker, _ = made(BreakerPolicy())
    fail(breaker, 0.0, 4)
    fail(breaker, 10.0, 4)
    assert (breaker.state, breaker.failures(10.0), breaker.failures(20.0)) == (CLOSED, 4, 0)


@pytest.mark.parametrize(("seconds", "at"), [(3600.0, 10.0), (5.0, 30.0)])
def test_an_edit_of_the_open_duration_concerns_the_open_breaker(seconds: float, at: float) -> None:
    """Open for an hour by mistake, it tries again when the mended duration has passed; a longer one is longer, too."""
    breaker, _ = made(BreakerPolicy(open_seconds=seconds))
    fail(breaker, 0.0, 5)
    breaker.follow(BreakerPolicy(open_seconds=at))
    assert (breaker.admit(at - 0.5), breaker.retry_after(at - 2.5)) == (REFUSED, 3)
    assert breaker.bars(at - 0.5)
    assert breaker.admit(at) != REFUSED
    assert breaker.state == HALF_OPEN


@pytest.mark.parametrize(("good", "bad", "state"), [(5, 4, CLOSED), (5, 5, OPEN), (6, 5, CLOSED), (0, 9, CLOSED)])
def test_a_share_of_failures_opens(good: int, bad: int, state: int) -> None:
    """Half of the calls, once there were ten."""
    breaker, _ = made(BreakerPolicy(failures=0, share=50.0, volume=10))
    for _ in range(good):
        breaker.answered(breaker.admit(0.0), 0.0, 200, 1.0)
    fail(breaker, 0.0, bad)
    assert breaker.state == state


def test_the_call_that_makes_the_volume_may_open() -> None:
    """Nine failures, then a success: the share is judged with the tenth call."""
    breaker, _ = made(BreakerPolicy(failures=0, share=50.0, volume=10))
    fail(breaker, 0.0, 9)
    breaker.answered(breaker.admit(0.0), 0.0, 200, 1.0)
    assert breaker.state == OPEN


def test_slow_calls_are_failures() -> None:
    """From `slow_ms` on, and only where that is set."""
    for slow_ms, failures in ((0.0, 0), (100.0, 1)):
        breaker, _ = made(BreakerPolicy(slow_ms=slow_ms))
        breaker.answered(breaker.admit(0.0), 0.0, 200, 99.9)
        breaker.answered(breaker.admit(0.0), 0.0, 200, 100.0)
        assert breaker.failures(0.0) == failures


def test_open_refuses_until_its_time_is_over() -> None:
    """And says for how long, in whole seconds, at least one."""
    breaker, _ = made(BreakerPolicy(open_seconds=30.0))
    fail(breaker, 0.0, 5)
    assert [breaker.retry_after(now) for now in (0.0, 0.5, 28.9, 29.5, 31.0)] == [30, 30, 2, 1, 1]
    assert breaker.admit(29.9) == REFUSED
    assert breaker.admit(30.0) != REFUSED
    assert (breaker.state, breaker.refused) == (HALF_OPEN, 1)


def test_half_open_lets_so_many_through_at_a_time() -> None:
    """A place is free again when its call ended, or was given up; two successes close."""
    breaker, changes = made(BreakerPolicy(probes=2, successes=2))
    fail(breaker, 0.0, 5)
    first, second = breaker.admit(30.0), breaker.admit(30.0)
    assert breaker.admit(30.0) == REFUSED
    breaker.left(first)
    third = breaker.admit(30.0)
    assert third != REFUSED
    assert breaker.admit(30.0) == REFUSED
    breaker.answered(second, 31.0, 200, 1.0)
    assert (breaker.state, breaker.successes(31.0)) == (HALF_OPEN, 1)
    breaker.answered(third, 31.0, 404, 1.0)
    assert (breaker.state, breaker.failures(31.0)) == (CLOSED, 0)
    assert [state for state, _ in changes] == [OPEN, HALF_OPEN, CLOSED]


def test_one_failed_probe_opens_again() -> None:
    """For the whole time anew; what the other probes find out later changes nothing."""
    breaker, _ = made(BreakerPolicy())
    fail(breaker, 0.0, 5)
    first, second = breaker.admit(30.0), breaker.admit(30.0)
    breaker.failed(first, 35.0, "timeout")
    breaker.answered(second, 36.0, 200, 1.0)
    assert (breaker.state, breaker.opened) == (OPEN, 2)
    assert (breaker.admit(64.9), breaker.retry_after(60.0)) == (REFUSED, 5)


def test_calls_of_an_earlier_state_do_not_count() -> None:
    """What was under way when it opened neither closes the half-open breaker nor opens it."""
    breaker, _ = made(BreakerPolicy(successes=1))
    late = [breaker.admit(0.0) for _ in range(3)]
    fail(breaker, 0.0, 5)
    assert breaker.admit(30.0) != REFUSED
    breaker.failed(late[0], 30.0, "timeout")
    breaker.answered(late[1], 30.0, 200, 1.0)
    breaker.left(late[2])
    assert breaker.state == HALF_OPEN


def test_an_answer_that_breaks_off_is_a_failure() -> None:
    """Its head was a success; the end counts against the upstream, without another call."""
    breaker, _ = made(BreakerPolicy(failures=2))
    for _ in range(2):
        token = breaker.admit(0.0)
        breaker.answered(token, 0.0, 200, 1.0)
        breaker.broke_off(token, 1.0, "connection_lost")
    assert (breaker.state, breaker.counts.whole) == (OPEN, 2)


def test_another_policy_keeps_the_state() -> None:
    """Open stays open under the policy that came; the failures of a closed one count under the new threshold."""
    breaker, _ = made(BreakerPolicy())
    fail(breaker, 0.0, 3)
    breaker.follow(BreakerPolicy(failures=4, window=20.0))
    fail(breaker, 12.0)
    assert breaker.state == OPEN
    breaker.follow(BreakerPolicy(failures=100))
    assert breaker.admit(20.0) == REFUSED


def test_a_shorter_window_forgets_sooner() -> None:
    """The next failure is judged by what the new window still sees."""
    breaker, _ = made(BreakerPolicy(window=60.0))
    fail(breaker, 0.0, 4)
    breaker.follow(BreakerPolicy(window=10.0))
    fail(breaker, 30.0)
    assert (breaker.state, breaker.failures(30.0)) == (CLOSED, 1)


# ---- budget and waits


def test_a_quiet_upstream_has_retries_too() -> None:
    """So many a second, counted over ten seconds; then a fifth of the requests."""
    budget = RetryBudget(BudgetPolicy(percent=20.0, per_second=1.0))
    assert [budget.withdraw(0.0) for _ in range(11)] == [True] * 10 + [False]
    for _ in range(15):
        budget.ended(0.0)
    assert [budget.withdraw(0.0) for _ in range(2)] == [True, False]
    assert budget.withdraw(10.0)
    assert budget.exhausted == 2


@given(st.integers(1, 10), st.floats(0, 1), st.floats(0.0, 2.0), st.floats(1.0, 10.0), st.floats(0.0, 5.0))
def test_waits_grow_to_a_ceiling(retry: int, drawn: float, first: float, multiplier: float, longest: float) -> None:
    """Full jitter: anything from nothing to the exponential ceiling; without it, the ceiling."""
    with_jitter = RetryPolicy(first=first, multiplier=multiplier, longest=longest, draw=lambda: drawn)
    without = RetryPolicy(first=first, multiplier=multiplier, longest=longest, jitter=False)
    assert backoff(without, retry) == min(longest, first * multiplier ** (retry - 1))
    assert backoff(with_jitter, retry) == drawn * backoff(without, retry)


@pytest.mark.parametrize(
    ("given_", "longer"),
    [(None, False), (b"0", False), (b"1", False), (b"2", True), (b"Fri, 31 Dec 1999 23:59:59 GMT", True), (b"", True)],
)
def test_an_upstream_may_ask_for_longer(given_: bytes | None, longer: bool) -> None:
    """Retry-After in seconds is compared with the wait; a date, or nonsense, counts as far away."""
    assert asks_for_longer(given_, 1.5) == longer
