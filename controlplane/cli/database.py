"""Commands over the database itself: no control plane is asked, and one may run meanwhile."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from controlplane.actor import ADMIN, Actor
from controlplane.cli.failure import Code, Failure
from controlplane.cli.resources import Yes
from controlplane.cli.screen import confirm
from controlplane.settings import default_database
from controlplane.start_error import StartError
from controlplane.store import backup as backups
from controlplane.store.database import Database, DatabaseGone
from controlplane.store.migrate import migrate as bring_up
from controlplane.store.migrate import opened

Url = Annotated[
    str, typer.Option("--database", envvar="FLEXGATE_DATABASE_URL", help="Its URL; default: in the state directory.")
]
StateDir = Annotated[
    Path, typer.Option(envvar="FLEXGATE_CP_STATE_DIR", help="The control plane's state directory, without a URL.")
]
DEFAULT = Path(".flexgate/control-plane")
T = TypeVar("T")


def migrate(database: Url = "", state_dir: StateDir = DEFAULT) -> None:
    """Bring the tables of a database to what this version needs."""

    async def work() -> tuple[str, str]:
        opening = Database(database or default_database(state_dir))
        try:
            return await bring_up(opening)
        finally:
            await opening.close()

    before, after = _run(work)
    typer.echo(f"at version {after} already" if before == after else f"version {before or 'none'} -> {after}")


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it; a file of this name is replaced.")],
    database: Url = "",
    state_dir: StateDir = DEFAULT,
) -> None:
    """Write one state of a SQLite database to a file, while the control plane runs or not."""

    async def work() -> None:
        async with opened(_existing(database, state_dir)) as found:
            await backups.backup(found, file)

    _run(work)
    typer.echo(f"wrote {file}")


def restore(
    file: Annotated[Path | None, typer.Argument(help="A backup of a SQLite database.")] = None,
    database: Url = "",
    state_dir: StateDir = DEFAULT,
    new_epoch: Annotated[
        bool,
        typer.Option("--new-epoch", help="It was restored by other means (pg_restore): nodes are to take it over."),
    ] = False,
    yes: Yes = False,
) -> None:
    """Make a SQLite database what it was when a backup was made; nodes take that over, without a restart."""
    url = database or default_database(state_dir)
    if (file is None) != new_epoch:
        raise Failure("give a backup, or --new-epoch where it was restored by other means", Code.USAGE)
    actor = Actor(f"{getpass.getuser()} (flexgate restore)", ADMIN)
    if file is None:
        begun = _run(lambda: _begun(url, actor))
        typer.echo(f"revision {begun.revision}, in a new epoch: nodes take it over")
        return
    confirm(f"Replace all that is in {url.rpartition('@')[2]}: configuration, users, tokens and audit log?", yes)

    async def work() -> backups.Restored:
        async with opened(url) as found:
            return await backups.restore(found, file, actor)

    restored = _run(work)
    typer.echo(f"restored {file} as revision {restored.revision}, in a new epoch: nodes take it over")


async def _begun(url: str, actor: Actor) -> backups.Restored:
    async with opened(url) as found:
        return await backups.new_epoch(found, actor)


def _existing(database: str, state_dir: Path) -> str:
    url = database or default_database(state_dir)
    if not database and not (state_dir / "flexgate.db").exists():
        raise Failure(f"there is no database in {state_dir}: give --state-dir or --database")
    return url


def _run(work: Callable[[], Awaitable[T]]) -> T:
    async def awaited() -> T:
        return await work()

    try:
        return asyncio.run(awaited())
    except (StartError, DatabaseGone, backups.BackupError) as error:
        raise Failure(str(error)) from error
