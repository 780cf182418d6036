"""The commands that every kind of resource has: list, get, create, set and delete. Each kind has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.api import Api, Json, path_of
from controlplane.cli.failure import Code, Failure
from controlplane.cli.family import family
from controlplane.cli.fields import assigned, document, pairs
from controlplane.cli.manner import How, write
from controlplane.cli.screen import Screen, Shown, confirm, table
from controlplane.cli.talking import talking, writing
from shared.yaml_dump import dump

Name = Annotated[str, typer.Argument(help="Its name, or its id.")]
Fields = Annotated[list[str] | None, typer.Argument(metavar="FIELD=VALUE...", help="rateLimit.max=100 and the like.")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="The whole resource, YAML or JSON; - reads the input.")]
IfMatch = Annotated[str, typer.Option(help="The etag that it must have, as `get` shows; else exit code 5.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Columns = Mapping[str, Callable[[Json], object]]


def family_of(path: str, says: str, columns: Columns, *, made_alike: bool = True) -> typer.Typer:
    """The commands of a kind; `path` is what it is called in the API, `columns` are those of its table.

    `made_alike`: created and deleted as most are.
    """
    app = family(says)
    add_reading(app, path, columns)
    if made_alike:
        add_making(app, path)
    return app


def add_reading(app: typer.Typer, path: str, columns: Columns) -> None:
    """List, get and set."""
    one = path.removesuffix("s")
    article = "an" if one[0] in "aeiou" else "a"

    @app.command("list", help=f"List the {path}.")
    @talking
    def listed(
        api: Api,
        screen: Screen,
        where: Annotated[
            list[str] | None, typer.Option("--filter", help="FIELD=VALUE, repeatable; all must hold.")
        ] = None,
        search: Annotated[str, typer.Option(help="Text in its name, path, URL or consumer.")] = "",
        limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 0,
    ) -> None:
        found = api.listed(path_of(path), query={**pairs(where or [], "--filter"), "search": search}, most=limit)
        screen.show(found, lambda: [table(list(columns), (_row(columns, each) for each in found))])

    @app.command(help=f"Show {article} {one}, and its etag.")
    @talking
    def get(api: Api, screen: Screen, name: Name) -> None:
        answer = api.send("GET", path_of(path, name))
        etag = answer.headers.get("etag", "").strip('"')
        screen.show(answer.body, lambda: [dump(answer.body).rstrip(), f"# etag {etag}"])

    @app.command(
        "set",
        help=f"Change fields of {article} {one}; a file replaces the whole, or creates it.",
    )
    @writing
    def change(
        api: Api, screen: Screen, how: How, name: Name, fields: Fields = None, file: File = None, if_match: IfMatch = ""
    ) -> None:
        method, body = "PATCH" if file is None else "PUT", body_of(fields, file)

        def told(answer: Json) -> list[Shown]:
            return [f"{one} {answer['name']} is as you said"]

        write(api, screen, how, method, path_of(path, name), body, told=told, if_match=if_match)


def add_making(app: typer.Typer, path: str) -> None:
    """Create and delete."""
    one = path.removesuffix("s")
    article = "an" if one[0] in "aeiou" else "a"

    @app.command(help=f"Create {article} {one} of FIELD=VALUE, or of a file.")
    @writing
    def create(api: Api, screen: Screen, how: How, fields: Fields = None, file: File = None) -> None:
        def told(answer: Json) -> list[Shown]:
            return [f"created {one} {answer['name']}"]

        write(api, screen, how, "POST", path_of(path), body_of(fields, file), told=told)

    @app.command(help=f"Delete {article} {one}.")
    @writing
    def delete(api: Api, screen: Screen, how: How, name: Name, yes: Yes = False, if_match: IfMatch = "") -> None:
        removed(api, screen, how, path, name, yes=yes, if_match=if_match, verb="delete")


def removed(api: Api, screen: Screen, how: How, path: str, name: str, *, yes: bool, if_match: str, verb: str) -> None:
    """Asks, and takes a resource away."""
    one = path.removesuffix("s")
    if not how.dry_run:
        confirm(f"{verb.capitalize()} the {one} {name}?", yes)

    def told(_: object) -> list[Shown]:
        return [f"{verb}d {one} {name}"]

    write(api, screen, how, "DELETE", path_of(path, name), told=told, if_match=if_match)


def body_of(fields: list[str] | None, file: Path | None) -> Json:
    """What is typed, or what is in the file; Failure where it is neither, or both."""
    if bool(fields) == (file is not None):
        raise Failure("give FIELD=VALUE, or --file FILE", Code.USAGE)
    return document(file) if file is not None else assigned(fields or [])


def _row(columns: Columns, body: Json) -> list[str]:
    return [_text(value(body)) for value in columns.values()]


def _text(found: object) -> str:
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, list):
        return " ".join(map(str, found))
    return "" if found is None else str(found)
