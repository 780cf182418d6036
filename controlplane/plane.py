"""The live parts of one control plane, as its surfaces (REST, gRPC, metrics) read them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.auth.parts import Auth
from controlplane.certificate import CertificateFiles
from controlplane.events import Events
from controlplane.nodes import Nodes
from controlplane.publisher import Publisher
from controlplane.reach import Reach
from controlplane.rollout.rollouts import Rollouts
from controlplane.service import Service
from controlplane.source import Source
from controlplane.store.audit import Audit
from controlplane.store.database import Database
from controlplane.store.pruning import Pruner
from controlplane.telemetry import Reports
from controlplane.traffic import Traffic
from controlplane.trust.register import Register
from controlplane.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Plane:
    """One of each; `started` is on the monotonic clock."""

    service: Service
    publisher: Publisher
    source: Source
    nodes: Nodes
    traffic: Traffic
    reports: Reports
    events: Events
    database: Database
    audit: Audit
    auth: Auth
    rollouts: Rollouts
    reach: Reach
    pruner: Pruner
    register: Register | None = None
    """Of enrolled nodes; None where the gRPC port has no TLS, and so no node can enrol."""
    certificates: Mapping[str, CertificateFiles] = field(default_factory=dict)
    """Those that operators gave, by the port that shows them: rest, grpc."""
    started: float = field(default_factory=time.monotonic)

    @property
    def waiting(self) -> Waiting:
        """Tells who runs a revision."""
        return Waiting(self.nodes, self.publisher)

    @property
    def read_only(self) -> str:
        """Why configuration cannot be written here, and what to do instead; empty: it can be."""
        return self.service.read_only
