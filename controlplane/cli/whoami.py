"""`flexgate whoami`: who this is to the control plane."""

from __future__ import annotations

from controlplane.cli.api import Api
from controlplane.cli.family import alone
from controlplane.cli.screen import Screen
from controlplane.cli.talking import talking


@talking
def whoami(api: Api, screen: Screen) -> None:
    """Tell who you are to the control plane, and your role."""
    found = api.get("/api/auth/session")
    found.pop("csrfToken", None)
    screen.show(found, lambda: [f"{found['name']}, {found['role']} ({found['kind']}) at {api.url}"])


app = alone(whoami)
