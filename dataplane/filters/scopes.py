"""Scopes: what a credential must be allowed to do before a route serves it."""

from __future__ import annotations

from dataplane.errors import Forbidden
from dataplane.exchange import Exchange
from dataplane.filters.context import Context, auth_of
from dataplane.runtime import RequestFilter
from dataplane.tokens.challenge import challenge
from shared.pb.resources_pb2 import Route


def build(route: Route, context: Context) -> RequestFilter | None:
    if not route.scopes:
        return None
    needed = frozenset(route.scopes)
    live, name = context.live, route.name or route.path
    by_token = auth_of(route, context.settings).type == "jwt"
    headers = (challenge("insufficient_scope", scope=" ".join(sorted(needed))),) if by_token else ()

    def require(x: Exchange) -> None:
        if x.scopes is None or not needed <= x.scopes:
            live.traffic.auth_failed("scope")
            live.events.often("auth.failure", "scope", route=name)
            raise Forbidden("The credential does not have the scopes that this route needs", headers=headers)

    return require
