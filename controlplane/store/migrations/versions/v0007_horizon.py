"""The horizon: how far back history goes, and where the audit chain begins since it was pruned.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    horizon = op.create_table(
        "horizon",
        sa.Column("one", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("audit", sa.BigInteger, nullable=False),
        sa.Column("audit_hash", sa.Text, nullable=False),
        sa.Column("audit_revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_horizon"),
    )
    op.bulk_insert(horizon, [{"one": 1, "revision": 0, "audit": 0, "audit_hash": "", "audit_revision": 0}])
