"""`flexgate context`: the control planes that somebody works with, by name."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from controlplane.cli.contexts import Context, changing, place, read
from controlplane.cli.failure import Code, Failure
from controlplane.cli.family import family
from controlplane.cli.reaching import CaFile, exposed, is_url, opener
from controlplane.cli.screen import Output, Screen, table

app = family("Name the control planes that you work with, and choose one.")
Name = Annotated[str, typer.Argument(help="What you call it.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="For people, or for programs.")]


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Argument(help="Its REST address, such as https://gateway.example.com.")],
    token: Annotated[
        str, typer.Option(envvar="FLEXGATE_TOKEN", help="An API token (better as a variable).", show_default=False)
    ] = "",
    ca_file: CaFile = "",
    use: Annotated[bool, typer.Option("--use", help="Choose it, too; the first one is chosen anyway.")] = False,
) -> None:
    """Add a control plane, or change one. Without a token, `flexgate login` keeps a login in it."""
    if not is_url(url):
        raise Failure(f"{url!r} is no URL such as https://gateway.example.com", Code.USAGE)
    opener(ca_file)  # refuses a file that is none
    if token and (warning := exposed(url)):
        typer.echo(warning, err=True)
    with changing(place(os.environ)) as contexts:
        contexts.known[name] = Context(url, token, ca_file=os.path.abspath(ca_file) if ca_file else "")
        if use or not contexts.current:
            contexts.current = name
        chosen = contexts.current == name
    typer.echo(f"added {name}" + (", which is the current one" if chosen else ""))


@app.command()
def use(name: Name) -> None:
    """Choose the one that is meant where none is named."""
    with changing(place(os.environ)) as contexts:
        contexts.named(name)
        contexts.current = name
    typer.echo(f"{name} is the current one")


@app.command()
def remove(name: Name) -> None:
    """Forget one, and its token."""
    with changing(place(os.environ)) as contexts:
        contexts.named(name)
        del contexts.known[name]
        contexts.current = "" if contexts.current == name else contexts.current
    typer.echo(f"removed {name}")


@app.command("list")
def listed(output: Format = Output.table) -> None:
    """List them; never their tokens."""
    contexts = read(place(os.environ))
    found = [
        {"name": name, "url": known.url, "credential": _credential(known), "current": name == contexts.current}
        for name, known in sorted(contexts.known.items())
    ]
    rows = [["*" if one["current"] else "", str(one["name"]), str(one["url"]), str(one["credential"])] for one in found]
    nothing = "there are none; `flexgate context add NAME URL` makes one"
    Screen(output).show(found, lambda: [table(("", "NAME", "URL", "OPENED BY"), rows) if found else nothing])


def _credential(context: Context) -> str:
    if context.login is not None:
        return f"login of {context.login.user}"
    return "token" if context.token else "none"
