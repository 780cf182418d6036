"""`flexgate`: what operators type. `table` lists the commands; one file for each family.

Every error ends here: one or few lines on stderr, and an exit code that scripts can use; never a traceback.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]  # it does not say that it exports it
from typer.exceptions import TyperException

from controlplane.cli.failure import Code, Failure
from controlplane.cli.lazy import LazyGroup
from controlplane.cli.table import COMMANDS
from shared import __version__

COMPLETION = "_FLEXGATE_COMPLETE"
HELP = "Usage:"
"""How the message of a family begins that was typed without a command: it is the help, to be shown as it is."""

app = typer.Typer(
    cls=LazyGroup,
    help="FlexGate: an HTTP gateway for internal services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
)


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # names hold any letter, whatever LC_ALL says
    if COMPLETION in os.environ:  # a shell asks what could come next
        completion_init()
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read has left, as `head` does. What is still in the buffer has nowhere to go.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Code.REFUSED
    sys.exit(code)


def run() -> int:
    """Runs what was typed; the exit code."""
    try:
        return app(standalone_mode=False) or Code.OK
    except Failure as failure:
        typer.echo("\n".join(failure.lines), err=True)
        return failure.code
    except TyperException as error:
        message = error.format_message()
        if message.startswith(HELP):
            typer.echo(message, err=True)
        elif message := " ".join(message.split()):
            command = " ".join(["flexgate", *(word for word in sys.argv[1:2] if word in COMMANDS)])
            typer.echo(f"flexgate: {message} ({command} --help tells more)", err=True)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("interrupted", err=True)
        return Code.INTERRUPTED
