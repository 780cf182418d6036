"""What the control plane's messages add up to: pure, no I/O.

Chunks are put together, deltas are put onto what is held, and everything is verified by its digest before anyone is
asked to apply it. Only the newest counts: a proposal that was not taken yet gives way to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.config_source import Held
from shared.pb.discovery_pb2 import Current, Delta, Resync, Snapshot
from shared.table import Key, Table


@dataclass(frozen=True, slots=True)
class Proposal:
    """A verified table to apply, and the nonce that its answer carries."""

    held: Held
    nonce: str


@dataclass(slots=True)
class Assembly:
    """A snapshot of which more chunks are to come."""

    nonce: str
    table: Table
    chunks: int


class Intake:
    """Everything received but not yet answered. `drifts` counts tables that were not what they should have been."""

    def __init__(self, held: Held | None, drifts: int = 0) -> None:
        self.drifts = drifts
        self._held = held
        self._assembly: Assembly | None = None
        self._broken: str | None = None  # the nonce of a snapshot with a chunk missing
        self._proposal: Proposal | None = None
        self._resync: Resync | None = None

    def snapshot(self, chunk: Snapshot) -> None:
        """One chunk; the last one makes it a proposal, if all were there and the digest agrees."""
        assembly = self._assembly
        if chunk.chunk == 0:
            assembly, self._broken = Assembly(chunk.nonce, Table(), 0), None
        if assembly is None or (assembly.nonce, assembly.chunks) != (chunk.nonce, chunk.chunk):
            self._assembly = None
            if chunk.nonce != self._broken:  # told once, not for each chunk that follows
                self._broken = chunk.nonce
                self._doubt(chunk, f"chunk {chunk.chunk} of the snapshot does not follow the one before")
            return
        # Chunk by chunk, so that no single step of a large table is long.
        assembly.table = assembly.table.changed(chunk.resources, ())
        assembly.chunks += 1
        self._assembly = None if chunk.last else assembly
        if chunk.last:
            self._verify(assembly.table, chunk)

    def delta(self, delta: Delta) -> None:
        """A change of what is held, or of the proposal that waits."""
        base = self._proposal.held if self._proposal is not None else self._held
        if base is None or (base.revision, base.epoch) != (delta.base_revision, delta.store_epoch):
            self._doubt(
                delta, f"a delta from revision {delta.base_revision} came to {base or 'a node that holds nothing'}"
            )
            return
        self._verify(base.table.changed(delta.upserts, _keys(delta)), delta)

    def current(self, current: Current) -> None:
        """The control plane believes that this is what is held."""
        held = self._held
        if held is None or (held.revision, held.epoch) != (current.revision, current.store_epoch):
            reason = (
                f"the control plane took this node to be at revision {current.revision}, and it is at {held or 'none'}"
            )
            self._resync = Resync(revision=current.revision, reason=reason)

    @property
    def proposal(self) -> Proposal | None:
        """The newest table that waits for an answer; None where everything is asked for first."""
        return self._proposal if self._resync is None else None

    @property
    def settled(self) -> bool:
        """Whether nothing waits for an answer, and no snapshot for its other chunks."""
        return self._proposal is None and self._resync is None and self._assembly is None

    def take(self) -> Proposal | Resync | None:
        """The newest that waits for an answer; what waited before it is superseded."""
        taken = self._resync or self._proposal
        self._resync = self._proposal = None
        return taken

    def holds(self, held: Held) -> None:
        """What deltas are put onto from now on."""
        self._held = held

    def _verify(self, table: Table, message: Snapshot | Delta) -> None:
        if table.digest != message.digest:
            self.drifts += 1
            self._doubt(message, f"the table at revision {message.revision} does not have the digest that was promised")
            return
        self._resync = None
        self._proposal = Proposal(Held(table, message.revision, message.store_epoch), message.nonce)

    def _doubt(self, message: Snapshot | Delta, reason: str) -> None:
        """Ask for everything; what waited was older than this message, and a snapshot will bring all of it."""
        self._proposal = None
        self._resync = Resync(nonce=message.nonce, revision=message.revision, reason=reason)


def _keys(delta: Delta) -> list[Key]:
    return [(key.kind, key.name) for key in delta.removes]
