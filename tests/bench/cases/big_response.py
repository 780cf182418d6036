"""Megabytes down: what copying bodies costs, where the cost of a request hardly counts."""

from __future__ import annotations

from tests.bench import compare
from tests.bench.load import Load
from tests.bench.origin import MEBIBYTE
from tests.bench.outcome import Outcome, at_least
from tests.bench.race import race
from tests.bench.stage import Stage


def run(stage: Stage) -> Outcome:
    """All contestants."""
    samples = race(stage, stage.everyone(), Load(MEBIBYTE))
    flow = "megabytes_per_second"
    return Outcome(
        compare.rows(samples),
        [
            compare.ratio(samples, flow, "flexgate", "nginx", name="MB/s of flexgate / nginx", goal=at_least(0.6)),
            compare.ratio(samples, flow, "flexgate", "textbook", name="MB/s of flexgate / textbook"),
            compare.ratio(samples, "cpu_us", "flexgate", "nginx", name="CPU of flexgate / nginx"),
        ],
        compare.notes(samples),
    )
