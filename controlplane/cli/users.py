"""`flexgate users`: people, who log in."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.api import Api, Json, path_of
from controlplane.cli.failure import Code, Failure
from controlplane.cli.family import family
from controlplane.cli.login import password
from controlplane.cli.screen import Screen, clock, confirm, table
from controlplane.cli.talking import talking

app = family("Make, list, change and delete users.")
HEADINGS = ("NAME", "ROLE", "E-MAIL", "STATE", "KNOWN TO", "MADE")
Name = Annotated[str, typer.Argument(help="Or the id.")]
Role = Annotated[str, typer.Option(help="viewer, operator or admin.")]
Email = Annotated[str, typer.Option(help="An address.")]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the input; else it is asked for.")
]


@app.command("list")
@talking
def listed(api: Api, screen: Screen, role: Role = "") -> None:
    """List the users."""
    found = api.listed("/api/users", "users", {"role": role})
    screen.show({"users": found}, lambda: [table(HEADINGS, map(_row, found))])


@app.command()
@talking
def create(
    api: Api,
    screen: Screen,
    name: Annotated[str, typer.Argument(help="What the user logs in as.")],
    role: Role = "viewer",
    email: Email = "",
    password_stdin: Stdin = False,
) -> None:
    """Make a user who logs in with a password."""
    wanted = {"name": name, "role": role, "email": email, "password": password(f"Password of {name}: ", password_stdin)}
    made = api.send("POST", "/api/users", wanted).body
    screen.show(made, lambda: [f"made {made['name']}, {made['role']}"])


@app.command("set")
@talking
def change(
    api: Api,
    screen: Screen,
    name: Name,
    role: Role = "",
    email: Email = "",
    disabled: Annotated[bool | None, typer.Option("--disabled/--enabled", help="Whether the user may log in.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="A new password, from the input.")] = False,
) -> None:
    """Change a user; what is not given stays."""
    wanted: Json = {"role": role, "email": email, "disabled": disabled}
    changes = {key: value for key, value in wanted.items() if value not in ("", None)}
    if password_stdin:
        changes["password"] = password("", True)
    if not changes:
        raise Failure("nothing was given to change", Code.USAGE)
    made = api.send("PATCH", path_of("users", name), changes).body
    screen.show(made, lambda: [table(HEADINGS, [_row(made)])])


@app.command()
@talking
def delete(
    api: Api, screen: Screen, name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a user, whose sessions end."""
    confirm(f"Delete the user {name}?", yes)
    api.send("DELETE", path_of("users", name))
    screen.show({"deleted": name}, lambda: [f"deleted {name}"])


def _row(one: Json) -> list[str]:
    state = "disabled" if one["disabled"] else "good"
    return [one["name"], one["role"], one["email"], state, one["issuer"] or "password", clock(one["createdAt"])]
