"""Where committed configuration lives. `Store` is the seam: a YAML file (`file`) or a database (`sql`) is the truth.

A store gives every commit a revision, one more than the last, on a line named by its epoch; a store that lost its
revisions, or was restored from a backup, starts a new epoch, so that no node takes an older configuration for a newer
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.actor import SYSTEM, Actor
from controlplane.changes import Changed, Json, Once, etag_at
from shared.pb.resources_pb2 import Config
from shared.pb.rollout_pb2 import RolloutPlan
from shared.table import Table, config_of


class Committed:
    """One revision: its resources, and the same as one document. `ids`: the last id given, by kind."""

    __slots__ = ("_config", "epoch", "ids", "revision", "table")

    def __init__(
        self,
        epoch: str,
        revision: int,
        table: Table,
        config: Config | None = None,
        ids: Mapping[str, int] | None = None,
    ) -> None:
        self.epoch = epoch
        self.revision = revision
        self.table = table
        self.ids = ids or {}
        self._config = config

    def __repr__(self) -> str:
        return f"<Committed {self.epoch}/{self.revision} {self.table!r}>"

    @property
    def etag(self) -> str:
        """What names this configuration."""
        return etag_at(self.epoch, self.revision)

    @property
    def config(self) -> Config:
        """The document; made when it is first asked for, which with 10 000 routes takes some 50 ms."""
        if self._config is None:
            self._config = config_of(self.table)
        return self._config


@dataclass(frozen=True, slots=True)
class Write:
    """What one commit is to do: `table` is the whole after it. `action`: write, apply, rollback or restore."""

    changes: tuple[Changed, ...]
    table: Table
    actor: Actor = SYSTEM
    action: str = "write"
    message: str = ""
    ids: Mapping[str, int] = field(default_factory=dict)
    config: Config | None = None  # the same as `table`, where it was a document
    once: Once | None = None
    answer: Json | None = None  # to `once`
    force: bool = False
    plan: RolloutPlan | None = None  # of the rollout that brings it to the nodes; None: they all get it at once
    ends: int = 0  # the rollout that it takes back


class Witness(Protocol):
    """Has a say in every commit, within its transaction: it refuses by raising, or keeps rows of its own."""

    async def __call__(
        self, connection: AsyncConnection, base: Committed | None, committed: Committed, write: Write, /
    ) -> None: ...


class Outdated(Exception):
    """The store has moved on from the revision that a write was made for; nothing was written."""


class Reader(Protocol):
    """Tells what is committed."""

    async def read(self) -> Committed | None:
        """The newest revision; None before the first commit. DatabaseGone where it cannot be asked."""
        ...


class Store(Reader, Protocol):
    """Keeps what was committed."""

    @property
    def newest(self) -> Committed | None:
        """What was read or committed last, without asking."""
        ...

    async def commit(self, base: Committed | None, write: Write) -> Committed:
        """Make this the newest revision, durably and in whole; `base` is what it was made for.

        Outdated where another writer was faster, ConfigError or DatabaseGone where it is not possible.
        """
        ...

    async def recall(self, once: Once) -> Json | None:
        """The answer that was kept for this key; KeyReused where it was for another request."""
        ...

    async def forget(self) -> None:
        """Remove what was kept for `recall` and is too old for it."""
        ...

    async def between(self, first: int, second: int) -> tuple[Changed, ...]:
        """What makes the configuration of revision `second` of that of `first`; NoRevision."""
        ...
