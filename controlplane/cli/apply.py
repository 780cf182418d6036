"""`flexgate apply`."""

from __future__ import annotations

from controlplane.cli.documents import apply
from controlplane.cli.family import alone

app = alone(apply)
