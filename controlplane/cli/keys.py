"""`flexgate keys`: credentials of consumers. The control plane makes the secret, shows it once, and keeps a hash."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.api import Api, Json, path_of
from controlplane.cli.fields import document
from controlplane.cli.manner import How, write
from controlplane.cli.resources import File, IfMatch, Name, Yes, family_of, removed
from controlplane.cli.screen import Screen, Shown, clock
from controlplane.cli.talking import writing

app = family_of(
    "keys",
    "List, show, create, rotate, change and revoke keys of consumers.",
    {
        "NAME": lambda key: key["name"],
        "CONSUMER": lambda key: key.get("consumer"),
        "TYPE": lambda key: key.get("type"),
        "SCOPES": lambda key: key.get("scopes"),
        "EXPIRES": lambda key: clock(key.get("expiresAt")),
        "ON": lambda key: key["enabled"],
    },
    made_alike=False,
)


@app.command()
@writing
def create(
    api: Api,
    screen: Screen,
    how: How,
    consumer: Annotated[str, typer.Argument(help="Whose key it is.")] = "",
    name: Annotated[str, typer.Option(help="What it is called; default: after the consumer.")] = "",
    scope: Annotated[list[str] | None, typer.Option("--scope", help="Repeatable.")] = None,
    expires_at: Annotated[str, typer.Option(help="A time in ISO 8601; default: never.")] = "",
    file: File = None,
) -> None:
    """Make a key for a consumer. Its secret is shown once."""
    typed: Json = {"consumer": consumer, "name": name, "scopes": scope, "expiresAt": expires_at}
    body = {key: value for key, value in typed.items() if value} | (document(file) if file else {})
    write(api, screen, how, "POST", "/api/keys", body, told=secret)


@app.command()
@writing
def rotate(
    api: Api,
    screen: Screen,
    how: How,
    name: Name,
    grace: Annotated[str, typer.Option(help="How long the old secret works on: 24h, 30m; 0: not at all.")] = "24h",
) -> None:
    """Give a key a new secret, shown once; the old one works on for a while."""
    write(api, screen, how, "POST", path_of("keys", name, "rotate"), {"grace": grace}, told=secret)


@app.command()
@writing
def revoke(api: Api, screen: Screen, how: How, name: Name, yes: Yes = False, if_match: IfMatch = "") -> None:
    """End a key: nodes refuse it from this revision on."""
    removed(api, screen, how, "keys", name, yes=yes, if_match=if_match, verb="revoke")


def secret(answer: Json) -> list[Shown]:
    """The secret, which nobody will see again."""
    who = answer.get("consumer") or answer["name"]
    if "secret" not in answer:  # a credential that came with its own
        return [f"created key {answer['name']}"]
    return [f"{answer['secret']}\n\nIt is shown this once. It is the key {answer['name']} of {who}."]
