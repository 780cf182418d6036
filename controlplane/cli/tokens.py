"""`flexgate tokens`: API tokens, for programs."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.api import Api, Json, path_of
from controlplane.cli.family import family
from controlplane.cli.screen import Screen, clock, table
from controlplane.cli.talking import talking

app = family("Make, list and revoke API tokens.")
HEADINGS = ("NAME", "ROLE", "BEGINS", "MADE", "BY", "EXPIRES", "LAST USED")
Role = Annotated[str, typer.Option(help="viewer, operator or admin.")]


@app.command("list")
@talking
def listed(api: Api, screen: Screen, role: Role = "") -> None:
    """List the API tokens; no secrets, which nobody has."""
    found = api.listed("/api/tokens", "tokens", {"role": role})
    screen.show({"tokens": found}, lambda: [table(HEADINGS, map(_row, found))])


@app.command()
@talking
def create(
    api: Api,
    screen: Screen,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Role = "viewer",
    expires_in_days: Annotated[int, typer.Option(min=0, help="0: never.")] = 0,
    expires_at: Annotated[str, typer.Option(help="A time in ISO 8601, instead.")] = "",
) -> None:
    """Make an API token. Its secret is shown once."""
    wanted: Json = {"name": name, "role": role, "expiresInDays": expires_in_days, "expiresAt": expires_at}
    made = api.send("POST", "/api/tokens", {key: value for key, value in wanted.items() if value}).body
    shown = f"{made['secret']}\n\nIt is shown this once. Keep it where only {name} reads it, as FLEXGATE_TOKEN."
    screen.show(made, lambda: [shown])


@app.command()
@talking
def revoke(api: Api, screen: Screen, name: Annotated[str, typer.Argument(help="Or its id.")]) -> None:
    """End an API token, at once."""
    api.send("DELETE", path_of("tokens", name))
    screen.show({"revoked": name}, lambda: [f"revoked {name}"])


def _row(one: Json) -> list[str]:
    made, until, used = clock(one["createdAt"]), clock(one["expiresAt"]), clock(one["lastUsedAt"])
    return [one["name"], one["role"], f"{one['prefix']}...", made, one["createdBy"], until, used]
