"""Requests with a body: one that comes with its head, and one that takes several reads."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import compare
from tests.bench.load import Load
from tests.bench.origin import SMALL, UPLOAD
from tests.bench.outcome import Outcome, joined
from tests.bench.race import race
from tests.bench.stage import Proxy, Stage

KIB = 1024
LOADS = {
    " 1 KiB": Load(SMALL, "POST", KIB),
    " 64 KiB": Load(UPLOAD, "POST", 64 * KIB),
}


def run(stage: Stage) -> Outcome:
    """All contestants, with both bodies."""
    proxies = stage.everyone()
    return joined([_compared(stage, proxies, body, load) for body, load in LOADS.items()])


def _compared(stage: Stage, proxies: Sequence[Proxy], body: str, load: Load) -> Outcome:
    samples = race(stage, proxies, load)
    return Outcome(
        compare.rows(samples, body),
        [
            compare.ratio(samples, "cpu_us", "flexgate", "nginx", name=f"CPU of flexgate / nginx,{body}"),
            compare.ratio(samples, "cpu_us", "textbook", "flexgate", name=f"CPU of textbook / flexgate,{body}"),
        ],
        compare.notes(samples, body),
    )
