"""Names for routes that were given none: what they match, written out.

"/api/users/*", "GET,POST api.example.com/api/users/*", "/search [header X-Beta=1]". A name depends on its route's own
match and on nothing else in the document, so adding, removing or reordering other routes renames nothing. Only routes
with the very same match (at most one of which can be enabled) are told apart by a count.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from shared.pb.resources_pb2 import Route, StringMatch

MAX_LENGTH = 256
"""Characters of a name of any resource: it is a metric label, a log field and part of REST paths."""


def name_routes(routes: Iterable[Route]) -> list[int]:
    """Give each route without a name its own, in place; the indexes of the routes that were named."""
    routes = list(routes)
    taken = {route.name: 1 for route in routes if route.name}
    named = []
    for index, route in enumerate(routes):
        if not route.name:
            route.name = _free(describe(route), taken)
            named.append(index)
    return named


def describe(route: Route) -> str:
    """The match of a route as one line of at most MAX_LENGTH characters."""
    methods = ",".join(sorted(route.methods))
    conditions = [f"header {name}{_condition(match)}" for name, match in sorted(route.headers.items())]
    conditions += [f"query {name}{_condition(match)}" for name, match in sorted(route.query.items())]
    if route.priority:
        conditions.append(f"priority {route.priority}")
    suffix = f" [{', '.join(conditions)}]" if conditions else ""
    name = f"{methods} {','.join(sorted(route.hosts))}{route.path}{suffix}".strip()
    # Values of conditions may hold anything; a name holds what can be printed.
    name = "".join(char if char.isprintable() else "?" for char in name) or "route"
    return name if len(name) <= MAX_LENGTH - 8 else _shortened(name)


def _condition(match: StringMatch) -> str:
    if match.HasField("exact"):
        return f"={match.exact}"
    if match.HasField("prefix"):
        return f"={match.prefix}*"
    if match.HasField("suffix"):
        return f"=*{match.suffix}"
    return "" if match.present else " absent"


def _shortened(name: str) -> str:
    return f"{name[: MAX_LENGTH - 32]}~{blake2b(name.encode(), digest_size=8).hexdigest()}"


def _free(name: str, taken: dict[str, int]) -> str:
    """The name, or the first of "name #2", "name #3", … that is free; `taken` counts how often each was asked for."""
    free = name
    while free in taken:
        taken[name] += 1
        free = f"{name} #{taken[name]}"
    taken[free] = 1
    return free
