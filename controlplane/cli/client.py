"""Asks a control plane over REST; what goes wrong is one line and an exit code."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from controlplane.auth.bootstrap import found

Url = Annotated[str, typer.Option("--url", envvar="FLEXGATE_URL", help="The control plane's REST address.")]
Token = Annotated[
    str,
    typer.Option(
        "--token",
        envvar=["FLEXGATE_TOKEN", "FLEXGATE_ADMIN_TOKEN"],
        help="An API token; without one, the admin token that a control plane on this machine left in its directory.",
    ),
]
DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT = 10.0  # seconds
STATE_DIRECTORIES = (Path(".flexgate/control-plane"), Path(".run/control-plane"))
"""Where a control plane that was started here keeps its token: alone, or by `flexgate start`."""

UNREACHABLE = 2
REFUSED = 1


class Output(StrEnum):
    """How a command shows what it found."""

    table = "table"
    json = "json"


Format = Annotated[Output, typer.Option("--output", "-o", help="A table to read, or JSON as the API gives it.")]


def get(url: str, path: str, token: str) -> dict[str, Any]:
    """The JSON object at a path. Exit code 2 where no control plane answers, 1 where it refuses."""
    token = token or found(url, os.environ, STATE_DIRECTORIES)
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        request = urllib.request.Request(url.rstrip("/") + path, headers=headers)
        with _OPENER.open(request, timeout=TIMEOUT) as answer:
            body = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            _fail(f"{url} answered {error.code}: {_message(error.read())}", REFUSED)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        _fail(f"no control plane answers at {url}: {getattr(reason, 'strerror', None) or reason}", UNREACHABLE)
    if isinstance(body, dict):
        return body
    return _fail(f"{url}{path} is not the API of a control plane", UNREACHABLE)


# Without the environment's proxies: a control plane is a neighbour.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace").strip()


def _fail(line: str, code: int) -> NoReturn:
    typer.echo(line, err=True)
    raise typer.Exit(code)
