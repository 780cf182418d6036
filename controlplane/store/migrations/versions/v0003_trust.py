"""Trust: the authority of nodes, enrolment tokens, certificates.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "node_authority",
        sa.Column("one", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("certificate", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_node_authority"),
    )
    op.create_table(
        "node_enrolments",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("used_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_node_enrolments"),
        sa.UniqueConstraint("digest", name="uq_node_enrolments_digest"),
    )
    op.create_table(
        "node_certificates",
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("not_after", sa.BigInteger, nullable=False),
        sa.Column("enrolment", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoked_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_node_certificates"),
    )
    for column in ("node", "not_after"):
        op.create_index(f"ix_node_certificates_{column}", "node_certificates", [column])
