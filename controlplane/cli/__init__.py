"""`flexgate`: what operators type. One file for each command, and this one table of them."""

from __future__ import annotations

import sys

import typer
from typer.exceptions import TyperException

from controlplane.cli.init import init
from controlplane.cli.migrate import migrate
from controlplane.cli.nodes import nodes
from controlplane.cli.start import start
from controlplane.cli.status import status
from controlplane.cli.validate import validate
from shared import __version__

COMMANDS = (init, validate, start, nodes, status, migrate)

_NAMES = frozenset(command.__name__ for command in COMMANDS)

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
    """The console script. What was typed wrongly is told in one line, with exit code 2."""
    try:
        sys.exit(app(standalone_mode=False))
    except TyperException as error:
        if message := " ".join(error.format_message().split()):  # none after `flexgate` alone, which shows its help
            command = " ".join(["flexgate", *(word for word in sys.argv[1:2] if word in _NAMES)])
            typer.echo(f"flexgate: {message} ({command} --help tells more)", err=True)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)
