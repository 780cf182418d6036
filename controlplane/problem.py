"""Errors of the REST API: raised anywhere, rendered once, in the shape of CONTRACT section 1."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from shared import API_VERSION, log

CORRELATION = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
CORRELATION_KEY = web.RequestKey("correlation", str)


class Problem(Exception):
    """An answer that is an error. `details` are {path, message} of each thing that is wrong; `code` is for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        details: list[dict[str, object]] | None = None,
        *,
        code: str = "",
        **headers: str,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON as the API sends it."""
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


def answering(revision: Callable[[], int]) -> Middleware:
    """The outermost layer: correlation id and version headers on every answer, every error in one shape."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Correlation-ID", "")
        correlation = given if CORRELATION.fullmatch(given) else f"req-{uuid4().hex}"
        request[CORRELATION_KEY] = correlation
        try:
            response = await handler(request)
        except Problem as problem:
            response = _render(problem, correlation)
        except web.HTTPException as error:
            response = _render(_problem_of(error), correlation)
        except Exception:
            log.failure("request.failed", method=request.method, path=request.path, correlationId=correlation)
            response = _render(Problem(500, "the control plane failed; its log tells why"), correlation)
        response.headers["X-API-Version"] = API_VERSION
        # A write tells the revision that it made, which is published a moment later.
        response.headers.setdefault("X-Config-Version", str(revision()))
        response.headers["X-Correlation-ID"] = correlation
        response.headers["Server"] = "FlexGate"
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return answer


def _problem_of(error: web.HTTPException) -> Problem:
    """What aiohttp raises by itself: no such path, wrong method, a body that is too large."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(405, f"{error.method} is not possible here; {allowed} is", Allow=allowed)
    if isinstance(error, web.HTTPNotFound):
        return Problem(404, "there is nothing at this path; docs/reference/rest.md lists what there is")
    if isinstance(error, web.HTTPRequestEntityTooLarge):  # its text has the sizes
        return Problem(413, error.text or error.reason)
    return Problem(error.status, error.reason)


def _render(problem: Problem, correlation: str) -> web.Response:
    body: dict[str, Any] = {
        "error": HTTPStatus(problem.status).phrase,
        "message": problem.message,
        "correlationId": correlation,
    }
    if problem.code:
        body["code"] = problem.code
    if problem.details is not None:
        body["details"] = problem.details
    return json_response(body, problem.status, problem.headers)
