"""`flexgate completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # it does not say that it exports it

from controlplane.cli import COMPLETION
from controlplane.cli.family import alone


class Shell(StrEnum):
    """Those that are known."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which one.")]) -> None:
    """Print the completion script of a shell: source <(flexgate completion bash)"""
    typer.echo(get_completion_script(prog_name="flexgate", complete_var=COMPLETION, shell=shell.value))


app = alone(completion)
