"""Where committed configuration lives. `Store` is the seam: a YAML file (`file`) or a database (`sql`) is the truth.

A store gives every commit a revision, one more than the last, on a line named by its epoch; a store that lost its
revisions, or was restored from a backup, starts a new epoch, so that no node takes an older configuration for a newer
one.
"""

from __future__ import annotations

from typing import Protocol

from shared.pb.resources_pb2 import Config
from shared.table import Table, config_of


class Committed:
    """One revision: its resources, and the same as one document."""

    __slots__ = ("_config", "epoch", "revision", "table")

    def __init__(self, epoch: str, revision: int, table: Table, config: Config | None = None) -> None:
        self.epoch = epoch
        self.revision = revision
        self.table = table
        self._config = config

    def __repr__(self) -> str:
        return f"<Committed {self.epoch}/{self.revision} {self.table!r}>"

    @property
    def config(self) -> Config:
        """The document; made when it is first asked for, which with 10 000 routes takes some 50 ms."""
        if self._config is None:
            self._config = config_of(self.table)
        return self._config


class Store(Protocol):
    """Keeps what was committed."""

    async def read(self) -> Committed | None:
        """The newest revision; None before the first commit."""
        ...

    async def commit(self, config: Config, table: Table) -> Committed:
        """Make this the newest revision, durably; ConfigError where that is not possible, and then nothing changed."""
        ...
