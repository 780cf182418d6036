"""`flexgate routes`."""

from __future__ import annotations

from controlplane.cli.api import Json
from controlplane.cli.resources import family_of


def _limit(route: Json) -> str:
    limit = route.get("rateLimit") or {}
    return f"{limit['requests']} in {limit['window']}" if limit.get("requests") else ""


app = family_of(
    "routes",
    "List, show, create, change and delete routes.",
    {
        "NAME": lambda route: route["name"],
        "PATH": lambda route: route["path"],
        "METHODS": lambda route: route["methods"],
        "HOSTS": lambda route: route.get("hosts"),
        "UPSTREAM": lambda route: route["upstreamName"],
        "AUTH": lambda route: (route.get("auth") or {}).get("mode"),
        "LIMIT": _limit,
        "ON": lambda route: route["enabled"],
    },
)
