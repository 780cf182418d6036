"""`flexgate migrate`."""

from __future__ import annotations

from controlplane.cli.database import migrate
from controlplane.cli.family import alone

app = alone(migrate)
