"""The configurations of these tests: the route under load, which edits change, beside state that no edit may touch."""

from __future__ import annotations

import json
from typing import Any

LIMIT = 30
"""Requests an hour on /limited: nothing comes back to the bucket while a test runs."""


def configured(
    origin: str,
    edit: int = 0,
    *,
    load: dict[str, Any] | None = None,
    routes: list[dict[str, Any]] | None = None,
    **sections: Any,
) -> str:
    """YAML (one key a line) for this origin; `edit` is told by every answer of /load/*, as X-Edit.

    `load` adds keys to that route, `routes` come on top; `sections` are further top-level sections.
    """
    limited: dict[str, Any] = {"path": "/limited", "rateLimit": {"max": LIMIT, "windowMs": 3_600_000, "key": "route"}}
    listed: list[dict[str, Any]] = [
        {"path": "/load/*", "responseHeaders": {"set": {"X-Edit": str(edit)}}, **(load or {})},
        limited,
        {"path": "/tunnel"},
        {"path": "/held"},
        *(routes or []),
    ]
    document = {
        "proxy": {"drainTimeout": 10_000, **sections.pop("proxy", {})},
        "upstreams": [{"name": "origin", "url": origin}, *sections.pop("upstreams", [])],
        "routes": [{"upstream": "origin", **route} for route in listed],
        **sections,
    }
    return json.dumps(document, indent=1)
