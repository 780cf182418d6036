"""`flexgate diff`."""

from __future__ import annotations

from controlplane.cli.documents import diff
from controlplane.cli.family import alone

app = alone(diff)
