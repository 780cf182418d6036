"""`flexgate migrate`: brings a database to this version before the control plane starts, or to see that it can be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.failure import Failure
from controlplane.cli.family import alone
from controlplane.settings import default_database
from controlplane.start_error import StartError
from controlplane.store.database import Database, DatabaseGone
from controlplane.store.migrate import migrate as bring_up


def migrate(
    database: Annotated[str, typer.Option(envvar="FLEXGATE_DATABASE_URL", help="Its URL.")] = "",
    state_dir: Annotated[
        Path, typer.Option(envvar="FLEXGATE_CP_STATE_DIR", help="Where its file is, without a URL.")
    ] = Path(".flexgate/control-plane"),
) -> None:
    """Bring the tables of the database to what this version needs."""
    try:
        before, after = asyncio.run(_migrate(database or default_database(state_dir)))
    except (StartError, DatabaseGone) as error:
        raise Failure(str(error)) from None
    typer.echo(f"at version {after} already" if before == after else f"version {before or 'none'} -> {after}")


async def _migrate(url: str) -> tuple[str, str]:
    database = Database(url)
    try:
        return await bring_up(database)
    finally:
        await database.close()


app = alone(migrate)
