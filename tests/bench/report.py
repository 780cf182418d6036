"""Outcomes as text for people and as data for whoever compares runs: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tests.bench.options import Options
from tests.bench.outcome import Figure, Outcome, Row

_MARKS = {True: "ok", False: "MISSED", None: ""}


def text(title: str, outcome: Outcome) -> str:
    """A case as it is printed: its table, its figures, its notes; or why it does not count."""
    if outcome.invalid:
        return f"## {title}\nINVALID: {outcome.invalid}\n"
    blocks = [aligned(table(outcome.rows)), aligned([figure_line(figure) for figure in outcome.figures])]
    blocks.append("\n".join(f"  note: {note}" for note in outcome.notes))
    return f"## {title}\n" + "\n".join(block for block in blocks if block) + "\n"


def summary(outcomes: Mapping[str, Outcome]) -> str:
    """Every figure that has a goal, in one table."""
    lines = [
        [f"{name}: {figure.name}", *figure_line(figure)[1:]]
        for name, outcome in outcomes.items()
        for figure in outcome.figures
        if figure.goal is not None
    ]
    return "## Goals\n" + (aligned(lines) or "  none measured") + "\n"


def table(rows: Sequence[Row]) -> list[list[str]]:
    """A header and a line for each row; a subject without a column shows a dash."""
    columns = list(dict.fromkeys(column for row in rows for column in row.cells))
    lines = [[row.subject, *(number(row.cells.get(column)) for column in columns)] for row in rows]
    return [["", *columns], *lines] if rows else []


def figure_line(figure: Figure) -> list[str]:
    """A figure's name, value, spread, goal and whether it is reached."""
    spread = "" if figure.spread is None else f"({number(figure.spread[0])} to {number(figure.spread[1])})"
    goal = "" if figure.goal is None else f"goal {figure.goal}"
    return [figure.name, f"{number(figure.value)} {figure.unit}", spread, goal, _MARKS[figure.met]]


def number(value: float | None) -> str:
    """Three digits that say something, and no exponents."""
    if value is None:
        return "-"
    magnitude = abs(value)
    return f"{value:,.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  " + "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def data(machine: Mapping[str, str], options: Options, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """What goes into the JSON file: all that is needed to repeat the run and to compare it."""
    cases = {
        name: {
            "rows": {row.subject: dict(row.cells) for row in outcome.rows},
            "figures": [_figure(figure) for figure in outcome.figures],
            "notes": list(outcome.notes),
            "invalid": outcome.invalid,
        }
        for name, outcome in outcomes.items()
    }
    measured = {"rounds": options.rounds, "secondsPerWindow": options.seconds, "quick": options.quick}
    return {"machine": dict(machine), "options": measured, "cases": cases}


def _figure(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), "goal": None if figure.goal is None else str(figure.goal), "met": figure.met}
