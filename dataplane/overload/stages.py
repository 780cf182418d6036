"""What is given up while the queue is long: stages in the order of their lengths, with hysteresis. Pure.

A stage begins when so many wait, and ends when half as many do: the queue swings, and what it switches should not
swing with it. Nobody waiting means no stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DISABLE_LOGGING: Final = "disable_logging"
SAMPLE_METRICS: Final = "sample_metrics"
REJECT_LOW_PRIORITY: Final = "reject_low_priority"
REJECT_ALL: Final = "reject_all"


@dataclass(frozen=True, slots=True)
class Stage:
    """From `queue_size` waiting requests on, `action` is in force."""

    queue_size: int
    action: str


class Stages:
    """`in_force`: how many of the stages are, from the first."""

    def __init__(self, stages: Sequence[Stage] = ()) -> None:
        self.stages = sorted(stages, key=lambda stage: stage.queue_size)
        self.in_force = 0
        self.reached = 0  # the most in force since `look`

    def moved(self, waiting: int) -> bool:
        """Whether the length of the queue changes what is in force."""
        before = self.in_force
        while self.in_force < len(self.stages) and waiting >= self.stages[self.in_force].queue_size:
            self.in_force += 1
        while self.in_force and waiting <= self.stages[self.in_force - 1].queue_size // 2:
            self.in_force -= 1
        self.reached = max(self.reached, self.in_force)
        return self.in_force != before

    def look(self) -> int:
        """How many were in force at some time since the last look: what events tell, without telling every swing."""
        reached, self.reached = self.reached, self.in_force
        return reached

    def count(self, action: str) -> int:
        """How often an action is in force."""
        return sum(stage.action == action for stage in self.stages[: self.in_force])
