"""Where the configuration comes from: what the sources (the stream, a file) have in common, and what they serve.

A source offers what it received to the target, which compiles it and swaps it in, or refuses it and keeps the old.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from shared.faults import Fault
from shared.pb.discovery_pb2 import ResourceError
from shared.pb.explain_pb2 import Explanation, SampleRequest
from shared.pb.rollout_pb2 import Figures
from shared.table import Table

Origin = Literal["stream", "cache", "seed", "file", "none"]
"""Where the served configuration came from; "none": nothing is served."""


class Target(Protocol):
    """The part of the data plane that serves a configuration."""

    def apply(self, table: Table, revision: int) -> list[Fault]:
        """Serve this from now on; returns warnings. ConfigError: nothing changed, the old one keeps serving."""

    def live_nodes(self, count: int, every: float) -> None:
        """How many nodes share the limits, this one included; told every so many seconds."""

    def compiles(self, table: Table) -> None:
        """ConfigError where this would be refused; nothing is changed. May be called in a thread."""

    def explain(self, request: SampleRequest) -> Explanation:
        """What would become of this request now."""

    def figures(self) -> Figures | None:
        """What was served since the last apply; None where that is not counted."""


@dataclass(frozen=True, slots=True)
class Held:
    """A table that this node serves or could serve, with its place in a line of revisions."""

    table: Table
    revision: int
    epoch: str = ""  # of the store; "": it belongs to no control plane

    def __str__(self) -> str:
        return f"revision {self.revision}"


@dataclass(frozen=True, slots=True)
class Status:
    """What /health, /metrics and /config_dump tell about the configuration.

    `age_seconds` is for how long what is served may differ from what was asked for: it grows while the control plane is
    silent, and while its newest revision (or the file's newest edit) is refused. None: nothing is served.
    """

    source: Origin = "none"
    revision: int = 0
    digest: str = ""  # hex
    connected: bool = False
    control_plane: str = ""  # the address that is followed, or tried; "": runs alone
    age_seconds: float | None = None
    last_error: str = ""  # why the newest was refused, or why there is no connection; "": all is well
    drift_detected: int = 0
    apply_failures: int = 0
    save_failures: int = 0  # of last-known-good files
    fallback: str = ""  # why an older generation than the newest was taken at boot


class ConfigSource(Protocol):
    """Brings configurations to its target."""

    @property
    def status(self) -> Status:
        """As it is now."""

    def boot(self) -> None:
        """Serve what there is before anyone was asked; ConfigError where there must be something and is not."""

    async def run(self) -> None:
        """Follow what is published, until cancelled."""

    def stopped(self) -> None:
        """The process ends because it was asked to: that is no failure of what it serves."""


def on_wire(fault: Fault) -> ResourceError:
    """A fault as it travels."""
    return ResourceError(kind=fault.kind, name=fault.name, path=fault.path, code=fault.code, message=fault.message)
