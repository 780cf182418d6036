"""Databases as each version of the program wrote them, for `test_upgrades`: rows as SQL, one file for each migration.

v0001.sql to v0006.sql were written by the programs of those versions, later ones by `writing`. A migration comes with
the rows of its own version: `python -m tests.integration.upgrades` writes them.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.store.database import Database
from controlplane.store.migrate import migrate

DIRECTORY = Path(__file__).parent
PASSWORD = "correct horse battery"
TABLES = (
    *("head", "resources", "revisions", "changes", "audit", "audit_tail", "horizon", "idempotency"),
    *("access_state", "access_tokens", "access_users", "access_sessions", "access_refresh", "access_keys"),
    *("node_authority", "node_enrolments", "node_certificates", "replicas", "node_presence"),
    *("rollouts", "quarantine", "rollout_views", "replica_questions"),
)
"""In an order in which what refers to others comes after these."""
MADE = ("head", "audit_tail", "access_state", "horizon")
"""Those that have their one row from the migration."""


def file_of(version: str) -> Path:
    """Where the rows of a version are."""
    return DIRECTORY / f"v{version}.sql"


def secrets_of(version: str) -> dict[str, str]:
    """What the database keeps as hashes only: an API token, and one that is revoked."""
    line = file_of(version).read_text().splitlines()[1]
    found: dict[str, str] = json.loads(line.removeprefix("-- "))
    return found


async def load(url: str, version: str) -> None:
    """Make an empty database one of this version, with its rows."""
    database = Database(url)
    try:
        await migrate(database, version)
        statements = re.split(r";\n", re.sub(r"(?m)^-- .*\n", "", file_of(version).read_text()))
        async with database.transaction() as connection:
            for statement in filter(None, statements):
                bytes_ = r"X'\1'" if database.is_sqlite else r"'\\x\1'"
                await connection.exec_driver_sql(re.sub(r"X'([0-9a-f]*)'", bytes_, statement))
    finally:
        await database.close()


def dumped(file: Path, version: str, secrets: Mapping[str, str]) -> str:
    """The rows of a SQLite database as SQL that both databases take."""
    connection = sqlite3.connect(file)
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert there - {"alembic_version"} <= set(TABLES), "a table is missing in TABLES"
    lines = [
        f"-- A database as the program of version {version} wrote it; statements end with a line.",
        f"-- {json.dumps(secrets)}",
        *(f"DELETE FROM {table};" for table in MADE if table in there),
    ]
    for table in filter(there.__contains__, TABLES):
        rows = connection.execute(f"SELECT * FROM {table}")
        columns = ", ".join(f'"{column[0]}"' for column in rows.description)
        lines += [f"INSERT INTO {table} ({columns}) VALUES ({', '.join(map(_literal, row))});" for row in rows]
    connection.close()
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    return repr(value) if isinstance(value, int | float) else "'" + value.replace("'", "''") + "'"
