"""Whether a configuration can be served as it is written: every fault at once, each with its field path.

Pure and linear in the size of the configuration. One file for each kind of resource; what single values may be is the
table in `rules.py`. Never raises, whatever the message holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.check import auth, connecting, fields, node_groups, routes, settings, upstreams
from shared.faults import Fault
from shared.field_path import owner
from shared.pb.resources_pb2 import Config


@dataclass(frozen=True, slots=True)
class Names:
    """What may be referred to. A route may be, by its name or by its path."""

    upstreams: Collection[str]
    routes: Collection[str]
    consumers: Collection[str]


def names_of(config: Config) -> Names:
    """The names within a configuration."""
    return Names(
        {upstream.name for upstream in config.upstreams if upstream.name},
        {route.name for route in config.routes} | {route.path for route in config.routes},
        {consumer.name for consumer in config.consumers},
    )


def check(config: Config, names: Names | None = None) -> list[Fault]:
    """All faults of a whole configuration, in the order of the document's parts; empty: it can be served.

    Paths are those of the canonical document: "proxy.port", "routes[2].rateLimit.max". A configuration may be a part
    of a larger one: `names` then tells what the whole has for references to lead to.
    """
    names = names or names_of(config)
    found = [
        *fields.faults(config),
        *settings.faults(config, names.routes),
        *upstreams.faults(config, names.upstreams),
        *connecting.faults(config),
        *routes.faults(config, names.upstreams),
        *auth.consumers(config, names.consumers),
        *node_groups.faults(config),
    ]
    return [owned(fault, config) for fault in found]


def owned(fault: Fault, config: Config) -> Fault:
    """The fault with the kind and the name of the resource that its path lies in."""
    kind, index = owner(fault.path)
    if index < 0:
        return replace(fault, kind=kind, name="default")
    by_kind: dict[str, Sequence[Any]] = {
        "route": config.routes,
        "upstream": config.upstreams,
        "consumer": config.consumers,
        "credential": config.credentials,
    }
    resources = by_kind[kind]
    return replace(fault, kind=kind, name=resources[index].name if index < len(resources) else "")
