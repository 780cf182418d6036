"""Does a longer table cost more? The same request, whose route stands last, in tables of three lengths."""

from __future__ import annotations

from tests.bench import compare
from tests.bench.load import Load
from tests.bench.origin import SMALL
from tests.bench.outcome import Outcome, at_most
from tests.bench.race import race
from tests.bench.stage import Stage

TABLES = {"1 route": 1, "1000 routes": 1000, "10000 routes": 10_000}


def run(stage: Stage) -> Outcome:
    """FlexGate against itself; all three run at once and take turns."""
    proxies = [stage.flexgate(routes, name) for name, routes in TABLES.items()]
    samples = race(stage, proxies, Load(SMALL))
    one, *longer = TABLES
    return Outcome(
        compare.rows(samples),
        [
            compare.ratio(samples, "cpu_us", name, one, name=f"CPU with {name} / 1 route", goal=at_most(1.1))
            for name in longer
        ],
        compare.notes(samples),
    )
