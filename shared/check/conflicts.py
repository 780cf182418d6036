"""Routes that would match the same requests with the same rank, so that nothing says which one serves.

A request goes to the most specific route: exact path, then parameters, then the longest prefix; for one path an exact
host, then the longest wildcard, then any; then more header and query conditions, listed methods before any, the higher
priority. So two enabled routes conflict where path shape, a host, the conditions, a method (or "any") and the priority
are all equal: one dictionary of those finds every conflict, in time linear in the number of routes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shared.check import paths
from shared.faults import Fault
from shared.pb.resources_pb2 import Route, StringMatch

CONFLICT = "conflict"
Slot = tuple[object, ...]


def faults(routes: Iterable[Route]) -> Iterator[Fault]:
    """One fault for each pair of routes that conflict, at the later of the two."""
    owners: dict[tuple[Slot, int], int] = {}
    names: list[str] = []
    for index, route in enumerate(routes):
        names.append(route.name)
        others = dict.fromkeys(owners.setdefault((slot, route.priority), index) for slot in slots(route))
        for other in others:
            if other != index:
                yield _fault(index, route, other, names[other])


def slots(route: Route) -> Iterator[Slot]:
    """Every (path shape, conditions, host, method) that a route stands for; none where it is switched off or faulty.

    Of the routes in one slot the highest priority serves all that the others could.
    """
    if (route.HasField("enabled") and not route.enabled) or paths.fault(route.path):
        return
    match = paths.shape(route.path).text, _conditions(route)
    hosts = {host.lower() for host in route.hosts} or {""}
    methods = set(route.methods) or {""}
    for host in hosts:
        for method in methods:
            yield (*match, host, method)


def shadowed(routes: Iterable[Route]) -> Iterator[tuple[int, list[str]]]:
    """(index, names of those that serve instead) of each route that serves nothing: others have all its slots."""
    routes = list(routes)
    best: dict[Slot, Route] = {}
    for route in routes:
        for slot in slots(route):
            if slot not in best or best[slot].priority < route.priority:
                best[slot] = route
    for index, route in enumerate(routes):
        above = [best[slot] for slot in slots(route)]
        if above and all(other.priority > route.priority for other in above):
            yield index, sorted({other.name for other in above})


def _conditions(route: Route) -> object:
    if not route.headers and not route.query:
        return None
    headers = {(name.lower(), condition) for name, condition in _items(route.headers)}
    return frozenset(headers), frozenset(_items(route.query))


def _items(conditions: Mapping[str, StringMatch]) -> Iterator[tuple[str, bytes]]:
    for name in conditions:
        yield name, conditions[name].SerializeToString(deterministic=True)


def _fault(index: int, route: Route, other: int, name: str) -> Fault:
    message = (
        f"{route.name!r} matches the same requests as routes[{other}] {name!r}, and neither is more specific; "
        "set `priority` on one of them (the higher wins), or make their paths, hosts or methods differ"
    )
    return Fault(f"routes[{index}]", message, CONFLICT)
