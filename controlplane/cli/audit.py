"""`flexgate audit`: who did what, when, from where; searched, exported, and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.api import Api, Json
from controlplane.cli.failure import Failure
from controlplane.cli.family import family
from controlplane.cli.screen import Screen, clock, table
from controlplane.cli.talking import talking

app = family("Search, export and verify the audit log.")
HEADINGS = ("NUMBER", "TIME", "WHO", "ROLE", "DID", "WHAT", "FROM", "REVISION")
Actor = Annotated[str, typer.Option(help="Who.")]
Action = Annotated[str, typer.Option(help="Did what: config.write, token.create and so on.")]
Target = Annotated[str, typer.Option(help="To what.")]
Since = Annotated[str, typer.Option(help="A time in ISO 8601, included.")]
Until = Annotated[str, typer.Option(help="A time in ISO 8601, excluded.")]
Search = Annotated[str, typer.Option(help="Text anywhere in an entry.")]


@app.command("list")
@talking
def listed(
    api: Api,
    screen: Screen,
    actor: Actor = "",
    action: Action = "",
    target: Target = "",
    since: Since = "",
    until: Until = "",
    search: Search = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """List what was done, newest first."""
    query = {"actor": actor, "action": action, "target": target, "since": since, "until": until, "search": search}
    found = api.get("/api/audit", {**query, "pageSize": limit})
    screen.show(found, lambda: [table(HEADINGS, map(_row, found["logs"]))])


@app.command()
@talking
def verify(
    api: Api,
    screen: Screen,
    kept: Annotated[
        str, typer.Option("--hash", help="A hash that an earlier verify gave: it must be in the log.")
    ] = "",
) -> None:
    """Check the whole chain of hashes; exit code 1 where it is broken. Keep the hash elsewhere."""
    found = api.get("/api/audit/verify")
    screen.show(found, lambda: _verified(found))
    if not found["valid"]:
        raise Failure(f"the audit log is broken at entry {found['broken']}: {found['reason']}")
    if not kept or kept in {found["hash"], found["anchor"]} or f'"hash":"{kept}"' in api.get("/api/audit/export"):
        return
    if found["first"] > 1:
        raise Failure(
            f"no entry has the hash {kept}: the audit log was rewritten, unless it is of one of those before "
            f"{found['first']}, which were pruned: look for it in your export of these, whose last is {found['anchor']}"
        )
    raise Failure(f"no entry has the hash {kept}: the audit log was rewritten")


@app.command()
@talking
def export(
    api: Api,
    screen: Screen,
    actor: Actor = "",
    action: Action = "",
    target: Target = "",
    since: Since = "",
    until: Until = "",
    search: Search = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file.")] = None,
) -> None:
    """Print every entry as a line of JSON, oldest first."""
    query = {"actor": actor, "action": action, "target": target, "since": since, "until": until, "search": search}
    lines = api.get("/api/audit/export", query) or ""
    if out is None:
        typer.echo(lines, nl=False)
        return
    try:
        out.write_text(lines)
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror}") from error
    screen.tell([f"wrote {lines.count(chr(10))} entries to {out}"])


def _verified(found: Json) -> list[str]:
    first, last = found["first"], found["rows"]
    lines = [f"{last - first + 1} entries, newest hash {found['hash']}"]
    if first > 1:
        lines.append(f"verified from entry {first}: those before were pruned, the last of them has {found['anchor']}")
    return lines


def _row(one: Json) -> list[str]:
    revision = str(one["revision"] or "")
    return [
        str(one["number"]),
        clock(one["timestamp"]),
        one["actor"],
        one["role"],
        one["action"],
        one["target"],
        one["address"],
        revision,
    ]
