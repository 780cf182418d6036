"""`flexgate rollout`: a revision that comes to the nodes in waves, is judged, and goes back by itself if it is bad."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.agreed import Planned, agreed
from controlplane.cli.api import Api, Json, path_of
from controlplane.cli.documents import compared
from controlplane.cli.failure import Code, Failure
from controlplane.cli.family import family
from controlplane.cli.fields import pairs, text
from controlplane.cli.manner import How, write
from controlplane.cli.resources import Yes
from controlplane.cli.screen import Screen, Shown, clock, table
from controlplane.cli.talking import talking, writing

app = family("Bring a configuration to the nodes in waves, and steer that.")
PATH = "/api/rollouts"
HEADINGS = ("ID", "STATE", "REVISION", "WAVE", "NODES", "STARTED", "BY", "MESSAGE", "REASON")
GOING = frozenset({"running", "paused", "rolling_back"})
EVERY = 2.0
PERCENT = re.compile(r"\d+(\.\d+)?%?")
Id = Annotated[int, typer.Argument(min=1, help="Its number.")]


@app.command()
@writing
def start(
    api: Api,
    screen: Screen,
    how: How,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML configuration; - reads the input.")],
    wave: Annotated[list[str], typer.Option("--wave", help="10%, or zone=a,tier=edge; one for each wave.")],
    bake: Annotated[str, typer.Option(help="How long a wave serves before the next.")] = "60s",
    gate: Annotated[
        list[str] | None, typer.Option("--gate", help="errorRateFactor=2 and the like, repeatable.")
    ] = None,
    on_fail: Annotated[str, typer.Option(help="rollback, or pause.")] = "rollback",
    follow: Annotated[bool, typer.Option("--follow", help="Wait for its end; exit code 6 unless it succeeds.")] = False,
    yes: Yes = False,
    if_match: Planned = "",
) -> None:
    """Make a file the configuration in waves: the plan is shown first, and asked about."""
    document = text(file)
    gates = _numbers(pairs(gate or [], "--gate"))
    waves = {"waves": [_wave(one) for one in wave], "bake": bake, "gates": gates, "onFail": on_fail}
    body = {"document": document, "plan": waves}

    def does(etag: str) -> None:
        begun = write(api, screen, how, "POST", PATH, body, told=lines, if_match=etag, place=str(file))
        if follow and not how.dry_run:
            followed(api, screen, begun["id"])

    if how.dry_run:
        does(if_match)
        return
    agreed(
        screen,
        how,
        f"Roll this out in {len(wave)} wave{'s' if len(wave) > 1 else ''}?",
        yes,
        plan=lambda: compared(api, document, file),
        does=does,
        if_match=if_match,
        nothing=_nothing,
    )


def _nothing(_: Json) -> None:
    raise Failure("nothing would change: there is nothing to roll out")


@app.command("list")
@talking
def listed(
    api: Api, screen: Screen, limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 20
) -> None:
    """List the rollouts, newest first."""
    found = api.listed(PATH, "rollouts", most=limit)
    screen.show({"rollouts": found}, lambda: [table(HEADINGS, map(_row, found))])


@app.command()
@talking
def show(
    api: Api,
    screen: Screen,
    id: Id,  # noqa: A002 - it is what is typed
    follow: Annotated[bool, typer.Option("--follow", help="Wait for its end; exit code 6 unless it succeeds.")] = False,
) -> None:
    """Show a rollout: its wave, its nodes, and what they serve compared with the others."""
    found = api.get(path_of("rollouts", str(id)))
    screen.show(found, lambda: lines(found))
    if follow:
        followed(api, screen, id)


def _steering(verb: str, says: str, done: str) -> None:
    @app.command(verb, help=says)
    @talking
    def steer(api: Api, screen: Screen, id: Id) -> None:  # noqa: A002 - it is what is typed
        found = api.send("POST", path_of("rollouts", str(id), verb)).body
        screen.show(found, lambda: [f"rollout {id} {done}", *lines(found)])


_steering("pause", "Hold everything where it is.", "holds")
_steering("resume", "Go on with a rollout that holds.", "goes on")
_steering("promote", "Give the revision to all nodes now, whatever the gates say.", "is given to all nodes")
_steering("abort", "Take the revision back now.", "is taken back")


def followed(api: Api, screen: Screen, number: int, pause: Callable[[float], None] = time.sleep) -> None:
    """Tells each step until the end; Failure unless it succeeded."""
    last = ""
    while True:
        found = api.get(path_of("rollouts", str(number)))
        step = _step(found)
        if step != last and screen.is_plain:
            screen.tell([step])
        if found["state"] not in GOING:
            break
        last = step
        pause(EVERY)
    if found["state"] != "succeeded":
        raise Failure(f"rollout {number} {found['state'].replace('_', ' ')}: {found['reason']}", Code.NOT_APPLIED)


def lines(found: Json) -> list[Shown]:
    """A rollout as people read it."""
    rows = [[name, *_served(found[name])] for name in ("candidate", "others", "before")]
    told: list[Shown] = [
        _step(found),
        f"revision  {found['revision']}, after {found.get('baseRevision', 0)}",
        f"started   {clock(found['startedAt'])} by {found.get('startedBy', '')}  {found['message']}".rstrip(),
        f"nodes     {' '.join(found['nodes']) or 'none yet'}",
    ]
    return [*told, "", table(("SERVED BY", "REQUESTS", "ERRORS", "ERROR RATE", "P99"), rows)]


def _step(found: Json) -> str:
    where = f"wave {found['wave']} of {found['waves']}, {found.get('phase', '')}" if found["state"] in GOING else ""
    what = [part for part in (found["state"].replace("_", " "), where, found["reason"]) if part]
    return f"rollout {found['id']}: {', '.join(what)}"


def _served(figures: Json) -> list[str]:
    return [str(figures["requests"]), str(figures["errors"]), f"{figures['errorRate']:g} %", f"{figures['p99']:g} ms"]


def _row(one: Json) -> list[str]:
    wave, nodes = f"{one['wave']}/{one['waves']}", "all" if one["everyone"] else str(len(one["nodes"]))
    who = one.get("startedBy", "")
    state = one["state"].replace("_", " ")
    started = clock(one["startedAt"])
    return [str(one["id"]), state, str(one["revision"]), wave, nodes, started, who, one["message"], one["reason"]]


def _wave(word: str) -> Json:
    if PERCENT.fullmatch(word):
        return {"percent": float(word.rstrip("%"))}
    return {"labels": pairs(word.split(","), "--wave")}


def _numbers(gates: dict[str, str]) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in gates.items()}
    except ValueError as error:
        raise Failure(f"--gate: {error}", Code.USAGE) from error
