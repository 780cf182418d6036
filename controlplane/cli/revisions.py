"""`flexgate revisions` and `flexgate rollback`: what was committed, by whom, what it changed, and back again."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from controlplane.cli.agreed import Planned, agreed
from controlplane.cli.api import Api, Json, path_of
from controlplane.cli.documents import applied, unchanged
from controlplane.cli.failure import Code, Failure
from controlplane.cli.family import family
from controlplane.cli.manner import How, write
from controlplane.cli.plan import steps
from controlplane.cli.resources import Yes
from controlplane.cli.screen import Screen, clock, table
from controlplane.cli.talking import talking, writing


class Action(StrEnum):
    """How a revision came about."""

    write = "write"
    apply = "apply"
    rollback = "rollback"
    restore = "restore"


app = family("List, show and compare revisions.")
HEADINGS = ("REVISION", "TIME", "WHO", "DID", "CHANGES", "MESSAGE")
Number = Annotated[int, typer.Argument(min=0, help="Its number.")]
Past = Annotated[int, typer.Argument(min=1, help="Its number.")]


@app.command("list")
@talking
def listed(
    api: Api,
    screen: Screen,
    actor: Annotated[str, typer.Option(help="Whose.")] = "",
    action: Annotated[Action | None, typer.Option(help="How.")] = None,
    of: Annotated[str, typer.Option(metavar="KIND/NAME", help="That changed a resource: route/users.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 50,
) -> None:
    """List the revisions, newest first."""
    kind, _, name = of.partition("/")
    if of and not (kind and name):
        raise Failure(f"--of {of!r}: write KIND/NAME, such as route/users", Code.USAGE)
    query = {"actor": actor, "action": action, "kind": kind, "name": name}
    found = api.listed("/api/revisions", "revisions", query, limit)
    screen.show({"revisions": found}, lambda: [table(HEADINGS, map(_row, found))])


@app.command()
@talking
def show(api: Api, screen: Screen, revision: Number) -> None:
    """Show a revision, and what it changed."""
    found = api.get(path_of("revisions", str(revision)))
    screen.show(found, lambda: [table(HEADINGS, [_row(found)]), "", *steps(found["changes"])])


@app.command()
@talking
def diff(
    api: Api,
    screen: Screen,
    first: Number,
    second: Annotated[int | None, typer.Argument(min=0, help="Without it, the one before FIRST is compared.")] = None,
) -> None:
    """Show what makes the second revision of the first."""
    to, base = (first, "") if second is None else (second, first)
    found = api.get(path_of("revisions", str(to), "diff"), {"from": base})
    screen.show(found, lambda: list(steps(found["changes"])) or ["they are the same"])


@writing
def rollback(api: Api, screen: Screen, how: How, revision: Past, yes: Yes = False, if_match: Planned = "") -> None:
    """Make the configuration what it was at a revision, as a new one: the plan is shown first, and asked about.

    What was shown is done, or nothing: where somebody else commits in between, the new plan is asked about.
    """
    path = path_of("revisions", str(revision), "rollback")

    def plan() -> Json:
        found: Json = How(dry_run="1", force=True).sent(api, "POST", path).body
        return found

    def does(etag: str) -> None:
        write(api, screen, how, "POST", path, told=applied, if_match=etag)

    if how.dry_run:
        does(if_match)
        return
    agreed(
        screen,
        how,
        f"Go back to revision {revision}?",
        yes,
        plan=plan,
        does=does,
        if_match=if_match,
        nothing=lambda found: screen.show(unchanged(found), list),
    )


def _row(one: Json) -> list[str]:
    changes = str(one["changeCount"])
    return [str(one["revision"]), clock(one["timestamp"]), one["actor"], one["action"], changes, one["message"]]
