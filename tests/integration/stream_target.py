"""What the data plane's sources are tested against: a target that notes what it is told, and tables for it."""

from __future__ import annotations

import threading

from shared.faults import ConfigError, Fault
from shared.pb.explain_pb2 import Explanation, SampleRequest
from shared.pb.resources_pb2 import Resource, Route
from shared.pb.rollout_pb2 import Figures
from shared.table import Table, pack
from tests.support.deadline import DEADLINE, Bell


def route(name: str, upstream: str = "u") -> Resource:
    """A route as it travels."""
    return pack("route", name, Route(name=name, path=f"/{name}", upstream=upstream))


def table(*names: str) -> Table:
    """A table of routes with these names."""
    return Table(map(route, names))


def names(of: Table) -> set[str]:
    """The names of the resources in a table."""
    return {name for _, name in of}


class NotingTarget:
    """Serves whatever it is given, except tables with a route named "bad" (refused) or "bug" (a fault of ours)."""

    def __init__(self) -> None:
        self.warnings: list[Fault] = []  # of every apply
        self.table: Table | None = None
        self.revision = 0
        self.applied: list[int] = []
        self.live: list[int] = []
        self.served: Figures | None = None  # what heartbeats tell of traffic
        self.trials = 0  # begun
        self.compiled: list[Table] = []
        self.release = threading.Event()  # until it is set, a table with a route named "slow" compiles
        self.bell = Bell()

    def apply(self, table: Table, revision: int) -> list[Fault]:
        if ("route", "bug") in table:
            raise ZeroDivisionError("a bug in compile")
        if ("route", "bad") in table:
            raise ConfigError([Fault("upstream", "there is no such upstream", "unknown_reference", "route", "bad")])
        self.table, self.revision = table, revision
        self.applied.append(revision)
        self.bell.ring()
        return self.warnings

    def compiles(self, table: Table) -> None:
        self.trials += 1
        if ("route", "slow") in table:
            assert self.release.wait(DEADLINE)
        if ("route", "bug") in table:
            raise ZeroDivisionError("a bug in compile")
        if ("route", "bad") in table:
            raise ConfigError([Fault("upstream", "there is no such upstream", "unknown_reference", "route", "bad")])
        self.compiled.append(table)

    def explain(self, request: SampleRequest) -> Explanation:
        if request.path == "/bug":
            raise ZeroDivisionError("a bug in explain")
        return Explanation(revision=self.revision, matched=True, route=request.path.strip("/"))

    def figures(self) -> Figures | None:
        return self.served

    def live_nodes(self, count: int, every: float) -> None:
        self.live.append(count)
        self.bell.ring()
