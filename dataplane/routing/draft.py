"""A router in the making: a new version beside the old one, which keeps serving and is never touched.

Only what lies on the way to a changed route is copied, and once for all changes of a draft: one route among ten
thousand costs the copies of two dictionaries and of a few nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dataplane.routing.leaf import Leaf
from dataplane.routing.pattern import Pattern
from dataplane.routing.route_match import Compiled
from dataplane.routing.trie import Node


@dataclass(slots=True)
class Draft:
    """Give it copies of the three; take them out again when all is put in."""

    routes: dict[str, Compiled]
    exact: dict[str, Leaf]
    root: Node
    _own: dict[int, Node | Leaf] = field(default_factory=dict)  # made by this draft, by id; kept alive here

    def put(self, route: Compiled) -> None:
        """Put a route in, in place of one of the same name."""
        self.take(route.name)
        self.routes[route.name] = route
        self._open(route.pattern).put(route)

    def take(self, name: str) -> None:
        """Take a route out, if it is there, and what nothing else needs."""
        route = self.routes.pop(name, None)
        if route is None:
            return
        leaf = self._open(route.pattern)
        leaf.take(route)
        if not leaf:
            self._drop(route.pattern)

    def _open(self, pattern: Pattern) -> Leaf:
        """The leaf of a pattern, this draft's own; a new one where there was none."""
        if pattern.exact:
            leaf = self.exact[pattern.text] = self._leaf(self.exact.get(pattern.text), pattern)
            return leaf
        node = self._trail(pattern)[-1]
        if pattern.prefix:
            leaf = node.prefix = self._leaf(node.prefix, pattern)
        else:
            leaf = node.whole = self._leaf(node.whole, pattern)
        return leaf

    def _drop(self, pattern: Pattern) -> None:
        """Drop an empty leaf and the nodes that lead nowhere without it."""
        if pattern.exact:
            del self.exact[pattern.text]
            return
        trail = self._trail(pattern)
        if pattern.prefix:
            trail[-1].prefix = None
        else:
            trail[-1].whole = None
        for parent, step, child in reversed(list(zip(trail, pattern.steps, trail[1:], strict=False))):
            if child:
                return
            if step is None:
                parent.parameter = None
            else:
                del parent.literals[step]

    def _trail(self, pattern: Pattern) -> list[Node]:
        """The nodes from the root to where the pattern ends, all of them this draft's own."""
        node = self.root = self._node(self.root)
        trail = [node]
        for step in pattern.steps:
            if step is None:
                child = node.parameter = self._node(node.parameter)
            else:
                child = node.literals[step] = self._node(node.literals.get(step))
            trail.append(child)
            node = child
        return trail

    def _node(self, node: Node | None) -> Node:
        if node is not None and id(node) in self._own:
            return node
        own = Node() if node is None else node.copy()
        self._own[id(own)] = own
        return own

    def _leaf(self, leaf: Leaf | None, pattern: Pattern) -> Leaf:
        if leaf is not None and id(leaf) in self._own:
            return leaf
        own = Leaf(len(pattern.steps) + 1) if leaf is None else leaf.copy()
        self._own[id(own)] = own
        return own
