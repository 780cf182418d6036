"""What Alembic runs for every migration: `migrate` hands it a connection that is in a transaction already."""

from __future__ import annotations

from alembic import context

from controlplane.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # on SQLite too: all of it happens, or nothing
)
context.run_migrations()
