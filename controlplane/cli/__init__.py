"""`flexgate`: what operators type. One file for each command, and this one table of them."""

from __future__ import annotations

import typer

from controlplane.cli.init import init
from controlplane.cli.nodes import nodes
from controlplane.cli.start import start
from controlplane.cli.status import status
from controlplane.cli.validate import validate
from shared import __version__

COMMANDS = (init, validate, start, nodes, status)

app = typer.Typer(
    help="FlexGate: an HTTP gateway for internal services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flexgate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Options that stand before a command."""


def main() -> None:
    """The console script."""
    app()
