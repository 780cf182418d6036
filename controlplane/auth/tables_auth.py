"""The tables of access. Times are epoch seconds.

A token or user is kept as the JSON mapping of its message (proto/flexgate/v1/access.proto); beside it stands what is
looked up, and what must never be shown.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Index, Integer, LargeBinary, Table, Text

from controlplane.store.tables import METADATA

ACCESS_STATE = Table(
    "access_state",  # one row, made with the table; every change begins with it, and so comes after the one before
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("version", BigInteger, nullable=False),
    Column("bootstrapped", Integer, nullable=False),  # 1: the first token was made, here or on another replica
)

ACCESS_TOKENS = Table(
    "access_tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False, unique=True),  # SHA-256 of the secret, hex
    Column("body", JSON, nullable=False),
    Column("last_used", Float),
)

ACCESS_USERS = Table(
    "access_users",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password", Text, nullable=False),  # argon2id; "" where there is none
    Column("subject", Text, unique=True),  # "ISSUER SUBJECT" of a provider; null for those with a password
    Column("body", JSON, nullable=False),
)

ACCESS_SESSIONS = Table(
    "access_sessions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("access_users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("csrf", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    Column("ended", Float),  # null while it lasts
)

ACCESS_REFRESH = Table(
    "access_refresh",  # every refresh token of a session, the used ones too: one that comes again was stolen
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("session_id", Text, ForeignKey("access_sessions.id", ondelete="CASCADE"), nullable=False),
    Column("issued", Float, nullable=False),
    Column("used", Float),
    Index(None, "session_id"),
)

ACCESS_KEYS = Table(
    "access_keys",  # what signs access tokens
    METADATA,
    Column("id", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("since", Float, nullable=False),
)
