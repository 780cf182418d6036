"""What a change would do, before it is done: for `?dryRun=1` and for `flexgate diff`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from controlplane.changes import Changed, etag_at
from controlplane.index import Index, facts_of
from controlplane.store.mapping import shown_json, to_json
from shared.faults import Fault
from shared.field_path import child, item
from shared.pb.resources_pb2 import Resource
from shared.table import SETTINGS, Key, Table, unpack

HANDFUL = 5
"""Routes that may go at once without a question, however few there are."""
MISSING = object()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs, by its path in the resource. A value is None where the field is not there."""

    path: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one resource: `action` is create, update or delete; `fields` those of an update."""

    key: Key
    action: str
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """`revision` is the one that it changes. `groups`: the node groups that are affected; None: every node is.

    `guard` says why the change would be refused without `force`; empty: it would not. `table` is what there would be,
    `changes` what makes it of the revision, `epoch` the line that this one is of.
    """

    revision: int
    steps: tuple[Step, ...]
    warnings: tuple[Fault, ...] = ()
    groups: frozenset[str] | None = frozenset()
    guard: str = ""
    table: Table = field(default_factory=Table, repr=False, compare=False)
    changes: tuple[Changed, ...] = field(default=(), repr=False, compare=False)
    epoch: str = ""

    @property
    def etag(self) -> str:
        """What a write expects that is to do this, and nothing else."""
        return etag_at(self.epoch, self.revision)


def steps_of(changes: Iterable[Changed]) -> tuple[Step, ...]:
    """The steps, with secrets redacted; a secret that differs is told without its values."""
    return tuple(Step(changed.key, changed.action, tuple(_fields(changed))) for changed in changes)


def _fields(changed: Changed) -> Iterator[FieldChange]:
    if changed.before is None or changed.after is None:
        return
    told = shown_json(changed.before), shown_json(changed.after)
    for path, steps in _differing(to_json(changed.before), to_json(changed.after)):
        yield FieldChange(path, _at(told[0], steps), _at(told[1], steps))


def _differing(before: Any, after: Any, path: str = "", steps: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(path, the steps to it) of the smallest parts that differ; lists of different lengths are one part."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            inner = before.get(key, MISSING), after.get(key, MISSING)
            yield from _differing(*inner, child(path, key), (*steps, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, inner in enumerate(zip(before, after, strict=True)):
            yield from _differing(*inner, item(path, index), (*steps, index))
    elif before != after:
        yield path, steps


def _at(data: Any, steps: Iterable[Any]) -> object:
    for step in steps:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def groups_of(changes: Iterable[Changed]) -> frozenset[str] | None:
    """The node groups whose nodes may see a difference; None: every node's."""
    found: set[str] = set()
    for changed in changes:
        for resource in (changed.before, changed.after):
            if resource is None:
                continue
            groups = getattr(unpack(resource), "node_groups", ()) if changed.key != SETTINGS else ()
            if not groups:
                return None
            found |= set(groups)
    return frozenset(found)


def guard(changes: Iterable[Changed], index: Index) -> str:
    """Why a change looks like an accident: a handful of routes, and more than half of all, would be gone."""
    routes = [changed for changed in changes if changed.key[0] == "route"]
    lost = sum(_serves(changed.before) and not _serves(changed.after) for changed in routes)
    if lost <= HANDFUL:
        return ""
    serving = sum(kind == "route" and bool(facts.claims) for (kind, _), facts in index.facts.items())
    if lost * 2 <= serving:
        return ""
    return f"{lost} of {serving} routes would no longer be served; repeat it with `force` if that is meant"


def _serves(resource: Resource | None) -> bool:
    return resource is not None and bool(facts_of(resource).claims)
