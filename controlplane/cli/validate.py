"""`flexgate validate`: everything that is wrong with a configuration, before anyone serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.failure import Code
from controlplane.cli.family import alone
from controlplane.cli.screen import Output, Screen
from controlplane.fault_text import fields_of, line_of
from shared.document import read_file
from shared.faults import ConfigError, Fault


def validate(
    file: Annotated[Path, typer.Argument(help="The YAML configuration.")],
    output: Annotated[Output, typer.Option("--output", "-o", help="For people, or for programs.")] = Output.table,
) -> None:
    """Print every fault of a configuration as FILE:LINE: path: message. Exit code 1 where there is one, else 0."""
    try:
        document = read_file(file)
    except ConfigError as error:
        _tell(output, file, error.faults, [])
        raise typer.Exit(Code.REFUSED) from None
    _tell(output, file, [], document.warnings)
    config = document.config
    counts = f"{len(config.routes)} routes, {len(config.upstreams)} upstreams, {len(document.warnings)} warnings"
    if output is Output.table:
        typer.echo(f"{file}: good ({counts})")


def _tell(output: Output, file: Path, faults: list[Fault], warnings: list[Fault]) -> None:
    """Lines on stderr, or what POST /api/config/validate answers."""
    if output is not Output.table:
        told = {"errors": [fields_of(one) for one in faults], "warnings": [fields_of(one) for one in warnings]}
        Screen(output).show({"valid": not faults, **told}, list)
        return
    for fault in faults:
        typer.echo(line_of(str(file), fault), err=True)
    for warning in warnings:
        typer.echo(f"warning: {line_of(str(file), warning)}", err=True)


app = alone(validate)
