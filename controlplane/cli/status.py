"""`flexgate status`: is the configuration that I wrote the one that runs, and if not, where and why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane.cli.api import Api, Json
from controlplane.cli.family import alone
from controlplane.cli.node_rows import rows
from controlplane.cli.nodes import EVERY, PATH, Every, Watch, watched
from controlplane.cli.screen import Screen, Shown
from controlplane.cli.talking import talking


@talking
def status(api: Api, screen: Screen, watch: Watch = False, every: Every = 2 * EVERY) -> None:
    """Show the revision, where it comes from, and who does and does not run it."""

    def look() -> Callable[[], list[Shown]]:
        overall, nodes = _asked(api)
        return lambda: _told(overall, nodes)

    if watch:
        watched(screen, look, every)
        return
    overall, nodes = _asked(api)
    screen.show(overall | {"nodeList": nodes}, lambda: _told(overall, nodes))


app = alone(status)


def _asked(api: Api) -> tuple[Json, list[Json]]:
    return api.get("/api/status"), api.listed(PATH, "nodes")


def _told(overall: Json, nodes: list[Json]) -> list[Shown]:
    told: list[Shown] = [*lines(overall)]
    return [*told, "", rows(nodes)] if nodes else told


def lines(overall: dict[str, Any]) -> list[str]:
    """The summary above the table."""
    source, counts = overall["source"], overall["nodes"]
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none has connected yet"
    shown = [
        f"revision  {overall['revision']}  (digest {overall['digest'][:12]})"
        if overall["digest"]
        else "revision  none yet",
        f"source    {source['file']}: {source['state']}",
    ]
    for fault in source["faults"]:
        place = f"line {fault['line']}: " if fault["line"] else ""
        shown.append(f"  fault   {place}{fault['path']}: {fault['message']}")
    if source["faults"]:
        shown.append(f"  the file is not applied; revision {overall['revision']} keeps serving")
    shown.append(f"nodes     {states}")
    return shown
