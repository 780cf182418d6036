"""`flexgate export`."""

from __future__ import annotations

from controlplane.cli.documents import export
from controlplane.cli.family import alone

app = alone(export)
