"""A conversation under any order of edits, answers, refusals, lost streams and drift."""

from __future__ import annotations

from copy import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controlplane.conversation import Conversation, Version
from controlplane.snapshot import Snapshot
from shared.pb.discovery_pb2 import Ack, ControlMessage, Held, Hello, Nack, NodeHeartbeat, Resync
from shared.pb.resources_pb2 import Resource
from shared.table import Table

RESOURCES = st.builds(Resource, kind=st.just("route"), name=st.sampled_from("abcd"), body=st.binary(max_size=2))
TABLES = st.lists(RESOURCES, max_size=5).map(Table)


class Talk(RuleBasedStateMachine):
    """A control plane that publishes and a node that takes, refuses, forgets and goes away, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = Snapshot("e0", 1, Table())
        self.table = Table()  # what the node serves
        self.version: Version | None = None
        self.inbox: list[ControlMessage] = []
        self.refusals: set[Version] = set()
        self.drifted = False  # the node's table is not what it says, until it gets one whole
        self.conversation = Conversation(Hello(node_id="n"))

    @rule(table=TABLES)
    def publish(self, table: Table) -> None:
        self.newest = self.newest.followed_by(self.newest.epoch, self.newest.revision + 1, table)

    @rule(table=TABLES)
    def restore_an_older_store(self, table: Table) -> None:
        epoch = f"e{int(self.newest.epoch[1:]) + 1}"
        self.newest = self.newest.followed_by(epoch, max(1, self.newest.revision - 2), table)

    @rule()
    def send(self) -> None:
        parts = self.conversation.next(self.newest)
        if parts is None:
            return
        assert (self.newest.epoch, self.newest.revision) not in self.refusals, "a refused revision was sent again"
        assert not self.inbox, "sent before the node answered"
        messages = [ControlMessage.FromString(message) for message in parts.messages]
        if messages[0].WhichOneof("message") == "current":
            assert (self.version, self.table) == ((self.newest.epoch, self.newest.revision), self.newest.table)
        else:
            self.inbox = messages

    @precondition(lambda self: self.inbox)
    @rule()
    def accept(self) -> None:
        made = self.made()
        nonce, revision, digest, epoch = self.about()
        if made.digest != digest:
            self.conversation.resync(Resync(nonce=nonce, revision=revision))
            return
        self.table, self.version, self.drifted = made, (epoch, revision), False
        outcome = self.conversation.ack(Ack(nonce=nonce, revision=revision, digest=digest))
        assert outcome.acked == revision
        assert self.conversation.ack(Ack(nonce=nonce, revision=revision, digest=digest)).stale

    @precondition(lambda self: self.inbox)
    @rule()
    def refuse(self) -> None:
        nonce, revision, _, epoch = self.about()
        kept = self.version[1] if self.version else 0
        outcome = self.conversation.nack(Nack(nonce=nonce, revision=revision, kept_revision=kept))
        assert outcome.nacked == revision
        self.refusals = {(epoch, revision)}

    @precondition(lambda self: self.inbox)
    @rule()
    def fail_to_verify(self) -> None:
        nonce, revision, _, epoch = self.about()
        outcome = self.conversation.resync(Resync(nonce=nonce, revision=revision, reason="digest mismatch"))
        assert outcome.drift
        if outcome.nacked is not None:
            self.refusals = {(epoch, revision)}

    @rule()
    def lose_the_stream(self) -> None:
        self.inbox = []
        hello = Hello(node_id="n", held=self.held())
        self.conversation = Conversation(hello, self.conversation.refused)
        assert self.drifted or not self.conversation.greet(self.newest).drift

    @rule()
    def beat(self) -> None:
        held = self.held() or Held()
        outcome = self.conversation.heartbeat(NodeHeartbeat(revision=held.revision, digest=held.digest))
        assert not outcome.drift, "a node that serves what it acknowledged has not drifted"

    @precondition(lambda self: self.version is not None and self.table and not self.inbox)
    @rule()
    def drift(self) -> None:
        self.table = Table(list(self.table.values())[1:])
        self.drifted = True
        held = self.held()
        assert held is not None
        believed = self.conversation.held
        outcome = self.conversation.heartbeat(NodeHeartbeat(revision=held.revision, digest=held.digest))
        assert bool(outcome.drift) == (believed is not None)

    @invariant()
    def a_willing_node_converges(self) -> None:
        """From here on without refusals or losses, the node ends up with the published table, unless it refused it."""
        if (self.newest.epoch, self.newest.revision) in self.refusals:
            return
        twin = copy(self)
        twin.conversation = copy(self.conversation)
        for _ in range(8):
            if twin.inbox:
                Talk.accept(twin)
            Talk.send(twin)
        assert twin.table == self.newest.table
        assert twin.version == (self.newest.epoch, self.newest.revision)

    def made(self) -> Table:
        """The table that what came makes."""
        if self.inbox[0].WhichOneof("message") == "snapshot":
            return Table(resource for message in self.inbox for resource in message.snapshot.resources)
        delta = self.inbox[0].delta
        return self.table.changed(delta.upserts, [(key.kind, key.name) for key in delta.removes])

    def about(self) -> tuple[str, int, bytes, str]:
        """Nonce, revision, digest and epoch of what came; it is taken."""
        last = self.inbox[-1]
        self.inbox = []
        message = last.snapshot if last.WhichOneof("message") == "snapshot" else last.delta
        return message.nonce, message.revision, message.digest, message.store_epoch

    def held(self) -> Held | None:
        if self.version is None:
            return None
        return Held(store_epoch=self.version[0], revision=self.version[1], digest=self.table.digest)


Talk.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestTalk = Talk.TestCase
