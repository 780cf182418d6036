"""The tables of rollouts: where each one stands, and which changes were taken back."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Table, Text

from controlplane.store.tables import METADATA

ROLLOUTS = Table(
    "rollouts",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),  # the candidate
    Column("state", Text, nullable=False),
    Column("version", BigInteger, nullable=False),  # goes up with every change of the row: whoever changes it names it
    Column("driver", Text, nullable=False),  # the control plane that drives it
    Column("body", JSON, nullable=False),  # the JSON mapping of flexgate.v1.Rollout
    Index(None, "state"),
    Index(None, "revision"),
)

QUARANTINE = Table(
    "quarantine",  # changes that a rollout took back: not committed again without force
    METADATA,
    Column("rollout", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("contents", JSON, nullable=False),  # a hash for each resource that it changed, see records.contents
)

VIEWS = Table(
    "rollout_views",  # what each control plane sees of the rollout that runs: for the one that drives it
    METADATA,
    Column("replica", Text, primary_key=True),
    Column("rollout", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),  # goes up with every look: one that stands still is of a dead process
    Column("body", JSON, nullable=False),  # the JSON mapping of flexgate.v1.RolloutView
)
