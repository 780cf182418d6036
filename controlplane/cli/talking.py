"""What commands take that talk to a control plane: which one, with which token, how the answer is shown, how to write.

A command is a function that takes what is made of these options first; the options come on top of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from controlplane.cli.api import Api
from controlplane.cli.manner import How
from controlplane.cli.reaching import CaFile
from controlplane.cli.screen import Output, Screen
from controlplane.cli.target import api

P = ParamSpec("P")


def talking(function: Callable[Concatenate[Api, Screen, P], None]) -> Callable[..., None]:
    """A command that takes the control plane and the screen."""
    return _command(function, _api, _screen)


def writing(function: Callable[Concatenate[Api, Screen, How, P], None]) -> Callable[..., None]:
    """A command that changes the configuration: how to do that comes third."""
    return _command(function, _api, _screen, _how)


def _api(
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
            *("--context", "-c"),
            envvar="FLEXGATE_CONTEXT",
            help="One of `flexgate context list`.",
            show_default=False,
        ),
    ] = "",
    ca_file: CaFile = "",
) -> Api:
    return api(url, token, context, ca_file)


def _screen(
    *, output: Annotated[Output, typer.Option("--output", "-o", help="For people, or for programs.")] = Output.table
) -> Screen:
    return Screen(output)


def _how(
    *,
    message: Annotated[str, typer.Option("--message", "-m", help="Why; for the revision and the audit log.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    dry_run_nodes: Annotated[
        bool, typer.Option("--dry-run-nodes", help="The same, and let the nodes compile it without serving it.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds in which all nodes must run it; else exit code 6.")
    ] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Do it although a guard holds it back.")] = False,
) -> How:
    return How(message, "nodes" if dry_run_nodes else "1" if dry_run else "", wait, force)


def _command(function: Callable[..., None], *makers: Callable[..., Any]) -> Callable[..., None]:
    own = list(inspect.signature(function, eval_str=True).parameters.values())[len(makers) :]
    common = [(maker, inspect.signature(maker, eval_str=True).parameters) for maker in makers]

    def command(**given: Any) -> None:
        made = [maker(**{name: given.pop(name) for name in names}) for maker, names in common]
        function(*made, **given)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    for _, names in reversed(common):
        parameters += names.values()
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    return command
