"""Nodes, enrolments and certificates as rows of tables."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from controlplane.cli.api import Json
from controlplane.cli.screen import Shown, age, clock, table

COLOURS = {"current": "green", "applying": "yellow", "nacked": "red", "disconnected": "dim"}
HEADINGS = ("NODE", "STATE", "RUNS", "WANTED", "SINCE", "VERSION", "LABELS", "WHY NOT")


def shown(found: list[Json], state: str = "") -> list[Shown]:
    """The table, or that there is nobody: at all, or in this state."""
    if found:
        return [rows(found)]
    return [f"no data plane is {state}" if state else "no data plane has connected yet"]


def rows(found: list[Json]) -> Table:
    """One row for each node."""
    return table(HEADINGS, map(_row, found))


def _row(node: Json) -> list[str | Text]:
    return [
        node["id"],
        Text(node["state"], style=COLOURS.get(node["state"], "")),
        str(node["ackedRevision"] or "-"),
        str(node["desiredRevision"]),
        age(node["connectedSeconds"]),
        node["version"],
        labels(node),
        reason(node),
    ]


def reason(node: Json) -> str:
    """Why a node does not run the newest revision; empty where it does."""
    if node["state"] == "nacked":
        errors = [": ".join(part for part in (_resource(e), e["path"], e["message"]) if part) for e in node["errors"]]
        return f"refused revision {node['nackedRevision']}: " + ("; ".join(errors) or "no reason given")
    if node["state"] == "applying" and not node["desiredRevision"]:
        return "there is no configuration to send yet"
    if node["state"] == "applying":
        return f"revision {node['sentRevision']} sent, no answer yet" if node["sentRevision"] else "nothing sent yet"
    if node["state"] == "disconnected":
        return f"gone for {age(node['connectedSeconds'])}"
    return ""


def _resource(error: Json) -> str:
    return f"{error['kind']} {error['name']}".strip()


def labels(body: Json) -> str:
    """NAME=VALUE of each."""
    return " ".join(f"{name}={value}" for name, value in sorted(body["labels"].items()))


def enrolled(made: Json) -> str:
    """The token, which nobody will see again, and what to do with it."""
    return (
        f"token        {made['token']}\n"
        f"fingerprint  {made['fingerprint']}\n"
        f"expires      {clock(made['expiresAt'])}\n\n"
        "It is shown this once, and good for one node:\n"
        f"  FLEXGATE_ENROL_TOKEN={made['token']} flexgate-dataplane --control-plane HOST:50051 "
        f"--ca-fingerprint {made['fingerprint']}"
    )


def enrolment(one: Json) -> list[str]:
    """A row."""
    made, until = clock(one["createdAt"]), clock(one["expiresAt"])
    return [one["id"], one["state"], one["node"], labels(one), made, one["createdBy"], until, one["usedBy"] or ""]


def certificate(one: Json) -> list[str]:
    """A row."""
    return [one["serial"], one["node"], one["state"], clock(one["issuedAt"]), clock(one["notAfter"]), one["reason"]]
