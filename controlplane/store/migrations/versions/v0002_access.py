"""Access: API tokens, users, sessions, signing keys.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    state = op.create_table(
        "access_state",
        sa.Column("one", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("bootstrapped", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_access_state"),
    )
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("last_used", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_access_tokens"),
        sa.UniqueConstraint("name", name="uq_access_tokens_name"),
        sa.UniqueConstraint("digest", name="uq_access_tokens_digest"),
    )
    op.create_table(
        "access_users",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("body", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_access_users"),
        sa.UniqueConstraint("name", name="uq_access_users_name"),
        sa.UniqueConstraint("subject", name="uq_access_users_subject"),
    )
    op.create_table(
        "access_sessions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("csrf", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_access_sessions"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["access_users.id"], name="fk_access_sessions_user_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_access_sessions_user_id", "access_sessions", ["user_id"])
    op.create_index("ix_access_sessions_expires", "access_sessions", ["expires"])
    op.create_table(
        "access_refresh",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("issued", sa.Float, nullable=False),
        sa.Column("used", sa.Float),
        sa.PrimaryKeyConstraint("digest", name="pk_access_refresh"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["access_sessions.id"], name="fk_access_refresh_session_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_access_refresh_session_id", "access_refresh", ["session_id"])
    op.create_table(
        "access_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_access_keys"),
    )
    op.bulk_insert(state, [{"one": 1, "version": 0, "bootstrapped": 0}])
