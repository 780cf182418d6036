"""The patterns with parameters or "/*", by segment: one step down for each segment of a path.

The order is total: whole paths before prefixes, longer prefixes before shorter ones, and among patterns of one length
a literal segment before a parameter, from left to right. A search visits no node twice, so it is bounded by the routes
that could match, and it stops at the depth of the deepest pattern however long the path is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter

from dataplane.routing.leaf import Leaf

_depth = attrgetter("depth")


@dataclass(slots=True)
class Node:
    """Changed only while its router is being made (draft.py)."""

    literals: dict[str, Node] = field(default_factory=dict)
    parameter: Node | None = None
    whole: Leaf | None = None  # patterns that end here
    prefix: Leaf | None = None  # patterns that go on with "/*"

    def __bool__(self) -> bool:
        return any((self.literals, self.parameter, self.whole, self.prefix))

    def copy(self) -> Node:
        return Node(self.literals.copy(), self.parameter, self.whole, self.prefix)


def search(root: Node, segments: list[str]) -> list[Leaf]:
    """Every leaf whose pattern matches, most specific first.

    `segments` is path.split("/"), whose first element is the nothing before the leading slash.
    """
    node, index, end = root, 1, len(segments)
    wholes: list[Leaf] = []
    prefixes: list[Leaf] = []
    untried: list[tuple[Node, int]] = []  # the parameters passed over for a literal
    while True:
        if node.prefix is not None:
            prefixes.append(node.prefix)
        step = None
        if index < end:
            segment = segments[index]
            index += 1
            step = node.literals.get(segment)
            if node.parameter is not None and segment:
                if step is None:
                    step = node.parameter
                else:
                    untried.append((node.parameter, index))
        elif node.whole is not None:
            wholes.append(node.whole)
        if step is not None:
            node = step
        elif untried:
            node, index = untried.pop()
        else:
            break
    if len(prefixes) > 1:
        prefixes.sort(key=_depth, reverse=True)  # stable: literals stay before parameters
    return wholes + prefixes if wholes else prefixes
