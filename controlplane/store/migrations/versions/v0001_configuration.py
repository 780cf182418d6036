"""Configuration: resources, revisions, changes, the audit log, answers to repeated requests.

Revision ID: 0001
"""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    head = op.create_table(
        "head",
        sa.Column("one", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("ids", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_head"),
    )
    op.create_table(
        "resources",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_resources"),
    )
    op.create_index("ix_resources_version", "resources", ["version"])
    op.create_table(
        "revisions",
        sa.Column("revision", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Text, nullable=False),
        sa.Column("changes", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_revisions"),
    )
    op.create_table(
        "changes",
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("before", sa.JSON),
        sa.Column("after", sa.JSON),
        sa.PrimaryKeyConstraint("revision", "kind", "name", name="pk_changes"),
        sa.ForeignKeyConstraint(["revision"], ["revisions.revision"], name="fk_changes_revision"),
    )
    op.create_index("ix_changes_kind_name", "changes", ["kind", "name"])
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    for column in ("actor", "action", "target"):
        op.create_index(f"ix_audit_{column}", "audit", [column])
    tail = op.create_table(
        "audit_tail",
        sa.Column("one", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_audit_tail"),
    )
    op.create_table(
        "idempotency",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_expires", "idempotency", ["expires"])
    # A new database is a new line of revisions, whatever its name and its address.
    op.bulk_insert(head, [{"one": 1, "epoch": uuid4().hex, "revision": 0, "ids": {}}])
    op.bulk_insert(tail, [{"one": 1, "number": 0, "hash": ""}])
