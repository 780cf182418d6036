"""`flexgate status`: is the configuration that I wrote the one that runs, and if not, where and why not."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.text import Text

from controlplane.cli.client import DEFAULT_URL, Format, Output, Token, Url, get
from controlplane.cli.nodes import PAGE, console, table


def status(url: Url = DEFAULT_URL, token: Token = "", output: Format = Output.table) -> None:
    """Show the revision, the state of its file, and who does and does not run it."""
    overall, found = get(url, "/api/status", token), get(url, PAGE, token)
    if output is Output.json:
        typer.echo(json.dumps(overall | {"nodeList": found["nodes"]}, indent=2))
        return
    screen = console()
    for line in lines(overall):
        screen.print(Text(line))
    if found["nodes"]:
        screen.print()
        screen.print(table(found["nodes"]))


def lines(overall: dict[str, Any]) -> list[str]:
    """The summary above the table."""
    source, counts = overall["source"], overall["nodes"]
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none has connected yet"
    shown = [
        f"revision  {overall['revision']}  (digest {overall['digest'][:12]})",
        f"source    {source['file']}: {source['state']}",
    ]
    for fault in source["faults"]:
        place = f"line {fault['line']}: " if fault["line"] else ""
        shown.append(f"  fault   {place}{fault['path']}: {fault['message']}")
    if source["faults"]:
        shown.append(f"  the file is not applied; revision {overall['revision']} keeps serving")
    shown.append(f"nodes     {states}")
    return shown
