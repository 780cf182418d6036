"""The tables of trust: the authority, enrolment tokens, and every certificate that was given to a node.

Times are epoch milliseconds of the control plane that wrote them.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, Table, Text

from controlplane.store.tables import METADATA

AUTHORITY = Table(
    "node_authority",  # one row
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("certificate", Text, nullable=False),  # PEM
    Column("key", Text, nullable=False),  # PEM: a secret
)

ENROLMENTS = Table(
    "node_enrolments",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),  # SHA-256 of the token
    Column("node", Text, nullable=False),  # who may use it; "": any node that has no certificate
    Column("labels", JSON, nullable=False),  # that the certificate will have
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("used_by", Text, nullable=False),  # the node; "" before it was used
)

CERTIFICATES = Table(
    "node_certificates",
    METADATA,
    Column("serial", Text, primary_key=True),  # hexadecimal
    Column("node", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("enrolment", Text, nullable=False),  # the token that it goes back to
    Column("revoked_at", BigInteger),
    Column("revoked_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "node"),
    Index(None, "not_after"),
)
