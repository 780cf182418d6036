"""`flexgate restore`."""

from __future__ import annotations

from controlplane.cli.database import restore
from controlplane.cli.family import alone

app = alone(restore)
