"""The description of the API, for programs and for people: the same for every installation, and so open to everyone.

The page loads nothing from elsewhere: it works offline, and under a policy that allows nothing else.
"""

from __future__ import annotations

from importlib.resources import files

import orjson
from aiohttp import web

from controlplane.problem import Problem
from controlplane.rest.openapi import document

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
FILES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}


class DocsRest:
    """The handlers."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/openapi.json", self.openapi),
            web.get("/api/docs", self.page),
            web.get("/api/docs/{file}", self.file),
        ]

    async def openapi(self, _request: web.Request) -> web.Response:
        """The OpenAPI document."""
        return web.Response(body=orjson.dumps(document()), content_type="application/json")

    async def page(self, _request: web.Request) -> web.Response:
        """The page."""
        return _served("index.html")

    async def file(self, request: web.Request) -> web.Response:
        """Its script and its style."""
        return _served(request.match_info["file"])


def _served(name: str) -> web.Response:
    if name not in FILES:
        raise Problem(404, f"the page has no {name!r}")
    text = (files("controlplane.rest") / "docs_page" / name).read_text()
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(text=text, content_type=FILES[name], headers=headers)
