"""The tables of presence: which control planes there are, and which nodes each of them has. None of it must last."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from controlplane.store.tables import METADATA

REPLICAS = Table(
    "replicas",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("beat", BigInteger, nullable=False),  # goes up while it lives: nobody compares clocks
)

PRESENCE = Table(
    "node_presence",
    METADATA,
    Column("node", Text, primary_key=True),
    Column("replica", Text, nullable=False),  # who has, or last had, its stream
    Column("body", LargeBinary, nullable=False),  # a Node as operators see it
    Index(None, "replica"),
)
