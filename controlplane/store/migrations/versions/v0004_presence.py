"""Presence: the control planes that share the database, and the nodes that each of them has.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_replicas"),
    )
    op.create_table(
        "node_presence",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("replica", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_node_presence"),
    )
    op.create_index("ix_node_presence_replica", "node_presence", ["replica"])
