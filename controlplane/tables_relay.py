"""The table of the relay: what replicas ask each other. A row lives as long as the one who asked waits."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Index, LargeBinary, Table, Text

from controlplane.store.tables import METADATA

QUESTIONS = Table(
    "replica_questions",
    METADATA,
    Column("id", Text, primary_key=True),  # of the question
    Column("replica", Text, primary_key=True),  # who is to answer
    Column("asker", Text, nullable=False),
    Column("question", LargeBinary, nullable=False),  # a ReplicaQuestion
    Column("answer", LargeBinary),  # a ReplicaAnswer; NULL: not yet
    Column("expires", DateTime(timezone=True), nullable=False),  # by the database's clock alone
    Index(None, "replica"),
)
