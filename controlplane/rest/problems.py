"""What the service raises, as problems; and what every handler asks of its request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from controlplane.problem import Problem
from controlplane.refusal import Refusal
from shared.faults import ConfigError, Fault
from shared.suggestion import suggestion

Json = dict[str, Any]
LEVELS = 64
"""As deep as a document may be nested; what walks through bodies calls itself."""
JSON_TYPES = ("application/json", "application/merge-patch+json")


@web.middleware
async def telling(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The innermost layer: what the service refuses, as the answer that says so."""
    try:
        return await handler(request)
    except ConfigError as error:
        raise problem_of(error.faults) from error
    except Refusal as error:
        details: list[dict[str, object]] = [dict(detail) for detail in error.details]
        raise Problem(error.status, str(error), details or None, code=error.code) from error


def problem_of(faults: Iterable[Fault]) -> Problem:
    """400 with all that is wrong; the message names the first."""
    faults = list(faults)
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    where = f"{first.path}: " if first.path else ""
    return Problem(400, f"{where}{first.message}{more}", [detail_of(fault) for fault in faults], code="invalid")


def detail_of(fault: Fault) -> dict[str, object]:
    """{path, message} and, where they are known, code, kind, name and line."""
    more = {"code": fault.code, "kind": fault.kind, "name": fault.name, "line": fault.line}
    return {"path": fault.path, "message": fault.message} | {name: value for name, value in more.items() if value}


def known_parameters(request: web.Request, *known: str) -> None:
    """Refuse what is not known, or given twice: a filter that does not exist must not match everything."""
    if unknown := sorted(set(request.query) - set(known)):
        told: list[dict[str, object]] = [
            {"path": name, "message": f"unknown query parameter{suggestion(name, known) if known else ''}"}
            for name in unknown
        ]
        raise Problem(
            400, f"unknown query parameter {unknown[0]}{suggestion(unknown[0], known) if known else ''}", told
        )
    if twice := sorted({name for name in request.query if len(request.query.getall(name)) > 1}):
        raise Problem(400, f"the query parameter {twice[0]} is given more than once")
    if odd := [name for name, value in request.query.items() if "\0" in value]:
        raise Problem(400, f"{odd[0]} holds a NUL character, which no text here has")


async def json_object(request: web.Request, *, empty: bool = False) -> Json:
    """The JSON object in the body; `empty`: there may be no body, which is an empty one.

    The body must say that it is JSON: a form of another site cannot.
    """
    content = await request.read()
    if empty and not content:
        return {}
    if request.content_type not in JSON_TYPES:
        raise Problem(415, "the body must be JSON, with Content-Type: application/json")
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Problem(400, "the body must be a JSON object")
    if _deep(body):
        raise Problem(400, f"the body is nested deeper than {LEVELS} levels")
    return body


def _deep(body: object) -> bool:
    level = [body]
    for _ in range(LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


async def text_of(request: web.Request) -> str:
    """The body as text."""
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the document is not UTF-8: {error.reason} at byte {error.start}") from error


def switch(request: web.Request, name: str) -> bool:
    """A query parameter that is on or off."""
    given = request.query.get(name, "0").lower()
    if given in {"1", "true"}:
        return True
    if given in {"0", "false"}:
        return False
    raise Problem(400, f"{name} must be 1 or 0", [{"path": name, "message": "must be 1 or 0"}])
