"""From start to ready: Python's start, imports, reading (of a file: also parsing and checking), compiling."""

from __future__ import annotations

from statistics import median

from tests.bench.outcome import Figure, Outcome, Row, at_most
from tests.bench.stage import Stage

TABLES = (1, 1000, 10_000)


KEPT = "last known good"
GOAL_SECONDS = 2.0


def run(stage: Stage) -> Outcome:
    """Boot FlexGate anew for every round; the time until /health/ready answers 200."""
    seconds = {f"{routes} routes": median(_boots(stage, routes)) for routes in TABLES}
    kept = f"{TABLES[-1]} routes, {KEPT}"
    seconds[kept] = median(_boots(stage, TABLES[-1], kept=True))
    return Outcome(
        [Row(name, {"ready after s": value}) for name, value in seconds.items()],
        [Figure("ready from the last known good, without a control plane", seconds[kept], "s", at_most(GOAL_SECONDS))],
    )


def _boots(stage: Stage, routes: int, *, kept: bool = False) -> list[float]:
    found = []
    for _ in range(stage.options.rounds):
        with Stage(stage.options, stage.cores) as fresh:
            found.append(fresh.flexgate(routes, kept=kept).boot_seconds)
    return found
