"""The tables of the configuration and of its history. Other parts add theirs to METADATA, next to what uses them.

A resource is kept as the JSON mapping of its message; the model itself is proto/flexgate/v1/resources.proto. No order
comes from a clock: revisions and audit rows are numbered. Times are epoch milliseconds, for people.
Docs: docs/decisions/0012-the-database-keeps-resources-and-changes.md.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)
NULLABLE_JSON = JSON(none_as_null=True)

HEAD = Table(
    "head",  # one row, made with the database: what is committed; whoever writes configuration locks it first
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("epoch", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("ids", JSON, nullable=False),  # kind -> the last id that was given
)

RESOURCES = Table(
    "resources",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("id", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False, index=True),  # the revision that changed it last
    Column("body", JSON, nullable=False),
)

REVISIONS = Table(
    "revisions",
    METADATA,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),  # write | apply | rollback | restore
    Column("message", Text, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("changes", Integer, nullable=False),  # how many rows of `changes` belong to it
    Column("digest", Text, nullable=False),  # of the table at this revision, hex
)

CHANGES = Table(
    "changes",  # what a revision did: enough to undo it
    METADATA,
    Column("revision", BigInteger, ForeignKey("revisions.revision"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("before", NULLABLE_JSON),  # null: it was created
    Column("after", NULLABLE_JSON),  # null: it was deleted
    Index(None, "kind", "name"),
)

AUDIT = Table(
    "audit",  # append-only; each row's hash is made of the row and of the hash before it
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("revision", BigInteger),
    Column("detail", JSON, nullable=False),  # secrets are redacted before they come here
    Column("hash", Text, nullable=False),
    Index(None, "actor"),
    Index(None, "action"),
    Index(None, "target"),
)

AUDIT_TAIL = Table(
    "audit_tail",  # one row, made with the database: the newest of `audit`; locked last, by whoever appends
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("number", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

HORIZON = Table(
    "horizon",  # one row, made with the table: what was pruned, as far as what is left needs it
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("revision", BigInteger, nullable=False),  # the last revision that was pruned; 0: none
    Column("audit", BigInteger, nullable=False),  # the number of the last audit row that was
    Column("audit_hash", Text, nullable=False),  # its hash, which the next row's is made of
    Column("audit_revision", BigInteger, nullable=False),  # the newest revision that pruned rows told of
)

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    Column("subject", Text, primary_key=True),  # who sent it: keys of others do not count
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("answer", JSON, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)
