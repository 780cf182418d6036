"""The only way in for configuration: check, commit, poke.

Whatever brings a change, be it a file, REST or gRPC, comes through here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from controlplane.publisher import Publisher
from controlplane.snapshot import MESSAGE_BYTES, oversize
from controlplane.store import Committed, Store
from shared.document import Document, read
from shared.faults import ConfigError, Fault
from shared.table import Table, table_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a document is worth: `faults` forbid it, `warnings` do not."""

    faults: list[Fault]
    warnings: list[Fault]


class Service:
    """Validates and commits; reads go to `committed`."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher
        self._writing = asyncio.Lock()
        self.committed: Committed | None = None

    async def replace(self, document: Document) -> Committed:
        """Make a checked document the whole configuration; ConfigError, and nothing changed, where it cannot be.

        A document that makes the same table is the same revision.
        """
        async with self._writing:
            table = await asyncio.to_thread(_fitting, document)
            if self.committed is not None:
                # Resources that did not change stay the same objects: memory, and a cheap comparison later.
                table = self.committed.table.changed(*table.since(self.committed.table))
            self.committed = await self._store.commit(document.config, table)
            self._publisher.poke()
            return self.committed

    async def validate(self, text: str) -> Verdict:
        """All that is wrong with a YAML document; nothing is changed."""
        try:
            document = await asyncio.to_thread(read, text)
            await asyncio.to_thread(_fitting, document)
        except ConfigError as error:
            return Verdict(error.faults, [])
        return Verdict([], document.warnings)


def _fitting(document: Document) -> Table:
    """The document's table; ConfigError where a resource fits no message to a node."""
    table = table_of(document.config)
    faults = [
        Fault("", f"{size} bytes when encoded; a node takes at most {MESSAGE_BYTES}", "too_large", kind, name)
        for (kind, name), size in oversize(table)
    ]
    if faults:
        raise ConfigError(faults)
    return table
