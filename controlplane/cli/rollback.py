"""`flexgate rollback`."""

from __future__ import annotations

from controlplane.cli.family import alone
from controlplane.cli.revisions import rollback

app = alone(rollback)
