"""The figure that all others stand on: a 110-byte answer, fetched over and over by few and by more connections."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import compare, flexgate
from tests.bench.load import Load
from tests.bench.origin import SMALL
from tests.bench.outcome import Outcome, at_least, at_most, joined
from tests.bench.race import race
from tests.bench.stage import Proxy, Stage

CONNECTIONS = (32, 64)


def run(stage: Stage) -> Outcome:
    """All contestants, with 32 connections and with 64; FlexGate interpreted too, where it is compiled."""
    proxies = stage.everyone()
    if flexgate.has_compiled():
        proxies.append(stage.flexgate(name="interpreted", interpreted=True))
    return joined([_compared(stage, proxies, connections) for connections in CONNECTIONS])


def _compared(stage: Stage, proxies: Sequence[Proxy], connections: int) -> Outcome:
    samples = race(stage, proxies, Load(SMALL, connections=connections))
    at = f" c={connections}"
    cpu = "cpu_us"
    return Outcome(
        compare.rows(samples, at),
        [
            compare.ratio(samples, cpu, "flexgate", "nginx", name="CPU of flexgate / nginx" + at, goal=at_most(2.5)),
            compare.ratio(
                samples, cpu, "textbook", "flexgate", name="CPU of textbook / flexgate" + at, goal=at_least(3.5)
            ),
        ],
        compare.notes(samples, at),
    )
