"""From start to ready with the configuration in a file: Python's start, imports, parsing, checking, compiling."""

from __future__ import annotations

from statistics import median

from tests.bench.cores import Cores
from tests.bench.options import Options
from tests.bench.outcome import Figure, Outcome, Row
from tests.bench.stage import Stage

TABLES = (1, 1000, 10_000)


def run(stage: Stage) -> Outcome:
    """Boot FlexGate anew for every round; the time until /health/ready answers 200."""
    seconds = {routes: median(_boots(stage.options, stage.cores, routes)) for routes in TABLES}
    return Outcome(
        [Row(f"{routes} routes", {"ready after s": value}) for routes, value in seconds.items()],
        [Figure(f"ready with {TABLES[-1]} routes from a file", seconds[TABLES[-1]], "s")],
    )


def _boots(options: Options, cores: Cores, routes: int) -> list[float]:
    found = []
    for _ in range(options.rounds):
        with Stage(options, cores) as stage:
            found.append(stage.flexgate(routes).boot_seconds)
    return found
