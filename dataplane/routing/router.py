"""Which route serves a request. Immutable: `changed` makes a new router that shares what did not change.

Order (most specific first): an exact path, then parameters, then the longest prefix; for one pattern an exact host,
then the longest wildcard, then any host; then more header and query conditions, listed methods before any method, the
higher priority, and last the name. A route that does not take the request leaves it to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from dataplane.routing.condition import Fields
from dataplane.routing.draft import Draft
from dataplane.routing.leaf import Leaf
from dataplane.routing.route_match import Compiled, Entry, compiled
from dataplane.routing.trie import Node, search

_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


class Found:
    """The route that serves the request; no dataclass, because one is made for every request.

    `params` hold segments as the normal path spells them (percent-encoded); `rest` is what "*" stood for, without its
    leading slash.
    """

    def __init__(self, target: Any, params: Mapping[str, str], rest: str) -> None:
        self.target = target
        self.params = params
        self.rest = rest

    def __repr__(self) -> str:
        return f"<Found {self.target!r} {dict(self.params)!r} {self.rest!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Found):
            return NotImplemented
        return (self.target, self.params, self.rest) == (other.target, other.params, other.rest)

    __hash__ = None  # type: ignore[assignment]  # compared in tests, kept nowhere


@dataclass(frozen=True, slots=True)
class Missed:
    """No route: 404 if `allowed` is empty, else 405, where another method would have found one.

    `allowed` has the methods as the routes list them: HEAD only where a route names it.
    """

    allowed: frozenset[str]


_NOT_FOUND: Final = Missed(frozenset())


@dataclass(frozen=True, slots=True)
class Router:
    """Made by `build` and `changed`; equal to any other that holds the same routes, whatever the way it was made."""

    _routes: dict[str, Compiled] = field(default_factory=dict)
    _exact: dict[str, Leaf] = field(default_factory=dict)
    _root: Node = field(default_factory=Node)
    _deepest: int = field(default=0, compare=False)  # no pattern has more segments; never shrinks

    @classmethod
    def build(cls, entries: Iterable[Entry]) -> Router:
        """A router of these routes; of two with one name the later counts. Raises BadPattern."""
        return cls().changed((), entries)

    def changed(self, removed: Iterable[str], added: Iterable[Entry]) -> Router:
        """This router without the routes of these names, and with others put in or replaced. Raises BadPattern.

        Costs little for few changes, however many routes there are; names that are not there are ignored.
        """
        routes = [compiled(entry) for entry in added]
        draft = Draft(self._routes.copy(), self._exact.copy(), self._root)
        for name in removed:
            draft.take(name)
        for route in routes:
            draft.put(route)
        deepest = max((len(route.pattern.steps) for route in routes), default=0)
        return Router(draft.routes, draft.exact, draft.root, max(deepest, self._deepest))

    def __len__(self) -> int:
        return len(self._routes)

    def __repr__(self) -> str:
        return f"<Router {len(self._routes)} routes>"

    def routes(self) -> Iterator[Compiled]:
        """The routes it was made of."""
        return iter(self._routes.values())

    def match(self, path: str, host: str, method: str, headers: Fields, query: str | None) -> Found | Missed:
        """The route for a request. Never raises.

        `path` and `query` as paths.normalise gives them; `host` lower-case, without port and final dot; `headers` the
        (lower-case name, value) pairs, looked at only for routes that ask about them.
        """
        leaf = self._exact.get(path)
        if leaf is not None:
            arm = leaf.pick(host, method, headers, query)
            if arm is not None:
                return Found(arm.entry.target, _NO_PARAMETERS, "")
        segments = path.split("/", self._deepest + 1)
        for leaf in search(self._root, segments):
            arm = leaf.pick(host, method, headers, query)
            if arm is not None:
                params = {name: segments[index] for name, index in arm.captures} if arm.captures else _NO_PARAMETERS
                return Found(arm.entry.target, params, "/".join(segments[leaf.depth :]))
        allowed = self._allowed(path, host, headers, query)
        return Missed(allowed) if allowed else _NOT_FOUND

    def leaves(self, path: str) -> Iterator[Leaf]:
        """Every leaf whose pattern matches the path, most specific first."""
        if leaf := self._exact.get(path):
            yield leaf
        yield from search(self._root, path.split("/", self._deepest + 1))

    def _allowed(self, path: str, host: str, headers: Fields, query: str | None) -> frozenset[str]:
        """The methods of routes that failed on the method alone; asked only when no route matched."""
        listed: set[str] = set()
        for leaf in self.leaves(path):
            for arms in leaf.tiers(host):
                for arm in arms:
                    if arm.conditions is None or arm.conditions.hold(headers, query):
                        listed |= arm.listed
        return frozenset(listed)
