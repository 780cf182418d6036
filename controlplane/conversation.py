"""What is said to one node over one stream: pure decisions, no I/O.

The rules: newest only, and never two unanswered messages at once, so a slow node skips revisions (they are superseded)
and an answer can only be about one thing. A refused revision is not sent again to the process that refused it. What the
node holds is known from its Hello and its Acks; wherever that is in doubt, it is sent everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from controlplane.snapshot import Parts, Snapshot
from shared.pb.discovery_pb2 import Ack, ControlMessage, Current, Hello, Nack, NodeHeartbeat, ResourceError, Resync

FULL_ATTEMPTS = 3
"""Full snapshots of one revision that a node may fail to verify before that revision counts as refused by it."""

Version = tuple[str, int]
"""(store epoch, revision)."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a node said it holds."""

    version: Version
    digest: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """The message that waits for its answer."""

    snapshot: Snapshot
    parts: Parts


@dataclass(slots=True)
class Outcome:
    """What an answer meant, for the registry, the log and the counters.

    `acked` and `nacked` are revisions; `drift` says why the node's table was not what it should have been.
    """

    acked: int | None = None
    nacked: int | None = None
    errors: list[ResourceError] = field(default_factory=list)
    apply_ms: float = 0.0
    drift: str = ""
    stale: bool = False  # an answer to nothing that was asked: a repeated one, or one that came too late


class Conversation:
    """One stream with one node. `refused` is kept by the caller across streams of the same process."""

    def __init__(self, hello: Hello, refused: Version | None = None) -> None:
        self.held = _held(hello)
        self.refused = refused
        self.unanswered: Sent | None = None
        self.superseded = 0
        self._greeted = False
        self._failed_fulls = 0
        self._last: Version | None = None  # the newest that this stream sent, or found the node to hold

    def greet(self, newest: Snapshot) -> Outcome:
        """Whether what the node says it holds can be: a known revision has one digest."""
        held = self.held
        if held is None or held.version[0] != newest.epoch or not newest.contradicts(held.version[1], held.digest):
            return Outcome()
        return self._doubt(None, f"came back with revision {held.version[1]} under another digest")

    def next(self, newest: Snapshot) -> Parts | None:
        """What to send now that `newest` is the newest, or None: nothing, or not before the node has answered."""
        version = newest.epoch, newest.revision
        if self.unanswered is not None or version == self.refused:
            return None
        if self.held is not None and self.held == Held(version, newest.digest):
            return self._current(newest)
        parts = self._delta(newest) or newest.full()
        if self._last is not None and self._last[0] == newest.epoch:
            self.superseded += max(0, newest.revision - self._last[1] - 1)
        if self._last != version:
            self._failed_fulls = 0
        self.unanswered, self._last, self._greeted = Sent(newest, parts), version, True
        return parts

    def ack(self, ack: Ack) -> Outcome:
        """The node runs what it was sent, if it says so with the right digest."""
        sent = self._answered(ack.nonce)
        if sent is None:
            return Outcome(stale=True)
        snapshot = sent.snapshot
        if (ack.revision, ack.digest) != (snapshot.revision, snapshot.digest):
            return self._doubt(sent, f"acknowledged revision {ack.revision} with another digest than was sent")
        self.held = Held((snapshot.epoch, snapshot.revision), snapshot.digest)
        self._failed_fulls = 0
        return Outcome(acked=snapshot.revision, errors=list(ack.warnings), apply_ms=ack.apply_ms)

    def nack(self, nack: Nack) -> Outcome:
        """The node refused what it was sent: that revision is not sent to it again."""
        sent = self._answered(nack.nonce)
        if sent is None:
            return Outcome(stale=True)
        self.refused = sent.snapshot.epoch, sent.snapshot.revision
        if self.held is None or self.held.version[1] != nack.kept_revision:
            self.held = None  # it kept something that we do not know
        return Outcome(nacked=sent.snapshot.revision, errors=list(nack.errors))

    def resync(self, resync: Resync) -> Outcome:
        """The node does not trust its table: it gets everything, but not for ever."""
        sent = self.unanswered
        if sent is not None and resync.nonce not in {"", sent.parts.nonce}:
            return Outcome(stale=True)
        self.unanswered = None
        return self._doubt(sent, resync.reason or "asked for a full snapshot")

    def heartbeat(self, heartbeat: NodeHeartbeat) -> Outcome:
        """What the node serves now; between messages it must be what it acknowledged."""
        if self.unanswered is not None or self.held is None or not heartbeat.digest:
            return Outcome()
        if (heartbeat.revision, heartbeat.digest) == (self.held.version[1], self.held.digest):
            return Outcome()
        return self._doubt(None, f"serves revision {heartbeat.revision} with another digest than it acknowledged")

    def _answered(self, nonce: str) -> Sent | None:
        """Take the message that this nonce answers; None where it answers nothing."""
        sent = self.unanswered
        if sent is None or sent.parts.nonce != nonce:
            return None
        self.unanswered = None
        return sent

    def _doubt(self, sent: Sent | None, reason: str) -> Outcome:
        """Forget what the node holds, so that it gets everything; a revision it never manages to verify is refused."""
        self.held = None
        if sent is None or not sent.parts.full:
            return Outcome(drift=reason)
        self._failed_fulls += 1
        if self._failed_fulls < FULL_ATTEMPTS:
            return Outcome(drift=reason)
        self.refused = sent.snapshot.epoch, sent.snapshot.revision
        error = ResourceError(code="unverified", message=f"{self._failed_fulls} full snapshots failed: {reason}")
        return Outcome(drift=reason, nacked=sent.snapshot.revision, errors=[error])

    def _current(self, newest: Snapshot) -> Parts | None:
        self._last = newest.epoch, newest.revision
        if self._greeted:
            return None
        self._greeted = True
        current = Current(revision=newest.revision, store_epoch=newest.epoch)
        return Parts("", (ControlMessage(current=current).SerializeToString(),), full=False)

    def _delta(self, newest: Snapshot) -> Parts | None:
        if self.held is None or self.held.version[0] != newest.epoch:
            return None
        return newest.delta(self.held.version[1], self.held.digest)


def _held(hello: Hello) -> Held | None:
    if not hello.HasField("held"):
        return None
    return Held((hello.held.store_epoch, hello.held.revision), hello.held.digest)


def describe(errors: Iterable[ResourceError]) -> list[str]:
    """Each error as one line: kind name: path: message."""
    return [
        ": ".join(part for part in (f"{error.kind} {error.name}".strip(), error.path, error.message) if part)
        for error in errors
    ]
