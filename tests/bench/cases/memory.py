"""What one worker holds after it has seen all kinds of load: small answers, large answers, uploads, 64 connections."""

from __future__ import annotations

from tests.bench import procfs
from tests.bench.load import Load
from tests.bench.origin import MEBIBYTE, SMALL, UPLOAD
from tests.bench.outcome import Figure, Outcome, Row, at_most
from tests.bench.race import same_answer, window
from tests.bench.sample import MEGABYTE
from tests.bench.stage import Stage

CONNECTIONS = 64
LOADS = {
    "after small GET": Load(SMALL, connections=CONNECTIONS),
    "after 1 MiB responses": Load(MEBIBYTE, connections=CONNECTIONS),
    "after 64 KiB uploads": Load(UPLOAD, "POST", 64 * 1024, connections=CONNECTIONS),
}


def run(stage: Stage) -> Outcome:
    """FlexGate alone; resident memory of its whole process tree, before and after each load."""
    proxy = stage.flexgate()
    idle = procfs.usage(proxy.process.pid)
    resident = {"idle": idle.rss_bytes / MEGABYTE}
    for name, load in LOADS.items():
        same_answer(stage, proxy, load)
        resident[name] = window(stage, proxy, load, stage.options.seconds).rss_megabytes
    most = max(resident[name] for name in LOADS)
    return Outcome(
        [Row(name, {"RSS MB": megabytes}) for name, megabytes in resident.items()],
        [Figure("RSS after load, at most", most, "MB", at_most(80))],
        [f"{idle.processes} process(es)"],
    )
