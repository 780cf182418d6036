"""A plan is shown, asked about, and done as it was shown, or not at all.

Where somebody else commits in between, the plan that it has become is shown, and asked about anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from controlplane.cli.api import Json
from controlplane.cli.failure import Code, Failure, Stale
from controlplane.cli.manner import How
from controlplane.cli.plan import planned
from controlplane.cli.screen import Screen, confirm

ANY = "*"
Planned = Annotated[
    str,
    typer.Option(
        "--if-match",
        metavar="ETAG",
        help="Only on top of the configuration with this etag, as `diff -o json` shows; * is whatever there is.",
    ),
]


def agreed(
    screen: Screen,
    how: How,
    question: str,
    yes: bool,
    *,
    plan: Callable[[], Json],
    does: Callable[[str], None],
    if_match: str = "",
    nothing: Callable[[Json], None],
) -> None:
    """`does` gets the etag that the write expects; `nothing` is told of a plan that changes nothing.

    With `--yes`, or without a terminal, a plan that is not true any more is a conflict (exit code 5).
    """
    while True:
        found = plan()
        etag = found.get("etag", "")
        if if_match not in {"", ANY, etag}:
            raise Stale(_moved(found), details=[f"its etag is {etag}, not {if_match}"])
        if screen.is_plain:
            screen.tell(planned(found))
        if not found["changes"]:
            nothing(found)
            return
        if found["needsForce"] and not how.force:
            raise Failure(f"held back: {found['needsForce']}", Code.CONFLICT)
        confirm(question, yes)
        try:
            does("" if if_match == ANY else etag)
            return
        except Stale as stale:
            if yes or not sys.stdin.isatty():
                raise Failure(str(stale), Code.CONFLICT, ["nothing was changed; repeat it for a new plan"]) from stale
            typer.echo("somebody else was faster, and nothing was changed; this is the plan now:", err=True)


def _moved(plan: Json) -> str:
    return f"somebody else changed the configuration: it is at revision {plan['revision']} by now"
