"""The committed resources of each kind in the order of their ids: for lists, pages and looks by id.

Kept beside a table and moved along with it. An id is given once, in rising order, so that a reader who continues after
an id sees every resource that stays there exactly once, whatever is written meanwhile; what is new comes last.
Over a file a resource without an id has its position instead, and that holds for one revision.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.store import Committed
from shared.pb.resources_pb2 import Resource
from shared.table import KINDS, Key, Table, key_of, unpack

FEW = 100
"""Changes that are made in the lists as they are; for more, these are made anew."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource and its id, or its position where it has none."""

    id: int
    resource: Resource

    @property
    def name(self) -> str:
        return self.resource.name


Wanted = Callable[[Any, Entry], bool]
"""Whether a resource is wanted, by its message."""


@dataclass(frozen=True, slots=True)
class Part:
    """A page of a list: `total` counts all that are wanted; `after` continues behind it, 0 where nothing follows."""

    entries: Sequence[Entry]
    total: int
    after: int


class Catalogue:
    """The lists of one control plane."""

    def __init__(self) -> None:
        self._table = Table()
        self._ids: dict[Key, int] = {}
        self._lists: dict[str, list[Entry]] = {kind: [] for kind in KINDS}
        self._positional: set[str] = set()  # kinds with resources that have no id

    def part(
        self, committed: Committed | None, kind: str, *, after: int, limit: int, wanted: Wanted | None = None
    ) -> Part:
        """So many entries of a kind behind an id."""
        entries: Sequence[Entry] = self._of(committed, kind)
        if wanted is not None:
            entries = [entry for entry in entries if wanted(unpack(entry.resource), entry)]
        start = bisect_right(entries, after, key=lambda entry: entry.id)
        shown = entries[start : start + limit]
        return Part(shown, len(entries), shown[-1].id if start + limit < len(entries) else 0)

    def find(self, committed: Committed | None, kind: str, wanted: str) -> Entry | None:
        """A resource by name; else by id."""
        if committed is not None and (named := committed.table.get((kind, wanted))) is not None:
            if number := _id_of(named):  # most have one: then a write costs nothing for the lists
                return Entry(number, named)
            return next(entry for entry in self._of(committed, kind) if entry.name == wanted)
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 10):
            return None
        number, entries = int(wanted), self._of(committed, kind)
        place = bisect_right(entries, number, key=lambda entry: entry.id) - 1
        return entries[place] if place >= 0 and entries[place].id == number else None

    def _of(self, committed: Committed | None, kind: str) -> Sequence[Entry]:
        table = committed.table if committed else Table()
        if table is not self._table:
            upserts, removes = table.since(self._table)
            gone = [(key[0], self._ids.pop(key, 0)) for key in (*removes, *map(key_of, upserts))]
            come = {key_of(resource): Entry(_id_of(resource), resource) for resource in upserts}
            self._ids |= {key: entry.id for key, entry in come.items()}
            for touched in {kind for kind, _ in gone}:
                new = [entry for key, entry in come.items() if key[0] == touched]
                if len(gone) > FEW or touched in self._positional or not all(entry.id for entry in new):
                    self._lists[touched] = self._sorted(touched, table)
                else:
                    self._edit(touched, [number for kind, number in gone if kind == touched and number], new)
            self._table = table
        return self._lists[kind]

    def _edit(self, kind: str, gone: Iterable[int], come: Iterable[Entry]) -> None:
        """Take entries out of a list, and put others in, at the places of their ids."""
        entries = self._lists[kind]
        for number in gone:
            del entries[bisect_left(entries, number, key=lambda entry: entry.id)]
        for entry in come:
            insort(entries, entry, key=lambda one: one.id)

    def _sorted(self, kind: str, table: Table) -> list[Entry]:
        found: Iterable[tuple[Key, Resource]] = (pair for pair in table.items() if pair[0][0] == kind)
        numbers = [number for key, number in self._ids.items() if key[0] == kind]
        (self._positional.discard if all(numbers) else self._positional.add)(kind)
        entries = [Entry(self._ids[key] or position, one) for position, (key, one) in enumerate(found, 1)]
        return sorted(entries, key=lambda entry: entry.id)


def _id_of(resource: Resource) -> int:
    """0: it has none."""
    number: int = getattr(unpack(resource), "id", 0)
    return number
