"""`flexgate explain`: what the nodes would do with a request. Nothing is sent, nothing is counted."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import typer

from controlplane.cli.api import Api, Json
from controlplane.cli.failure import Code, Failure
from controlplane.cli.family import alone
from controlplane.cli.screen import Screen, Shown, table
from controlplane.cli.talking import talking

MARKS = {"passes": "ok", "refuses": "no", "depends": "?"}


@talking
def explain(
    api: Api,
    screen: Screen,
    path: Annotated[str, typer.Argument(help="/path?query, or a whole URL.")],
    method: Annotated[str, typer.Option("--method", "-X", help="The method.")] = "GET",
    host: Annotated[str, typer.Option(help="Routes by host need it.")] = "",
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="'Name: value', repeatable.")] = None,
    client_ip: Annotated[str, typer.Option(help="The client's address; limits may count by it.")] = "",
) -> None:
    """Tell what the nodes would do with a request: the route and why not another, filters, limits, breaker."""
    parts = urlsplit(path)
    if parts.scheme:
        host, path = host or parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = dict(_header(word) for word in header or [])
    sample = {"method": method, "path": path, "host": host, "headers": headers, "clientIp": client_ip}
    found = api.send("POST", "/api/explain", {name: value for name, value in sample.items() if value}).body
    screen.show(found, lambda: told(found))


app = alone(explain)


def told(found: Json) -> list[Shown]:
    """The answer in the order in which a request meets it."""
    shown: list[Shown] = [f"told by   {found['node']}, revision {found['revision']}"]
    shown.append(f"route     {found['route']}" if found["matched"] else f"route     none{_because(found)}")
    if found.get("upstream"):
        shown.append(f"upstream  {found['upstream']}{found.get('upstreamPath', '')}")
    if breaker := found.get("circuitBreaker"):
        shown.append(f"breaker   {breaker.get('state', '')}")
    shown.append(
        f"answer    {found['status']}, by the gateway itself" if found.get("status") else "answer    forwarded"
    )
    if routes := found.get("routes"):
        rows = [[one["route"], "takes it" if one["matched"] else one.get("reason", "")] for one in routes]
        shown += ["", table(("ROUTE", "WHY (NOT)"), rows)]
    if filters := found.get("filters"):
        shown += ["", table(("FILTER", "", "DETAIL", "LIMITS"), map(_filter, filters))]
    if endpoints := found.get("endpoints"):
        rows = [[one["address"], "yes" if one["available"] else "no", one.get("reason", "")] for one in endpoints]
        shown += ["", table(("ENDPOINT", "AVAILABLE", "WHY NOT"), rows)]
    if len(nodes := found.get("nodes", [])) > 1:
        shown += ["", table(("NODE", "REVISION", "ROUTE", "ANSWER", "BREAKER", "LIMITS", "WHY NOT"), map(_node, nodes))]
    return shown


def _because(found: Json) -> str:
    return f": {found['reason']}" if found.get("reason") else ""


def _filter(one: Json) -> list[str]:
    status = f" {one['status']}" if one.get("status") else ""
    return [one["filter"], str(MARKS.get(one["outcome"], one["outcome"])) + status, one.get("detail", ""), _limits(one)]


def _node(one: Json) -> list[str]:
    route = one.get("route") or ("-" if not one.get("matched") else "")
    breaker = one.get("circuitBreaker", {}).get("state", "")
    status = str(one.get("status") or ("forwarded" if one.get("matched") else ""))
    return [one["node"], str(one.get("revision", "")), route, status, breaker, _limits(one), one.get("reason", "")]


def _limits(one: Json) -> str:
    return ", ".join(_limit(limit) for limit in one.get("limits", []))


def _limit(limit: Json) -> str:
    left = (
        f"{limit['remaining']:g} of {limit['max']}"
        if "remaining" in limit and "max" in limit
        else str(limit.get("max"))
    )
    return f"{limit.get('limit', '')}: {left} left" if "remaining" in limit else f"{limit.get('limit', '')}: {left}"


def _header(word: str) -> tuple[str, str]:
    name, colon, value = word.partition(":")
    if not colon or not name.strip():
        raise Failure(f"--header {word!r}: write 'Name: value'", Code.USAGE)
    return name.strip(), value.strip()
