"""A thousand nodes that are current lose their streams and come back at once: nobody is sent any configuration."""

from __future__ import annotations

from statistics import median

from tests.bench.control_plane import control_plane, document
from tests.bench.fleet import fleet
from tests.bench.outcome import Figure, Outcome, Row, at_most
from tests.bench.procfs import usage
from tests.bench.stage import Stage

ROUTES, NODES = 10_000, 1000


def run(stage: Stage) -> Outcome:
    """Connect them, break all streams, and connect them anew, without the pause of up to 30 s that real nodes make."""
    nodes = NODES // 10 if stage.options.quick else NODES
    with control_plane(stage.directory, stage.cores) as plane:
        plane.ask("POST", "/api/config/apply", document(ROUTES))
        status = plane.ask("GET", "/api/status")
        held = {"revision": status["revision"], "digest": status["digest"], "epoch": status["storeEpoch"]}
        alone = usage(plane.process.pid).rss_bytes
        with fleet(plane.grpc_port, stage.directory / "nodes.log") as simulated:
            simulated.connect(nodes, held)
            grown = usage(plane.process.pid).rss_bytes - alone
            storms, cpu = [], []
            for _ in range(stage.options.rounds):
                before = usage(plane.process.pid).cpu_seconds
                storms.append(simulated.again())
                cpu.append(usage(plane.process.pid).cpu_seconds - before)
            after = usage(plane.process.pid).rss_bytes - alone
    seconds = [storm.seconds for storm in storms]
    rows = [Row(f"{nodes} nodes", {"until all current s": median(seconds), "CPU s": median(cpu)})]
    figures = [
        Figure(
            f"bytes of configuration to {nodes} current nodes",
            max(storm.bytes for storm in storms),
            "bytes",
            at_most(0),
        ),
        Figure("until all are current", median(seconds), "s", spread=(min(seconds), max(seconds))),
        Figure("memory of a connected node", grown / nodes / 1024, "KiB"),
        Figure("the same after the storms", after / nodes / 1024, "KiB"),
        Figure(f"the control plane without nodes, {ROUTES} routes", alone / 2**20, "MiB"),
    ]
    return Outcome(rows, figures)
