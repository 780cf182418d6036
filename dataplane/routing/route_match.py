"""What one route asks for, and how routes of the same path are ranked against each other.

Methods: a route that lists GET also takes HEAD (RFC 9110 9.3.2), unless another of equal rank lists HEAD itself. To
rank that without a rule at request time, such a route stands twice among the arms of its path: once with what it lists,
and once, behind all that list methods, with HEAD alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dataplane.routing.condition import Condition, Conditions, Fields
from dataplane.routing.pattern import BadPattern, Pattern, parse

_HEAD = frozenset({"HEAD"})
_HOST = re.compile(r"(?:\*\.)?[^\s/@*]+")


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """`hosts` are lower-case, "a.example.com" or "*.example.com" (one label or more). Empty hosts, methods: any."""

    name: str
    path: str
    hosts: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    headers: tuple[Condition, ...] = ()
    query: tuple[Condition, ...] = ()
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A route as the router takes it. `target` is whatever the caller wants back; it is never looked at."""

    match: RouteMatch
    target: Any


@dataclass(frozen=True, slots=True)
class Arm:
    """A route among those of its path, ready to ask; `order` ranks it, lowest first."""

    order: tuple[int, int, int, str]
    methods: frozenset[str] | None  # None: any
    listed: frozenset[str]  # what a 405 answer tells
    conditions: Conditions | None
    captures: tuple[tuple[str, int], ...]
    entry: Entry

    def takes(self, method: str, headers: Fields, query: str | None) -> bool:
        """Whether this arm matches a request of its path and host."""
        return (self.methods is None or method in self.methods) and (
            self.conditions is None or self.conditions.hold(headers, query)
        )


@dataclass(frozen=True, slots=True)
class Compiled:
    """An entry with its pattern and hosts read: all that putting it in or taking it out needs."""

    entry: Entry
    pattern: Pattern
    hosts: tuple[str, ...]  # "a.example.com", ".example.com" for the wildcard; ("",) for any host

    @property
    def name(self) -> str:
        return self.entry.match.name

    def arms(self) -> Iterator[Arm]:
        """One, or two where GET implies HEAD."""
        match = self.entry.match
        methods = match.methods
        if not methods:
            yield self._arm(2, None, methods)
            return
        yield self._arm(0, methods, methods)
        if "GET" in methods and "HEAD" not in methods:
            yield self._arm(1, _HEAD, frozenset())

    def _arm(self, method_rank: int, methods: frozenset[str] | None, listed: frozenset[str]) -> Arm:
        match = self.entry.match
        conditions = Conditions(match.headers, match.query)
        order = (-len(conditions), method_rank, -match.priority, match.name)
        return Arm(order, methods, listed, conditions or None, self.pattern.captures, self.entry)


def compiled(entry: Entry) -> Compiled:
    """Read an entry once; raises BadPattern for a path or a host that means nothing."""
    for host in entry.match.hosts:
        if not _HOST.fullmatch(host) or host != host.lower():
            raise BadPattern(f'the host "{host}" is neither a lower-case name nor "*." and a name')
    hosts = tuple(dict.fromkeys(host.removeprefix("*") for host in entry.match.hosts))
    return Compiled(entry, parse(entry.match.path), hosts or ("",))
