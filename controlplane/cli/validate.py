"""`flexgate validate`: everything that is wrong with a configuration, before anyone serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.failure import Code
from controlplane.cli.family import alone
from controlplane.fault_text import line_of
from shared.document import read_file
from shared.faults import ConfigError


def validate(file: Annotated[Path, typer.Argument(help="The YAML configuration.")]) -> None:
    """Print every fault of a configuration as FILE:LINE: path: message. Exit code 1 where there is one, else 0."""
    try:
        document = read_file(file)
    except ConfigError as error:
        for fault in error.faults:
            typer.echo(line_of(str(file), fault), err=True)
        raise typer.Exit(Code.REFUSED) from None
    for warning in document.warnings:
        typer.echo(f"warning: {line_of(str(file), warning)}", err=True)
    config = document.config
    counts = f"{len(config.routes)} routes, {len(config.upstreams)} upstreams, {len(document.warnings)} warnings"
    typer.echo(f"{file}: good ({counts})")


app = alone(validate)
