"""The configuration as one file: compared, applied and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.agreed import Planned, agreed
from controlplane.cli.api import Api, Json
from controlplane.cli.failure import Code, Failure
from controlplane.cli.fields import text
from controlplane.cli.manner import How, write
from controlplane.cli.plan import DONE, counted, planned
from controlplane.cli.resources import Yes
from controlplane.cli.screen import Output, Screen, Shown
from controlplane.cli.talking import talking, writing

File = Annotated[Path, typer.Argument(metavar="FILE", help="The YAML configuration; - reads the input.")]
DIFF, APPLY, EXPORT = "/api/config/diff", "/api/config/apply", "/api/config/export"


@talking
def diff(
    api: Api,
    screen: Screen,
    file: File,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit code 7 where something would change.")] = False,
) -> None:
    """Show what `flexgate apply FILE` would change, and change nothing."""
    plan = compared(api, text(file), file)
    screen.show(plan, lambda: planned(plan))
    if exit_code and plan["changes"]:
        raise typer.Exit(Code.DIFFERENT)


@writing
def apply(api: Api, screen: Screen, how: How, file: File, yes: Yes = False, if_match: Planned = "") -> None:
    """Make a file the whole configuration, in one revision: the plan is shown first, and asked about.

    What was shown is done, or nothing: where somebody else commits in between, the new plan is asked about.
    """
    document = text(file)

    def does(etag: str) -> None:
        write(api, screen, how, "POST", APPLY, document, told=applied, if_match=etag, place=str(file))

    if how.dry_run:
        does(if_match)
        return
    agreed(
        screen,
        how,
        "Apply this?",
        yes,
        plan=lambda: compared(api, document, file),
        does=does,
        if_match=if_match,
        nothing=lambda plan: screen.show(unchanged(plan), list),
    )


@talking
def export(
    api: Api,
    screen: Screen,
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file.")] = None,
) -> None:
    """Print the whole configuration as `flexgate apply` takes it, in YAML, or JSON with -o json. Secrets are hidden."""
    wanted = "json" if screen.output is Output.json else "yaml"
    found = api.get(EXPORT, {"format": wanted})
    written = found if isinstance(found, str) else json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(written, nl=False)
        return
    try:
        out.write_text(written)
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror}") from error


def compared(api: Api, document: str, file: Path) -> Json:
    """The plan of a document; Failure with the place of every fault in it."""
    plan: Json = api.send("POST", DIFF, document, place=str(file)).body
    return plan


def unchanged(plan: Json) -> Json:
    """What a write would have answered, where the plan changes nothing."""
    return {"revision": plan["revision"], "changes": []}


def applied(answer: Json) -> list[Shown]:
    """What became of it."""
    return [f"revision {answer['revision']}: {counted(answer['changes'], DONE) or 'nothing changed'}"]
