"""Which part of a configuration a node gets: its groups' routes, and what these need. Pure.

A node is in a group when it has all labels of the group. Least privilege: a resource that is for other groups is not in
the view, and neither is an upstream that no route of the view leads to, a consumer or credential where no route asks
who calls, or a word in the settings about a route that is not there. The names of groups stay here.
Without groups every view is the table itself, and costs nothing. Docs: docs/concepts/nodes.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from google.protobuf.message import Message

from shared.check.node_groups import destinations
from shared.pb.resources_pb2 import Consumer, Credential, NodeGroup, Resource, Route, Settings, Upstream
from shared.table import SETTINGS, Key, Table, pack, unpack

_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")
"""A segment of a path that stands for itself; others are parameters, or may be another spelling of the same."""
FEW = 256
"""Edits that are put into a view one by one; with more it is made anew."""
Groups = frozenset[str]
"""The names of the groups that a node is in."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What grouping needs to know of a resource. `sent` is the resource as nodes get it: without its groups."""

    resource: Resource
    sent: Resource
    groups: Groups = frozenset()  # empty: every node's
    leads_to: tuple[str, ...] = ()  # upstreams
    asks: bool = False  # a route that wants to know who calls
    path: str = ""  # of a route
    consumer: str = ""  # of a credential

    @property
    def place(self) -> object:
        """What decides in which views it is, and what else is in them because of it."""
        return self.groups, self.leads_to, self.asks, self.consumer


class Grouping:
    """A table and its facts; those of a resource that did not change are taken over from the grouping before."""

    def __init__(self, table: Table, before: Grouping | None = None) -> None:
        self.table = table
        self.settings = cast(Settings, unpack(table[SETTINGS])) if SETTINGS in table else Settings()
        self._facts: dict[Key, Facts] = {}
        self._edited: list[Key] | None = None
        if self.settings.node_groups:
            self._edited = self._learn(before._facts if before is not None else {})

    def _learn(self, known: Mapping[Key, Facts]) -> list[Key] | None:
        """The facts of all resources; which of them were edited, where nothing else happened that matters to views."""
        edited: list[Key] | None = []
        for key, resource in self.table.items():
            fact = known.get(key)
            if fact is None or fact.resource is not resource:
                before, fact = fact, facts(resource)
                placed = self._stays(key, before, fact)
                edited = [*edited, key] if edited is not None and placed and len(edited) < FEW else None
            self._facts[key] = fact
        return edited if len(known) == len(self._facts) else None

    def _stays(self, key: Key, before: Facts | None, after: Facts) -> bool:
        """Whether an edit leaves every view with the resources that it has."""
        if before is None or key == SETTINGS or before.place != after.place:
            return False
        # The settings of a view depend on its paths only where they name some.
        return before.path == after.path or not (self.settings.rate_limit.per_route or self.settings.priorities)

    @property
    def divided(self) -> bool:
        """Whether there are groups at all."""
        return bool(self.settings.node_groups)

    def groups_of(self, labels: Mapping[str, str]) -> Groups:
        """The groups that a node with these labels is in."""
        return frozenset(group.name for group in self.settings.node_groups if belongs(group, labels))

    def view(self, groups: Groups, before: Table | None = None) -> Table:
        """What the nodes of exactly these groups get. With the view `before` it costs what changed since."""
        if not self.divided:
            return self.table
        wanted = {(resource.kind, resource.name): resource for resource in self._visible(groups)}
        if before is None:
            return Table(wanted.values())
        upserts = [one for key, one in wanted.items() if (old := before.get(key)) is not one and old != one]
        return before.changed(upserts, [key for key in before if key not in wanted])

    def edited(self, before: Table) -> Table | None:
        """The view after `before`, a view of the grouping before this one, where it only has other contents: cheap.

        None where resources came, went or moved, and the view must be made anew.
        """
        if self._edited is None:
            return None
        return before.changed([self._facts[key].sent for key in self._edited if key in before], [])

    def _visible(self, groups: Groups) -> Iterator[Resource]:
        shown = {key: fact for key, fact in self._facts.items() if not fact.groups or fact.groups & groups}
        routes = [fact for (kind, _), fact in shown.items() if kind == "route"]
        needed = self._needed(routes)
        asked = any(route.asks for route in routes)
        for (kind, name), fact in shown.items():
            if (kind, name) == SETTINGS:
                yield pack(*SETTINGS, _settings(self.settings, routes, asked))
            elif kind == "upstream":
                if name in needed:
                    yield fact.sent
            elif kind == "consumer":
                if asked:
                    yield fact.sent
            elif kind == "credential":
                if asked and ("consumer", fact.consumer) in shown:
                    yield fact.sent
            else:
                yield fact.sent

    def _needed(self, routes: list[Facts]) -> set[str]:
        """The upstreams that routes lead to, and those that these fall back to."""
        needed: set[str] = set()
        found = [name for route in routes for name in route.leads_to]
        while found:
            name = found.pop()
            fact = self._facts.get(("upstream", name))
            if name not in needed and fact is not None:
                needed.add(name)
                found += fact.leads_to
        return needed


