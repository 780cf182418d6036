"""Filters: what happens to a request between its route and its upstream. One file each, one line in the table.

A filter file has `build(route, context)`: it reads the messages once, at compile, and returns the step to run for each
request of the route, or None where the route does not want it. The table's order is the order of the steps.
"""

from __future__ import annotations

from collections.abc import Callable

from dataplane.filters import api_key, backpressure, jwt, rate_limit, scopes, unsupported_auth
from dataplane.filters.context import Context
from dataplane.runtime import RequestFilter
from shared.pb.resources_pb2 import Route

Build = Callable[[Route, Context], RequestFilter | None]

FILTERS: tuple[tuple[str, Build], ...] = (
    ("auth", unsupported_auth.build),  # what cannot be checked yet is refused, never served open
    ("apiKey", api_key.build),
    ("jwt", jwt.build),
    ("scopes", scopes.build),
    ("rateLimit", rate_limit.build),
    ("backpressure", backpressure.build),  # last: what is refused before takes no place
)


def filters_of(route: Route, context: Context) -> tuple[tuple[str, RequestFilter], ...]:
    """The named steps of a route, in order."""
    built = ((name, build(route, context)) for name, build in FILTERS)
    return tuple((name, step) for name, step in built if step is not None)
