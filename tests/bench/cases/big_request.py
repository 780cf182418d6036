"""Megabytes up: every contestant streams, the origin reads each body whole before it answers."""

from __future__ import annotations

from tests.bench import compare
from tests.bench.load import Load
from tests.bench.origin import UPLOAD
from tests.bench.outcome import Outcome, at_least
from tests.bench.race import race
from tests.bench.stage import Stage

MIB = 1 << 20


def run(stage: Stage) -> Outcome:
    """All contestants."""
    samples = race(stage, stage.everyone(), Load(UPLOAD, "POST", MIB))
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
