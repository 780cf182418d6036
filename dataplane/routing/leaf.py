"""The routes of one path pattern, by host and rank.

Exact hosts come before wildcards, longer wildcards before shorter ones, and routes without a host last; both are found
by dictionary, so ten thousand hosts on one path cost no more than one. Within a host the arms stand in rank order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from dataplane.routing.condition import Fields
from dataplane.routing.route_match import Arm, Compiled

Arms = tuple[Arm, ...]
_MAX_HOST: Final = 253  # RFC 1035 2.3.4: no longer name exists, so its labels are not worth walking
_order = attrgetter("order")


@dataclass(slots=True)
class Leaf:
    """Changed only while its router is being made (draft.py); the tuples in it are never changed."""

    depth: int  # index, in path.split("/"), of the first segment beyond the pattern
    anywhere: Arms = ()
    hosts: dict[str, Arms] = field(default_factory=dict)
    suffixes: dict[str, Arms] = field(default_factory=dict)  # ".example.com"

    def __bool__(self) -> bool:
        return bool(self.anywhere or self.hosts or self.suffixes)

    def pick(self, host: str, method: str, headers: Fields, query: str | None) -> Arm | None:
        """The first arm that takes the request."""
        if self.hosts or self.suffixes:
            for arms in self.tiers(host):
                for arm in arms:
                    if arm.takes(method, headers, query):
                        return arm
            return None
        for arm in self.anywhere:
            if (arm.methods is None or method in arm.methods) and (
                arm.conditions is None or arm.conditions.hold(headers, query)
            ):
                return arm
        return None

    def tiers(self, host: str) -> Iterator[Arms]:
        """The arms that this host may reach, most specific host first."""
        if arms := self.hosts.get(host):
            yield arms
        if self.suffixes and len(host) <= _MAX_HOST:
            dot = host.find(".", 1)
            while dot > 0:
                if arms := self.suffixes.get(host[dot:]):
                    yield arms
                dot = host.find(".", dot + 1)
        yield self.anywhere

    def all_tiers(self) -> Iterator[Arms]:
        """Every arm, whatever the host."""
        yield from self.hosts.values()
        yield from self.suffixes.values()
        yield self.anywhere

    def copy(self) -> Leaf:
        return Leaf(self.depth, self.anywhere, self.hosts.copy(), self.suffixes.copy())

    def put(self, route: Compiled) -> None:
        for host in route.hosts:
            arms = self._of(host)
            for arm in route.arms():
                at = bisect_left(arms, arm.order, key=_order)
                arms = (*arms[:at], arm, *arms[at:])
            self._set(host, arms)

    def take(self, route: Compiled) -> None:
        for host in route.hosts:
            self._set(host, tuple(arm for arm in self._of(host) if arm.entry.match.name != route.name))

    def _of(self, host: str) -> Arms:
        return self._table(host).get(host, ()) if host else self.anywhere

    def _set(self, host: str, arms: Arms) -> None:
        if not host:
            self.anywhere = arms
        elif arms:
            self._table(host)[host] = arms
        else:
            self._table(host).pop(host, None)

    def _table(self, host: str) -> dict[str, Arms]:
        return self.suffixes if host.startswith(".") else self.hosts
