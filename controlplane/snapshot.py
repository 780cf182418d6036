"""One revision of the configuration, or of a view of it, encoded for the wire: pure, and shared by its nodes.

All nodes with the same view get the same bytes: the chunks of a revision are encoded once, and so is the delta from
each older revision that some node still holds. History keeps only the keys that each revision changed, so the delta
from any remembered base is the union of those keys, read from the newest table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.message import Message

from shared.pb.discovery_pb2 import ControlMessage, Delta, ResourceKey
from shared.pb.discovery_pb2 import Snapshot as SnapshotChunk
from shared.pb.resources_pb2 import Resource
from shared.table import Key, Table

MESSAGE_BYTES = 900_000
"""What one message may carry: well under the 4 MiB that gRPC receives unless told otherwise."""
FRAME_BYTES = 6  # the tag and length before a resource within a message
REMEMBERED = 256  # revisions; a node that is further behind gets everything


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit touched: the revision and digest it started from, and the keys that differ after it."""

    base: int
    digest: bytes
    keys: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Parts:
    """A revision as encoded ControlMessages. `nonce` is the one that the answer carries; `full`: nothing is assumed."""

    nonce: str
    messages: tuple[bytes, ...]
    full: bool


class Snapshot:
    """A table at a revision, with what its encodings cost: `encoded` counts them, for tests and metrics."""

    def __init__(self, epoch: str, revision: int, table: Table, history: tuple[Change, ...] = ()) -> None:
        self.epoch = epoch
        self.revision = revision
        self.table = table
        self.digest = table.digest
        self.encoded = 0
        self._history = history
        self._digests = {change.base: change.digest for change in history} | {revision: self.digest}
        self._full: Parts | None = None
        self._deltas: dict[int, Parts | None] = {}

    def __repr__(self) -> str:
        return f"<Snapshot {self.epoch}/{self.revision} {self.table!r}>"

    def followed_by(self, epoch: str, revision: int, table: Table) -> Snapshot:
        """The next snapshot; it remembers how to get there from here unless the epoch is another one."""
        if epoch != self.epoch or revision <= self.revision:
            return Snapshot(epoch, revision, table)
        upserts, removes = table.since(self.table)
        keys = frozenset([(resource.kind, resource.name) for resource in upserts] + removes)
        history = (*self._history, Change(self.revision, self.digest, keys))
        return Snapshot(epoch, revision, table, history[-REMEMBERED:])

    def contradicts(self, revision: int, digest: bytes) -> bool:
        """Whether a node that holds this revision with this digest holds something else than what was published."""
        return self._digests.get(revision, digest) != digest

    def had(self, revision: int, digest: bytes) -> bool:
        """Whether this was published with that digest, as far as it is remembered."""
        return self._digests.get(revision) == digest

    def full(self) -> Parts:
        """The whole table, in as many messages as its size needs."""
        if self._full is None:
            self.encoded += 1
            self._full = Parts(str(self.revision), tuple(self._chunks()), full=True)
        return self._full

    def delta(self, base: int, digest: bytes) -> Parts | None:
        """The change from what a node holds; None where that is not remembered or too large for one message."""
        if base == self.revision or self._digests.get(base) != digest:
            return None
        if base not in self._deltas:
            self.encoded += 1
            self._deltas[base] = self._delta(base)
        return self._deltas[base]

    def remembers(self, base: int) -> bool:
        """Whether `since` can tell what changed after this revision."""
        return base in self._digests

    def since(self, base: int) -> tuple[list[Resource], list[ResourceKey]]:
        """(upserts, removes) that make this revision from a remembered one."""
        touched = frozenset().union(*(change.keys for change in self._history if change.base >= base))
        upserts = [self.table[key] for key in touched if key in self.table]
        return upserts, [ResourceKey(kind=kind, name=name) for kind, name in touched if (kind, name) not in self.table]

    def _delta(self, base: int) -> Parts | None:
        upserts, removes = self.since(base)
        if sum(map(_wire_size, [*upserts, *removes])) > MESSAGE_BYTES:
            return None
        delta = Delta(
            base_revision=base,
            revision=self.revision,
            nonce=f"{base}-{self.revision}",
            upserts=upserts,
            removes=removes,
            digest=self.digest,
            store_epoch=self.epoch,
        )
        return Parts(delta.nonce, (ControlMessage(delta=delta).SerializeToString(),), full=False)

    def _chunks(self) -> Iterator[bytes]:
        runs = list(batches(self.table.values()))
        for number, run in enumerate(runs):
            chunk = SnapshotChunk(
                revision=self.revision,
                nonce=str(self.revision),
                digest=self.digest,
                resources=run,
                chunk=number,
                last=number == len(runs) - 1,
                store_epoch=self.epoch,
            )
            yield ControlMessage(snapshot=chunk).SerializeToString()


def oversize(table: Table) -> Iterator[tuple[Key, int]]:
    """The resources, with their size in bytes, that no message can carry."""
    for key, resource in table.items():
        if (size := _wire_size(resource)) > MESSAGE_BYTES:
            yield key, size


def _wire_size(message: Message) -> int:
    return message.ByteSize() + FRAME_BYTES


def batches(resources: Iterable[Resource]) -> Iterator[list[Resource]]:
    """Runs of resources that each fit a message; one empty run where there are none."""
    batch: list[Resource] = []
    room = MESSAGE_BYTES
    for resource in resources:
        size = _wire_size(resource)
        if size > room and batch:
            yield batch
            batch, room = [], MESSAGE_BYTES
        batch.append(resource)
        room -= size
    yield batch
