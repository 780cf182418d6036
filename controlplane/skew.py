"""What a change asks for and a connected node cannot do: told before the commit, as warnings. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from controlplane.changes import Changed
from shared.capabilities import used
from shared.faults import Fault
from shared.table import unpack

CODE = "not_supported"
NAMED = 3
"""Nodes that a warning names; of more it tells how many."""


def warnings(changes: Iterable[Changed], lacking: Mapping[str, Collection[str]]) -> list[Fault]:
    """A warning for each field that a change brings and some node lacks; `lacking` are fields by node."""
    if not any(lacking.values()):
        return []
    nodes: dict[str, list[str]] = {}
    for node, fields in sorted(lacking.items()):
        for field in fields:
            nodes.setdefault(field, []).append(node)
    return [fault for changed in changes for fault in _of(changed, nodes)]


def _of(changed: Changed, nodes: Mapping[str, list[str]]) -> Iterator[Fault]:
    if changed.after is None:
        return
    before = dict(used(unpack(changed.before))) if changed.before is not None else {}
    told: set[str] = set()
    for field, path in used(unpack(changed.after)):
        if field in nodes and field not in told and field not in before:
            told.add(field)
            kind, name = changed.key
            yield Fault(
                path, f"{_named(nodes[field])} cannot do this yet, and would go on without it", CODE, kind, name
            )


def _named(nodes: list[str]) -> str:
    if len(nodes) == 1:
        return f"node {nodes[0]}"
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    return f"nodes {', '.join(nodes[:NAMED])}{more}"
