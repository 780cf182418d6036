"""`flexgate nodes`: every data plane, what it runs, and why not what it should; who may become one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from controlplane.cli.api import Api, path_of
from controlplane.cli.failure import Code, Failure
from controlplane.cli.family import family
from controlplane.cli.fields import pairs
from controlplane.cli.node_rows import certificate, enrolled, enrolment, shown
from controlplane.cli.screen import Screen, Shown, clock, confirm, table
from controlplane.cli.talking import talking

app = family("List, watch, enrol and revoke data planes.")
PATH = "/api/nodes"
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")]
Every = Annotated[float, typer.Option(min=1, help="Seconds between two looks.")]
EVERY = 2.0
"""Half of the requests that a token may make in a minute."""


class State(StrEnum):
    """How a node stands to the revision that it should run."""

    current = "current"
    applying = "applying"
    nacked = "nacked"
    disconnected = "disconnected"


@app.command("list")
@talking
def listed(
    api: Api,
    screen: Screen,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    watch: Watch = False,
    every: Every = EVERY,
) -> None:
    """List the data planes: who runs which revision, and why not the newest."""

    def look() -> Callable[[], list[Shown]]:
        found = api.listed(PATH, "nodes", {"state": state})
        return lambda: shown(found, state or "")

    if watch:
        watched(screen, look, every)
        return
    found = api.listed(PATH, "nodes", {"state": state})
    screen.show({"nodes": found}, lambda: shown(found, state or ""))


@app.command()
@talking
def enrol(
    api: Api,
    screen: Screen,
    node: Annotated[str, typer.Argument(help="The name that it must have; without one, any.")] = "",
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="NAME=VALUE, repeatable.")] = None,
    expires_in: Annotated[int, typer.Option(help="Seconds in which the token must be used.")] = 3600,
) -> None:
    """Make a single-use token with which one new data plane gets its certificate. It is shown once."""
    wanted = {"node": node, "labels": pairs(label or [], "--label"), "expiresIn": expires_in}
    made = api.send("POST", "/api/nodes/enrolments", wanted).body
    screen.show(made, lambda: [enrolled(made)])


@app.command()
@talking
def enrolments(
    api: Api, screen: Screen, state: Annotated[str, typer.Option(help="unused, used or expired.")] = ""
) -> None:
    """List the enrolment tokens, without their text."""
    found = api.listed("/api/nodes/enrolments", "enrolments", {"state": state})
    headings = ("ID", "STATE", "NODE", "LABELS", "MADE", "BY", "EXPIRES", "USED BY")
    screen.show({"enrolments": found}, lambda: [table(headings, map(enrolment, found))])


@app.command()
@talking
def withdraw(api: Api, screen: Screen, id: Annotated[str, typer.Argument(help="Of the enrolment.")]) -> None:  # noqa: A002 - it is what is typed
    """Make an enrolment token useless that was not used yet."""
    api.send("DELETE", path_of("nodes", "enrolments", id))
    screen.show({"withdrawn": id}, lambda: [f"withdrew {id}"])


@app.command()
@talking
def certificates(
    api: Api,
    screen: Screen,
    node: Annotated[str, typer.Option(help="Of this node only.")] = "",
    state: Annotated[str, typer.Option(help="good, expired or revoked.")] = "",
) -> None:
    """List the certificates that were given to nodes."""
    found = api.listed("/api/nodes/certificates", "certificates", {"node": node, "state": state})
    headings = ("SERIAL", "NODE", "STATE", "ISSUED", "UNTIL", "REASON")
    screen.show({"certificates": found}, lambda: [table(headings, map(certificate, found))])


@app.command()
@talking
def revoke(
    api: Api,
    screen: Screen,
    which: Annotated[str, typer.Argument(metavar="SERIAL|NODE", help="A certificate, or all good ones of a node.")],
    reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End the streams of a node, and let nobody in with its certificates again."""
    good = api.listed("/api/nodes/certificates", "certificates", {"state": "good"})
    serials = [one["serial"] for one in good if which in {one["serial"], one["node"]}]
    if not serials:
        raise Failure(f"there is no good certificate with the serial, or of the node, {which!r}")
    confirm(f"Revoke {len(serials)} certificate{'s' if len(serials) > 1 else ''} of {which}?", yes)
    for serial in serials:
        api.send("POST", path_of("nodes", "certificates", serial, "revoke"), {"reason": reason})
    screen.show({"revoked": serials}, lambda: [f"revoked {serial}" for serial in serials])


@app.command()
@talking
def authority(
    api: Api,
    screen: Screen,
    out: Annotated[Path | None, typer.Option(help="Write the certificate to this file, for a node's --ca.")] = None,
) -> None:
    """Show the authority by which new nodes know the control plane."""
    found = api.get("/api/nodes/authority")
    if out is not None:
        try:
            out.write_text(found["certificate"])
        except OSError as error:
            raise Failure(f"cannot write {out}: {error.strerror}", Code.REFUSED) from error
    screen.show(found, lambda: [f"fingerprint  {found['fingerprint']}", f"until        {clock(found['notAfter'])}"])


def watched(screen: Screen, look: Callable[[], Callable[[], list[Shown]]], every: float) -> None:
    """Frame after frame, until Ctrl-C; a control plane that is away for a while is told in its place."""
    if not screen.is_plain:
        raise Failure("--watch is for people; repeat the command for --output json", Code.USAGE)

    def frames() -> Iterator[Callable[[], list[Shown]]]:
        while True:
            try:
                yield look()
            except Failure as failure:
                if failure.code != Code.UNREACHABLE:
                    raise
                yield partial(_in_red, tuple(failure.lines))
            time.sleep(every)

    screen.watch(frames())


def _in_red(lines: Sequence[str]) -> list[Shown]:
    return [Text(line, style="red") for line in lines]
