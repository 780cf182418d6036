"""What Kubernetes puts into the environment for Services that are named after FlexGate."""

from __future__ import annotations

import controlplane.settings
import dataplane.settings
from shared.service_links import without_service_links

LINKS = {
    "FLEXGATE_PORT": "tcp://10.0.0.7:3000",
    "FLEXGATE_ADMIN_PORT": "tcp://10.0.0.8:3001",
    "FLEXGATE_CP_PORT": "tcp://10.0.0.9:8080",
    "FLEXGATE_CP_GRPC_PORT": "tcp://[fd00::9]:50051",
}


def test_ports_of_services_are_not_settings() -> None:
    """Services named flexgate, flexgate-admin and flexgate-cp change nothing, and nothing is refused."""
    data = dataplane.settings.parse(("--config", "x.yml"), LINKS)
    assert (data.port, data.admin_port) == (None, None)
    control = controlplane.settings.parse((), LINKS)
    assert (control.port, control.grpc_port) == (8080, 50051)


def test_everything_else_stays() -> None:
    """A port that somebody set is a setting, and a URL elsewhere is none of a Service."""
    environ = {"FLEXGATE_PORT": "3100", "FLEXGATE_NODE_TOKEN": "tcp://x:1", "X_PORT": "tcp://"}
    assert without_service_links(environ) == environ
