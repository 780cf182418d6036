"""Authentication that this version cannot check: such a route answers 503 rather than being open."""

from __future__ import annotations

from dataplane.errors import Unavailable
from dataplane.exchange import Exchange
from dataplane.filters.context import Context, auth_of
from dataplane.runtime import RequestFilter
from shared.pb.resources_pb2 import Route

SUPPORTED = frozenset({"apiKey", "jwt"})


def build(route: Route, context: Context) -> RequestFilter | None:
    auth = auth_of(route, context.settings)
    if auth.mode not in {"required", "optional"} or auth.type in SUPPORTED:
        return None
    kind = auth.type or "no type at all"

    def refuse(x: Exchange) -> None:
        raise Unavailable(
            "This route's authentication is not available", detail=f"auth type {kind} is not enforced yet"
        )

    return refuse
