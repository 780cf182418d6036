"""What all commands take that talk to a control plane: which one, with which token, and how the answer is shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from controlplane.cli.api import Api
from controlplane.cli.screen import Output, Screen
from controlplane.cli.target import api

P = ParamSpec("P")


def _where(
    *,
    url: Annotated[
        str, typer.Option("--url", envvar="FLEXGATE_URL", help="The control plane's REST address.", show_default=False)
    ] = "",
    token: Annotated[
        str,
        typer.Option(
            "--token",
            envvar=["FLEXGATE_TOKEN", "FLEXGATE_ADMIN_TOKEN"],
            help="An API token (better as a variable).",
            show_default=False,
        ),
    ] = "",
    context: Annotated[
        str,
        typer.Option(
            "--context",
            "-c",
            envvar="FLEXGATE_CONTEXT",
            help="One of `flexgate context list`.",
            show_default=False,
        ),
    ] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="For people, or for programs.")] = Output.table,
) -> tuple[Api, Screen]:
    return api(url, token, context), Screen(output)


def talking(function: Callable[Concatenate[Api, Screen, P], None]) -> Callable[..., None]:
    """Makes a command of a function that takes the control plane and the screen first; its options come on top."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[2:]
    common = inspect.signature(_where, eval_str=True).parameters

    def command(**given: Any) -> None:
        where = {name: given.pop(name) for name in common}
        run: Callable[..., None] = function
        run(*_where(**where), **given)

    parameters = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *common.values()]
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it, mypy does not
    return command