def belongs(group: NodeGroup, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is in the group."""
    return all(labels.get(name) == value for name, value in group.labels.items())


def facts(resource: Resource) -> Facts:
    """The facts of one resource."""
    message = unpack(resource)
    if isinstance(message, Route):
        leads_to = tuple(name for _, name in destinations(message))
        asks = message.auth.mode in ("required", "optional") or bool(message.auth.type)
        groups, sent = _without_groups(resource, message)
        return Facts(resource, sent, groups, leads_to, asks, message.path)
    if isinstance(message, Upstream):
        groups, sent = _without_groups(resource, message)
        return Facts(resource, sent, groups, (message.fallback,) if message.fallback else ())
    if isinstance(message, Consumer):
        groups, sent = _without_groups(resource, message)
        return Facts(resource, sent, groups)
    return Facts(resource, resource, consumer=message.consumer if isinstance(message, Credential) else "")


def _without_groups(resource: Resource, message: Route | Upstream | Consumer) -> tuple[Groups, Resource]:
    groups = frozenset(message.node_groups)
    if not groups:
        return groups, resource
    sent: Message = type(message).FromString(resource.body)
    sent.ClearField("node_groups")
    return groups, pack(resource.kind, resource.name, sent)


def _settings(whole: Settings, routes: list[Facts], asked: bool) -> Settings:
    """The settings for nodes with these routes."""
    settings = Settings()
    settings.CopyFrom(whole)
    del settings.node_groups[:]
    if not asked and whole.security.auth.keys:
        del settings.security.auth.keys[:]
    named = {route.resource.name for route in routes} | {route.path for route in routes}
    for priority in settings.priorities:
        kept = [route for route in priority.routes if route in named]
        del priority.routes[:]
        priority.routes.extend(kept)
    limits = [rule for rule in whole.rate_limit.per_route if any(meet(rule.path, route.path) for route in routes)]
    if len(limits) != len(whole.rate_limit.per_route):
        del settings.rate_limit.per_route[:]
        settings.rate_limit.per_route.extend(limits)
    return settings


def meet(one: str, other: str) -> bool:
    """Whether some request path may match both patterns; in doubt, yes."""
    ours, theirs = one.strip("/").split("/"), other.strip("/").split("/")
    for left, right in zip(ours, theirs, strict=False):
        if "*" in (left, right):
            return True
        if left != right and _PLAIN.fullmatch(left) and _PLAIN.fullmatch(right):
            return False
    longer = max(ours, theirs, key=len)
    shorter = min(len(ours), len(theirs))
    return len(ours) == len(theirs) or longer[shorter] == "*"  # "/x/*" also matches "/x"
