"""The committed resources of each kind in the order of their ids: for lists, pages and looks by id.

Kept beside a table and moved along with it. An id is given once, in rising order, so that a reader who continues after
an id sees every resource that stays there exactly once, whatever is written meanwhile; what is new comes last.
Over a file a resource without an id has its position instead, and that holds for one revision.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.store import Committed
from shared.pb.resources_pb2 import Resource
from shared.table import KINDS, Key, Table, key_of, unpack


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
        entries = self._of(committed, kind)
        if committed is not None and (named := committed.table.get((kind, wanted))) is not None:
            number = self._ids.get((kind, wanted), 0)
            if number:
                return Entry(number, named)
            return next((entry for entry in entries if entry.resource is named), None)
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 10):
            return None
        number = int(wanted)
        place = bisect_right(entries, number, key=lambda entry: entry.id) - 1
        return entries[place] if place >= 0 and entries[place].id == number else None

    def _of(self, committed: Committed | None, kind: str) -> Sequence[Entry]:
        table = committed.table if committed else Table()
        if table is not self._table:
            upserts, removes = table.since(self._table)
            for key in removes:
                self._ids.pop(key, None)
            self._ids |= {key_of(resource): getattr(unpack(resource), "id", 0) for resource in upserts}
            for touched in {resource.kind for resource in upserts} | {key[0] for key in removes}:
                self._lists[touched] = self._sorted(touched, table)
            self._table = table
        return self._lists[kind]

    def _sorted(self, kind: str, table: Table) -> list[Entry]:
        found: Iterable[tuple[Key, Resource]] = (pair for pair in table.items() if pair[0][0] == kind)
        entries = [Entry(self._ids[key] or position, one) for position, (key, one) in enumerate(found, 1)]
        return sorted(entries, key=lambda entry: entry.id)
