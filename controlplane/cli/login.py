"""`flexgate login`: a login by name and password, kept in a context and renewed by itself."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated

import typer

from controlplane.cli.api import LOGIN, Api, Fixed
from controlplane.cli.contexts import Context, changing, place, read
from controlplane.cli.failure import Code, Failure
from controlplane.cli.family import alone
from controlplane.cli.reaching import CaFile, exposed
from controlplane.cli.target import DEFAULT_URL
from controlplane.cli.target import login as granted


def login(
    name: Annotated[str, typer.Argument(metavar="USER", help="Your name at the control plane.")],
    context: Annotated[
        str, typer.Option("--context", "-c", envvar="FLEXGATE_CONTEXT", help="Where it is kept; default: the current.")
    ] = "",
    url: Annotated[
        str, typer.Option("--url", envvar="FLEXGATE_URL", help="The control plane, for a context that is new.")
    ] = "",
    ca_file: CaFile = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from the input.")] = False,
) -> None:
    """Log in with a name and a password. Programs use API tokens instead."""
    file = place(os.environ)
    contexts = read(file)
    kept = context or contexts.current or "default"
    known = contexts.known.get(kept)
    where = url or (known.url if known else DEFAULT_URL)
    authorities = os.path.abspath(ca_file) if ca_file else known.ca_file if known and known.url == where else ""
    if warning := exposed(where):
        typer.echo(warning, err=True)
    body = {"name": name, "password": password("Password: ", password_stdin)}
    answer = Api(where, Fixed(""), authorities).send("POST", LOGIN, body).body
    with changing(file) as changed:
        changed.known[kept] = Context(where, login=granted(answer), ca_file=authorities)
        changed.current = changed.current or kept
    typer.echo(f"logged in to {where} as {name}, {answer['user']['role']}; kept in the context {kept}")


def password(question: str, from_input: bool) -> str:
    """Asks without showing what is typed, or reads a line of the input."""
    if from_input:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise Failure("this is no terminal to ask for the password at: give it with --password-stdin", Code.USAGE)
    return getpass.getpass(question)


app = alone(login)
