"""`flexgate backup`."""

from __future__ import annotations

from controlplane.cli.database import backup
from controlplane.cli.family import alone

app = alone(backup)
