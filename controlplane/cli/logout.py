"""`flexgate logout`: ends the login of a context, at the control plane and here."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from controlplane.cli.contexts import changing, place, read
from controlplane.cli.failure import Failure
from controlplane.cli.family import alone
from controlplane.cli.target import api


def logout(
    context: Annotated[
        str, typer.Option("--context", "-c", envvar="FLEXGATE_CONTEXT", help="Default: the current one.")
    ] = "",
) -> None:
    """End the login of a context."""
    file = place(os.environ)
    contexts = read(file)
    name = context or contexts.current
    if not name or contexts.named(name).login is None:
        raise Failure("there is no login to end")
    try:
        api("", "", name).send("POST", "/api/auth/logout")
    finally:
        with changing(file) as changed:
            if name in changed.known:
                changed.known[name].login = None
    typer.echo(f"logged out of {contexts.known[name].url}")


app = alone(logout)
