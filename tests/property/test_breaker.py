"""The breaker and the retry budget against models that remember everything and count anew each time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.upstream.breaker import CLOSED, HALF_OPEN, OPEN, REFUSED, Breaker, BreakerPolicy
from dataplane.upstream.retry_budget import WINDOW, BudgetPolicy, RetryBudget
from dataplane.upstream.rolling import BUCKETS, RollingCounts

STEP = 0.125  # a power of two: sums of steps and edges of buckets are exact


def bucket(at: float, window: float) -> float:
    return at // (window / BUCKETS)


def within(at: float, now: float, window: float) -> bool:
    """Whether a count is seen: it lies in the newest bucket or in one of the nine before."""
    return bucket(at, window) > bucket(now, window) - BUCKETS


@dataclass
class Model:
    """All that ever happened to a breaker; each question goes through the whole of it."""

    policy: BreakerPolicy
    state: int = CLOSED
    epoch: int = 0
    since: float = 0.0
    calls: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    probing: set[int] = field(default_factory=set)
    good: int = 0

    def enter(self, state: int, now: float) -> None:
        self.state, self.since = state, now
        self.epoch += 1
        self.calls, self.failures, self.probing, self.good = [], [], set(), 0

    def admit(self, call: int, now: float) -> bool:
        if self.state == OPEN and now >= self.since + self.policy.open_seconds:
            self.enter(HALF_OPEN, now)
        if self.state == OPEN or (self.state == HALF_OPEN and len(self.probing) >= self.policy.probes):
            return False
        if self.state == HALF_OPEN:
            self.probing.add(call)
        return True

    def end(self, call: int, epoch: int, outcome: str, now: float) -> None:
        if epoch != self.epoch:
            return
        if self.state == HALF_OPEN:
            self.probing.discard(call)
            if outcome == "failed":
                self.enter(OPEN, now)
            elif outcome == "good":
                self.good += 1
                if self.good >= self.policy.successes:
                    self.enter(CLOSED, now)
        elif outcome != "left":
            self.calls.append(now)
            if outcome == "failed":
                self.failures.append(now)
            self.judge(now, failed=outcome == "failed")

    def judge(self, now: float, *, failed: bool) -> None:
        calls = sum(within(at, now, self.policy.window) for at in self.calls)
        failures = sum(within(at, now, self.policy.window) for at in self.failures)
        by_share = calls >= self.policy.volume and failures * 100 >= self.policy.share * calls and failures > 0
        by_count = failed and failures >= self.policy.failures
        if by_share if self.policy.share else by_count:
            self.enter(OPEN, now)


policies = st.builds(
    BreakerPolicy,
    failures=st.integers(1, 6),
    share=st.sampled_from([0.0, 1.0, 34.0, 50.0, 100.0]),
    volume=st.integers(1, 8),
    window=st.sampled_from([1.25, 2.5, 10.0]),
    open_seconds=st.sampled_from([0.5, 2.0, 30.0]),
    probes=st.integers(1, 3),
    successes=st.integers(1, 4),
)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["good", "failed", "left"]), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.integers(1, 40)),
    ),
    max_size=120,
)


@settings(deadline=None)
@given(policies, moves)
def test_a_breaker_does_what_its_model_does(policy: BreakerPolicy, played: list[tuple[str, int]]) -> None:
    """Whatever calls begin, end in any order, or are given up, over any time."""
    states: list[int] = []
    breaker = Breaker("a", policy, lambda changed, _: states.append(changed.state))
    model = Model(policy)
    now = 0.0
    under_way: list[tuple[int, int, int]] = []  # (call, the breaker's token, the model's epoch)
    for call, (move, number) in enumerate(played):
        if move == "pass":
            now += number * STEP
        elif move == "begin":
            token = breaker.admit(now)
            assert (token != REFUSED) == model.admit(call, now)
            if token != REFUSED:
                under_way.append((call, token, model.epoch))
        elif under_way:
            ended, token, epoch = under_way.pop(number % len(under_way))
            model.end(ended, epoch, move, now)
            if move == "good":
                breaker.answered(token, now, 200, 1.0)
            elif move == "failed":
                breaker.failed(token, now, "connect")
            else:
                breaker.left(token)
        assert breaker.state == model.state
    assert len(states) == model.epoch
    assert states.count(OPEN) == breaker.opened


@settings(deadline=None)
@given(st.sampled_from([1.25, 2.5, 10.0]), st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=100))
def test_rolling_counts_are_those_of_their_window(window: float, counted: list[tuple[bool, int]]) -> None:
    """Nothing newer than nine tenths of the window is forgotten, nothing older than all of it is seen."""
    counts, now = RollingCounts(window), 0.0
    whole: list[float] = []
    part: list[float] = []
    for is_part, steps in counted:
        now += steps * STEP / 4
        (counts.count_part if is_part else counts.count)(now)
        (part if is_part else whole).append(now)
        for seen, all_of_them in ((counts.whole, whole), (counts.part, part)):
            assert seen == sum(within(at, now, window) for at in all_of_them)
            assert seen >= sum(at > now - window * (BUCKETS - 1) / BUCKETS for at in all_of_them)
            assert seen <= sum(at > now - window for at in all_of_them)


@settings(deadline=None)
@given(
    st.sampled_from([0.0, 10.0, 20.0, 100.0]),
    st.integers(0, 3),
    st.lists(st.tuples(st.booleans(), st.integers(0, 16)), max_size=150),
)
def test_a_budget_never_allows_more_than_its_share(
    percent: float, per_second: int, asked: list[tuple[bool, int]]
) -> None:
    """In no window are there more retries than the share of its requests and the constant part together."""
    budget = RetryBudget(BudgetPolicy(percent, per_second))
    now = 0.0
    ended: list[float] = []
    allowed: list[float] = []
    for is_retry, steps in asked:
        now += steps * STEP
        if not is_retry:
            budget.ended(now)
            ended.append(now)
            continue
        retries = sum(within(at, now, WINDOW) for at in allowed)
        requests = max(0, sum(within(at, now, WINDOW) for at in ended) - retries)
        may = retries + 1 <= requests * percent / 100 + per_second * WINDOW
        assert budget.withdraw(now) == may
        allowed += [now] if may else []
    assert budget.exhausted == sum(is_retry for is_retry, _ in asked) - len(allowed)
