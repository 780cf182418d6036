"""What messages add up to: whatever comes, in whatever order, nothing is proposed but what was published."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dataplane.config_source import Held
from dataplane.intake import Intake, Proposal
from shared.pb.discovery_pb2 import Current, Delta, ResourceKey, Resync, Snapshot
from shared.table import Table
from tests.integration.stream_target import names, route, table


def chunks(of: Table, revision: int, size: int = 2, epoch: str = "e", nonce: str = "") -> list[Snapshot]:
    """A snapshot in chunks of so many resources."""
    resources = list(of.values())
    batches = [resources[i : i + size] for i in range(0, len(resources), size)] or [[]]
    return [
        Snapshot(
            revision=revision,
            nonce=nonce or f"s{revision}",
            digest=of.digest,
            resources=batch,
            chunk=number,
            last=number == len(batches) - 1,
            store_epoch=epoch,
        )
        for number, batch in enumerate(batches)
    ]


def delta(old: Table, new: Table, base: int, revision: int, epoch: str = "e") -> Delta:
    """The change from one table to another."""
    upserts, removes = new.since(old)
    return Delta(
        base_revision=base,
        revision=revision,
        nonce=f"d{base}-{revision}",
        upserts=upserts,
        removes=[ResourceKey(kind=kind, name=name) for kind, name in removes],
        digest=new.digest,
        store_epoch=epoch,
    )


def proposed(intake: Intake) -> Held:
    """What is proposed; fails where nothing is."""
    taken = intake.take()
    assert isinstance(taken, Proposal)
    return taken.held


def doubted(intake: Intake) -> Resync:
    """The doubt that is to be told; fails where there is none."""
    taken = intake.take()
    assert isinstance(taken, Resync)
    return taken


def test_chunks_become_one_table() -> None:
    """Nothing is proposed before the last chunk."""
    intake, whole = Intake(None), table("a", "b", "c", "d", "e")
    for chunk in chunks(whole, 3):
        assert intake.take() is None
        intake.snapshot(chunk)
    held = proposed(intake)
    assert (held.table, held.revision, held.epoch) == (whole, 3, "e")
    assert intake.take() is None


def test_an_empty_table_is_a_table() -> None:
    """A configuration without resources is one."""
    intake = Intake(None)
    intake.snapshot(chunks(Table(), 1)[0])
    assert len(proposed(intake).table) == 0


def test_a_missing_chunk_is_told_once() -> None:
    """A gap makes one Resync, not one for every chunk after it; a snapshot that starts anew mends it."""
    intake, whole = Intake(None), table("a", "b", "c", "d", "e", "f", "g")
    first, _, *rest = chunks(whole, 3)
    intake.snapshot(first)
    intake.snapshot(rest[0])
    assert "does not follow" in doubted(intake).reason
    intake.snapshot(rest[1])
    assert intake.take() is None
    for chunk in chunks(whole, 3):
        intake.snapshot(chunk)
    assert proposed(intake).table == whole


def test_deltas_that_wait_are_folded() -> None:
    """Several that arrived while the node was busy are one proposal: the newest."""
    one, two, three = table("a"), table("a", "b"), table("b")
    intake = Intake(Held(one, 1, "e"))
    intake.delta(delta(one, two, 1, 2))
    intake.delta(delta(two, three, 2, 3))
    held = proposed(intake)
    assert (held.revision, names(held.table)) == (3, {"b"})


def test_a_delta_from_elsewhere_is_not_applied() -> None:
    """Another base, another epoch, or nothing held: everything is asked for."""
    one, two = table("a"), table("a", "b")
    for held, message in (
        (Held(one, 2, "e"), delta(one, two, 1, 3)),
        (Held(one, 1, "other"), delta(one, two, 1, 3)),
        (None, delta(one, two, 1, 3)),
    ):
        intake = Intake(held)
        intake.delta(message)
        resync = doubted(intake)
        assert (resync.nonce, resync.revision) == ("d1-3", 3)
        assert intake.drifts == 0


def test_a_wrong_digest_is_drift() -> None:
    """A table that is not what was promised is counted, told, and never proposed."""
    one, two = table("a"), table("a", "b")
    intake = Intake(Held(one, 1, "e"))
    wrong = delta(one, two, 1, 2)
    wrong.digest = one.digest
    intake.delta(wrong)
    assert "digest" in doubted(intake).reason
    for chunk in chunks(two, 2):
        chunk.digest = one.digest
        intake.snapshot(chunk)
    assert "digest" in doubted(intake).reason
    assert intake.drifts == 2


def test_a_current_that_is_not_is_told() -> None:
    """Where the control plane takes the node for what it is not, everything is asked for."""
    intake = Intake(Held(table("a"), 1, "e"))
    intake.current(Current(revision=1, store_epoch="e"))
    assert intake.take() is None
    intake.current(Current(revision=2, store_epoch="e"))
    assert not intake.settled
    assert "revision 2" in doubted(intake).reason


class AgainstAServer(RuleBasedStateMachine):
    """A server that publishes and sends, with corruption on the way, and a node that takes what the intake proposes."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[tuple[str, int], Table] = {}
        self.epoch, self.revision, self.server = "e0", 1, table("a")
        self.history[self.epoch, 1] = self.server
        self.held: Held | None = None
        self.intake = Intake(None)

    @rule(name=st.sampled_from("abcdef"), upstream=st.sampled_from("uvw"))
    def put(self, name: str, upstream: str) -> None:
        self._publish(self.server.changed([route(name, upstream)], ()))

    @rule(name=st.sampled_from("abcdef"))
    def remove(self, name: str) -> None:
        self._publish(self.server.changed((), [("route", name)]))

    @rule()
    def restore(self) -> None:
        """The store comes back from a backup: another epoch, and lower revisions."""
        self.epoch, self.revision = f"e{len(self.history)}", 1
        self.history[self.epoch, 1] = self.server

    @rule(corrupt=st.sampled_from(["", "", "digest", "body", "lost", "base"]))
    def send_delta(self, corrupt: str) -> None:
        """From what the node holds, or, corrupted, from elsewhere."""
        if self.held is None or self.held.epoch != self.epoch or self.held.revision == self.revision:
            return
        message = delta(self.held.table, self.server, self.held.revision, self.revision, self.epoch)
        if corrupt == "digest":
            message.digest = bytes(16)
        elif corrupt == "body" and message.upserts:
            message.upserts[0].body += b"\x08\x01"
        elif corrupt == "lost" and message.removes:
            del message.removes[0]
        elif corrupt == "base":
            message.base_revision += 1
        self.intake.delta(message)

    @rule(drop=st.integers(-6, 5), swap=st.booleans())
    def send_snapshot(self, drop: int, swap: bool) -> None:
        """In chunks, of which one may get lost or two may change places."""
        parts = chunks(self.server, self.revision, 1, self.epoch)
        if 0 <= drop < len(parts):
            del parts[drop]
        if swap and len(parts) > 1:
            parts[0], parts[1] = parts[1], parts[0]
        for part in parts:
            self.intake.snapshot(part)

    @rule()
    def reconnect(self) -> None:
        """A new stream knows nothing of the old one's chunks."""
        self.intake = Intake(self.held, self.intake.drifts)

    @rule()
    def take(self) -> None:
        """The node applies what is proposed; what it doubts is answered by a whole snapshot, which always mends it."""
        taken = self.intake.take()
        if isinstance(taken, Resync):
            for part in chunks(self.server, self.revision, 2, self.epoch):
                self.intake.snapshot(part)
            self._hold(proposed(self.intake))
            assert self.held is not None
            assert self.held.table.digest == self.server.digest
        elif isinstance(taken, Proposal):
            self._hold(taken.held)

    @invariant()
    def holds_only_what_was_published(self) -> None:
        if self.held is not None:
            assert self.held.table == self.history[self.held.epoch, self.held.revision]

    def teardown(self) -> None:
        """However it went: after the last message gets through, node and server are equal."""
        for part in chunks(self.server, self.revision, 2, self.epoch):
            self.intake.snapshot(part)
        self._hold(proposed(self.intake))
        assert self.held is not None
        assert (self.held.table, self.held.revision, self.held.epoch) == (self.server, self.revision, self.epoch)

    def _publish(self, new: Table) -> None:
        self.server = new
        self.revision += 1
        self.history[self.epoch, self.revision] = new

    def _hold(self, held: Held) -> None:
        self.held = held
        self.intake.holds(held)


AgainstAServer.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestAgainstAServer = AgainstAServer.TestCase
