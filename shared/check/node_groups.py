"""Node groups: their labels, who names them, and that no route leads where its nodes may not go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from shared.check.required import reference, required, unique
from shared.faults import Fault
from shared.field_path import item
from shared.pb.resources_pb2 import Config, Route

NOT_VISIBLE = "not_visible"


def faults(config: Config) -> Iterator[Fault]:
    """The faults of the groups, of what names them, and of references across them."""
    groups = config.settings.node_groups
    for index, group in enumerate(groups):
        at = item("nodeGroups", index)
        yield from required(f"{at}.name", group.name, "a name unique among node groups")
        yield from required(f"{at}.labels", group.labels, "the labels that its nodes have, such as {zone: a}")
    yield from unique(((f"{item('nodeGroups', i)}.name", group.name) for i, group in enumerate(groups)), "a name")
    known = {group.name for group in groups if group.name}
    named: tuple[tuple[str, Sequence[Any]], ...] = (
        ("upstreams", config.upstreams),
        ("routes", config.routes),
        ("consumers", config.consumers),
    )
    for kind, resources in named:
        for index, resource in enumerate(resources):
            if resource.node_groups:
                yield from _references(resource.node_groups, f"{item(kind, index)}.nodeGroups", known)
    yield from _visible(config)


def _references(given: Sequence[str], at: str, known: Collection[str]) -> Iterator[Fault]:
    for index, name in enumerate(given):
        yield from required(item(at, index), name, "the name of a node group")
        yield from reference(item(at, index), name, known, "node group")
    yield from unique(((item(at, index), name) for index, name in enumerate(given)), "a node group")


def _visible(config: Config) -> Iterator[Fault]:
    """Each node that has a route has all that the route leads to; the same from an upstream to its fallback."""
    limited = {upstream.name: set(upstream.node_groups) for upstream in config.upstreams if upstream.node_groups}
    if not limited:
        return
    for index, route in enumerate(config.routes):
        for where, name in destinations(route, item("routes", index)):
            yield from _reaches(where, route.node_groups, name, limited)
    for index, upstream in enumerate(config.upstreams):
        where = f"{item('upstreams', index)}.fallback"
        yield from _reaches(where, upstream.node_groups, upstream.fallback, limited)


def destinations(route: Route, at: str = "") -> Iterator[tuple[str, str]]:
    """(path of the field, name of the upstream) of all that a route can lead to."""
    if route.upstream:
        yield f"{at}.upstream", route.upstream
    for index, part in enumerate(route.split):
        yield f"{item(f'{at}.split', index)}.upstream", part.upstream
    if route.mirror.upstream:
        yield f"{at}.mirror.upstream", route.mirror.upstream


def _reaches(where: str, groups: Sequence[str], name: str, limited: dict[str, set[str]]) -> Iterator[Fault]:
    allowed = limited.get(name)
    if allowed is None:
        return
    if not groups:
        hint = f"give it nodeGroups of {', '.join(sorted(allowed))}, or take those of {name!r} away"
        yield Fault(where, f"every node has this, but {name!r} is only for some: {hint}", NOT_VISIBLE)
    elif outside := sorted(set(groups) - allowed):
        yield Fault(where, f"{name!r} is not for the nodes of {', '.join(outside)}, which have this", NOT_VISIBLE)
