"""The result of a case: a row for each subject, figures that may have a goal, and notes on what to distrust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound from the design. Missing it is information; it fails nothing."""

    limit: float
    at_most: bool

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"

    def met(self, value: float) -> bool:
        """Whether the value is on the right side, the bound itself included."""
        return value <= self.limit if self.at_most else value >= self.limit


def at_most(limit: float) -> Goal:
    """A goal that smaller values meet."""
    return Goal(limit, at_most=True)


def at_least(limit: float) -> Goal:
    """A goal that larger values meet."""
    return Goal(limit, at_most=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number worth remembering; `unit` is "x" for ratios, `spread` the lowest and highest of the rounds."""

    name: str
    value: float
    unit: str = "x"
    goal: Goal | None = None
    spread: tuple[float, float] | None = None

    @property
    def met(self) -> bool | None:
        """Whether it reaches its goal; None where it has none."""
        return None if self.goal is None else self.goal.met(self.value)


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one subject, by column; subjects of one case may have different columns."""

    subject: str
    cells: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a case found. `invalid` says why nothing here counts; it is empty where all was right."""

    rows: Sequence[Row] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = field(default=())
    invalid: str = ""


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """The parts of a case as one outcome."""
    return Outcome(
        rows=[row for outcome in outcomes for row in outcome.rows],
        figures=[figure for outcome in outcomes for figure in outcome.figures],
        notes=[note for outcome in outcomes for note in outcome.notes],
    )
