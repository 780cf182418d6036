"""Scopes: what a credential must be allowed to do before a route serves it."""

from __future__ import annotations

from dataplane.errors import Forbidden
from dataplane.exchange import Exchange
from dataplane.filters.context import Context
from dataplane.runtime import RequestFilter
from shared.pb.resources_pb2 import Route


def build(route: Route, context: Context) -> RequestFilter | None:
    if not route.scopes:
        return None
    needed = frozenset(route.scopes)
    live, name = context.live, route.name or route.path

    def require(x: Exchange) -> None:
        if x.scopes is None or not needed <= x.scopes:
            live.traffic.auth_failed("scope")
            live.events.often("auth.failure", "scope", route=name)
            raise Forbidden("The credential does not have the scopes that this route needs")

    return require
