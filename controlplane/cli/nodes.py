"""`flexgate nodes`: every data plane, what it runs, and why not what it should."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controlplane.cli.client import DEFAULT_URL, Format, Output, Token, Url, get

COLOURS = {"current": "green", "applying": "yellow", "nacked": "red", "disconnected": "dim"}
PAGE = "/api/nodes?limit=1000"
PIPE_WIDTH = 200
"""Columns where the output is not a terminal, so that nothing is cut in scripts."""


def nodes(url: Url = DEFAULT_URL, token: Token = "", output: Format = Output.table) -> None:
    """List the data planes: who runs which revision, and why not the newest."""
    found = get(url, PAGE, token)
    if output is Output.json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found["nodes"]:
        typer.echo("no data plane has connected yet")
        return
    console().print(table(found["nodes"]))


def console() -> Console:
    """Where tables go; names of nodes are not markup."""
    plain = Console(markup=False, highlight=False, emoji=False)
    return plain if plain.is_terminal else Console(markup=False, highlight=False, emoji=False, width=PIPE_WIDTH)


def table(found: list[dict[str, Any]]) -> Table:
    """One row for each node."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("NODE", "STATE", "RUNS", "WANTED", "SINCE", "VERSION", "LABELS", "WHY NOT"):
        shown.add_column(heading, overflow="fold")
    for node in found:
        state = Text(node["state"], style=COLOURS.get(node["state"], ""))
        labels = " ".join(f"{name}={value}" for name, value in sorted(node["labels"].items()))
        shown.add_row(
            Text(node["id"]),
            state,
            str(node["ackedRevision"] or "-"),
            str(node["desiredRevision"]),
            age(node["connectedSeconds"]),
            node["version"],
            Text(labels),
            Text(reason(node)),
        )
    return shown


def reason(node: dict[str, Any]) -> str:
    """Why a node does not run the newest revision; empty where it does."""
    if node["state"] == "nacked":
        errors = [": ".join(part for part in (_resource(e), e["path"], e["message"]) if part) for e in node["errors"]]
        return f"refused revision {node['nackedRevision']}: " + ("; ".join(errors) or "no reason given")
    if node["state"] == "applying":
        return f"revision {node['sentRevision']} sent, no answer yet" if node["sentRevision"] else "nothing sent yet"
    if node["state"] == "disconnected":
        return f"gone for {age(node['connectedSeconds'])}"
    return ""


def age(seconds: float) -> str:
    """A duration in one unit: 12s, 3m, 5h, 2d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def _resource(error: dict[str, Any]) -> str:
    return f"{error['kind']} {error['name']}".strip()
