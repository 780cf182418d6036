"""One route of 10 000 is changed over REST, with 100 nodes connected: until all have acknowledged, at what cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from tests.bench.control_plane import ControlPlane, control_plane, document
from tests.bench.fleet import fleet
from tests.bench.invalid import InvalidRunError
from tests.bench.outcome import Figure, Outcome, Row, at_most
from tests.bench.procfs import usage
from tests.bench.stage import Stage

ROUTES, NODES = 10_000, 100
CHANGES = 40
"""In each round; the 99th percentile is that of all rounds together."""
WAIT = 30
SMALL = 4096
"""Bytes to a node that are a delta for sure; the snapshot has a MiB and more."""


def run(stage: Stage) -> Outcome:
    """Change one route after the other, and wait for all nodes each time; then the same without waiting."""
    with control_plane(stage.directory, stage.cores) as plane:
        plane.ask("POST", "/api/config/apply", document(ROUTES))
        with fleet(plane.grpc_port, stage.directory / "nodes.log") as nodes:
            first = nodes.connect(NODES)
            push(plane, 0, wait=WAIT)  # the first change builds what the others find
            nodes.counted()
            changes = CHANGES * stage.options.rounds if not stage.options.quick else CHANGES // 4
            before = usage(plane.process.pid).cpu_seconds
            waited = [timed(lambda number=number: push(plane, number, wait=WAIT)) for number in range(1, changes + 1)]  # type: ignore[misc]  # a default
            cpu = (usage(plane.process.pid).cpu_seconds - before) / changes
            sent = nodes.counted()
            plain = [timed(lambda number=number: push(plane, number)) for number in range(changes)]  # type: ignore[misc]  # a default
    if sent.messages.get("snapshot"):
        raise InvalidRunError(f"nodes were sent snapshots: {sent.messages}")
    each = sent.bytes / NODES / changes
    rows = [
        Row("until all have acknowledged", spread(waited) | {"CPU ms": cpu * 1000}),
        Row("until it is committed", spread(plain)),
    ]
    figures = [
        Figure(f"one route of {ROUTES}, {NODES} nodes: until all ACK, p99", percentile(waited, 99), "ms", at_most(100)),
        Figure("the same, p50", median(waited), "ms"),
        Figure("bytes of configuration to a node for it", each, "bytes", at_most(SMALL)),
        Figure("bytes of a snapshot to a node", first.bytes / NODES, "bytes"),
        Figure(f"{NODES} new nodes at once, until all hold a snapshot", first.seconds, "s"),
    ]
    return Outcome(rows, figures, [f"{changes} changes; {sent.messages.get('delta', 0)} deltas"])


def push(plane: ControlPlane, number: int, *, wait: int = 0) -> None:
    """Change one route to what it was not."""
    body = {"timeout": 1000 + number + (500 if wait else 0)}
    answer = plane.ask("PATCH", f"/api/routes/r{number * 37 % ROUTES}", body, wait=wait)
    if wait and (answer["applied"]["acked"] < NODES or answer["applied"].get("failed")):
        raise InvalidRunError(f"not every node runs it: {answer['applied']}")


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent are not above."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Columns of a row, in milliseconds."""
    return {
        "p50 ms": median(values),
        "p90 ms": percentile(values, 90),
        "p99 ms": percentile(values, 99),
        "max ms": max(values),
    }
