"""The circuit breaker of one upstream: closed, open, half-open. Time and outcomes in, decisions out; no I/O, no clock.

Every attempt is a call. Who makes one asks `admit` and tells how it went, once: `answered`, `failed` or `left`. A call
counts only for the state in which it began, so what was under way when the breaker opened neither opens nor closes it
later. The states and their names are those of Nygard's "Release It!".

Rules: a closed breaker costs a comparison and two additions for each call; the policy may change at any time, and the
state stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dataplane.upstream.rolling import RollingCounts

CLOSED: Final = 0
HALF_OPEN: Final = 1
OPEN: Final = 2
"""As `circuit_breaker_state` tells them."""
STATES: Final = ("closed", "half_open", "open")
REFUSED: Final = -1


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to open and when to close again. Seconds; `slow_ms` 0 is off."""

    failures: int = 5  # in the window
    share: float = 0.0  # percent of the calls in the window, instead of `failures`; 0 is off
    volume: int = 10  # calls before a share counts
    window: float = 10.0
    open_seconds: float = 30.0
    probes: int = 3  # calls at a time while half-open
    successes: int = 2  # of them close it
    slow_ms: float = 0.0


class Breaker:
    """`changed` is told of each change of state, with the reason for people."""

    def __init__(self, name: str, policy: BreakerPolicy, changed: Callable[[Breaker, str], None]) -> None:
        self.name = name
        self.policy = policy
        self.state = CLOSED
        self.epoch = 0  # counts the changes of state
        self.counts = RollingCounts(policy.window)  # calls, and the failed among them
        self.opened = 0  # how often
        self.refused = 0
        self.last_failure = 0.0  # 0: never
        self._changed = changed
        self._opened_at = 0.0
        self._probing = 0
        self._succeeded = 0

    def __repr__(self) -> str:
        return f"<Breaker {self.name} {STATES[self.state]} {self.counts!r}>"

    def failures(self, now: float) -> int:
        """Calls that failed within the window; those that opened it, until it closes."""
        if self.state == CLOSED:
            self.counts.turn(now)
        return self.counts.part

    def successes(self, now: float) -> int:
        """Calls that went well: in the window, or of the probes while half-open."""
        if self.state == HALF_OPEN:
            return self._succeeded
        return max(0, self.counts.whole - self.failures(now))

    # ---- before a call

    def admit(self, now: float) -> int:
        """The call's token for `answered`, `failed` or `left`; REFUSED where it must not be made."""
        if self.state == OPEN and self._left(now) <= 0.0:
            self._succeeded = self._probing = 0
            self._enter(HALF_OPEN, f"open for {self.policy.open_seconds:g} s")
        if self.state == CLOSED:
            return self.epoch
        if self.state == OPEN or self._probing >= self.policy.probes:
            self.refused += 1
            return REFUSED
        self._probing += 1
        return self.epoch

    def bars(self, now: float) -> bool:
        """Whether no call may be made for now, so that waiting for one is of no use. Nothing is counted but that."""
        if self.state != OPEN or self._left(now) <= 0.0:
            return False
        self.refused += 1
        return True

    def retry_after(self, now: float) -> int:
        """Whole seconds after which a refused call may be worth another try, at least 1."""
        left = self._left(now) if self.state == OPEN else 0.0
        return max(1, -int(-left // 1))

    def _left(self, now: float) -> float:
        """Seconds for which it stays open; by the policy of now, so that an edit helps who opened under another."""
        return self._opened_at + self.policy.open_seconds - now

    # ---- after it

    def answered(self, token: int, now: float, status: int, ms: float) -> None:
        """The head of the answer came, after that many milliseconds."""
        policy = self.policy
        if status >= 500:
            self.failed(token, now, f"status {status}")
        elif policy.slow_ms and ms >= policy.slow_ms:
            self.failed(token, now, "a slow answer")
        elif token == self.epoch:
            if self.state == CLOSED:
                self.counts.count(now)
                if self.counts.part and policy.share:
                    self._judge(now, "")
            else:
                self._probing -= 1
                self._succeeded += 1
                if self._succeeded >= policy.successes:
                    self._close(f"{self._succeeded} calls went well")

    def failed(self, token: int, now: float, why: str) -> None:
        """The call came to nothing; `why` in a few words."""
        self.last_failure = now
        if token == self.epoch:
            if self.state == CLOSED:
                self.counts.count(now)
            else:
                self._probing -= 1
            self._count_failure(now, why)

    def broke_off(self, token: int, now: float, why: str) -> None:
        """A call that was `answered` failed after all, in the middle of its answer."""
        self.last_failure = now
        if token == self.epoch:
            self._count_failure(now, why)

    def left(self, token: int) -> None:
        """The call says nothing about the upstream: the client left, or the gateway itself gave it up."""
        if token == self.epoch and self.state == HALF_OPEN:
            self._probing -= 1

    # ---- edits

    def follow(self, policy: BreakerPolicy) -> None:
        """Go on under another policy."""
        if policy != self.policy:
            self.policy = policy
            self.counts.resize(policy.window)

    # ---- changes of state

    def _count_failure(self, now: float, why: str) -> None:
        if self.state == HALF_OPEN:
            self._open(now, f"a probe failed: {why}")
            return
        self.counts.count_part(now)
        self._judge(now, why)

    def _judge(self, now: float, why: str) -> None:
        """Open if that is too many; `why` is the last failure, if this was one."""
        policy, counts = self.policy, self.counts
        if policy.share:
            too_many = counts.whole >= policy.volume and counts.part * 100.0 >= policy.share * counts.whole
        else:
            too_many = counts.part >= policy.failures
        if too_many:
            last = f"; the last: {why}" if why else ""
            self._open(now, f"{counts.part} of {counts.whole} calls failed within {policy.window:g} s{last}")

    def _open(self, now: float, reason: str) -> None:
        self._opened_at = now
        self.opened += 1
        self._enter(OPEN, reason)

    def _close(self, reason: str) -> None:
        self.counts.clear()
        self._enter(CLOSED, reason)

    def _enter(self, state: int, reason: str) -> None:
        self.state = state
        self.epoch += 1
        self._changed(self, reason)
