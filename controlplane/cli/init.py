"""`flexgate init`: writes a configuration to start from."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.failure import Failure
from controlplane.cli.family import alone


def starter() -> str:
    """The commented configuration that new users begin with; it works with the demo upstream."""
    return files("controlplane").joinpath("starter.yml").read_text()


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("proxy.yml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented configuration to start from."""
    try:
        with file.open("w" if force else "x") as target:
            target.write(starter())
    except FileExistsError:
        raise Failure(f"{file} is already there; --force overwrites it") from None
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}") from error
    program = sys.argv[0]  # as it was typed: it may not be on the PATH
    typer.echo(f"wrote {file}\nnext: {program} validate {file}\n      {program} start --config {file}")


app = alone(init)
