"""The retry budget of one upstream: so many retries for so many requests, whatever route they come from.

Without one, three attempts for each request make three times the load of a service that is failing of too much load.
The form is that of Finagle's RetryBudget: a percentage, and some retries a second on top so that a quiet service has
any at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dataplane.upstream.rolling import RollingCounts

WINDOW: Final = 10.0
"""Seconds over which requests and retries are counted, as Finagle has it."""


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    percent: float = 20.0  # retries for a hundred requests
    per_second: float = 10.0  # retries on top of that


class RetryBudget:
    """Times are seconds of any clock. `policy` may change at any time; what was counted stays."""

    def __init__(self, policy: BudgetPolicy) -> None:
        self.policy = policy
        self.attempts = RollingCounts(WINDOW)  # attempts that ended, and the retries that were allowed
        self.exhausted = 0  # how often there was nothing left

    def __repr__(self) -> str:
        return f"<RetryBudget {self.attempts!r}>"

    def ended(self, now: float) -> None:
        """An attempt is over, however it went."""
        self.attempts.count(now)

    def withdraw(self, now: float) -> bool:
        """Whether another retry may be made; it is counted then."""
        counts, policy = self.attempts, self.policy
        counts.turn(now)
        requests = max(0, counts.whole - counts.part)
        if counts.part + 1 > requests * policy.percent / 100.0 + policy.per_second * WINDOW:
            self.exhausted += 1
            return False
        counts.count_part(now)
        return True
