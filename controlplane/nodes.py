"""The registry of nodes: who runs which revision, and why not. Remembers those that left for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from controlplane.asking import Questions
from controlplane.conversation import Outcome, Version
from controlplane.trust.admission import Admitted
from shared.capabilities import lacks
from shared.pb.admin_pb2 import Node as NodeMessage
from shared.pb.discovery_pb2 import Hello, ResourceError
from shared.pb.rollout_pb2 import Figures

REMEMBER = 3600.0
"""Seconds that a node which left is still shown."""
LIMIT = 10_000
"""Nodes that are remembered at most; those that left longest ago go first."""
DISPLACED = 8
VERSIONS = 64
"""Sets of capabilities that are remembered."""

Watch = Callable[["Node"], None]
"""Called after a node connected, answered or left."""
Desired = int | Callable[[str, int], int]
"""The revision that nodes should run: one for all, or by the node's id and what it runs."""
STRANGER = Admitted("")
"""Nothing is known of the caller but what it says."""
Close = Callable[[str], None]
"""Ends a node's stream, with the reason that the node is told."""


@dataclass(slots=True, eq=False)
class Node:
    """One data-plane process. Times are of the registry's clock."""

    # process: of the node's current instance
    id: str
    epoch: str
    version: str
    labels: dict[str, str]
    capabilities: frozenset[str] = frozenset()
    refused: Version | None = None
    came_with: Version = ("", 0)  # what it held when its stream began
    displaced: list[str] = field(default_factory=list)  # older instances with the same id that tried to stay
    admitted: Admitted = STRANGER
    # configuration
    sent: int = 0
    acked: int = 0
    nacked: int = 0
    errors: list[ResourceError] = field(default_factory=list)
    apply_ms: float = 0.0
    superseded: int = 0
    figures: Figures | None = None  # what it served since it runs what it runs, by its last heartbeat
    # stream
    close: Close | None = None
    questions: Questions | None = None
    since: float = 0.0
    last_seen: float = 0.0
    bytes_sent: int = 0

    @property
    def connected(self) -> bool:
        return self.close is not None

    def reached(self, epoch: str) -> int:
        """The newest revision of this line that it is known to have run."""
        return max(self.acked, self.came_with[1] if self.came_with[0] == epoch else 0)

    def state(self, desired: int) -> str:
        """current | applying | nacked | disconnected."""
        return state_of(self.connected, self.acked, self.nacked, desired)

    def learn(self, outcome: Outcome) -> None:
        """Note what an answer meant."""
        if outcome.acked is not None:
            self.acked, self.nacked = outcome.acked, 0
            self.errors, self.apply_ms = outcome.errors, outcome.apply_ms
        elif outcome.nacked is not None:
            self.nacked, self.errors = outcome.nacked, outcome.errors
        if outcome.drift:
            self.acked = 0  # what it runs is not known until it has everything anew


def state_of(connected: bool, acked: int, nacked: int, desired: int) -> str:
    """How a node stands to the revision that it should run."""
    if not connected:
        return "disconnected"
    if desired and nacked == desired:
        return "nacked"
    return "current" if desired and acked == desired else "applying"


class DisplacedError(Exception):
    """A newer instance with the same node id is connected; this one must wait until it is gone."""


class Nodes:
    """All nodes by id."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, remember: float = REMEMBER, limit: int = LIMIT
    ) -> None:
        self._clock = clock
        self._remember = remember
        self._limit = limit
        self._nodes: dict[str, Node] = {}
        self._watches: set[Watch] = set()
        self._known: dict[frozenset[str], tuple[frozenset[str], frozenset[str]]] = {}  # what is said, and what lacks
        self._elsewhere: Mapping[str, NodeMessage] = {}
        self._wakes: set[asyncio.Event] = set()
        self.nacks = 0
        self.drifts = 0
        self.superseded = 0  # revisions, over all nodes, that were never sent because a newer one was there

    def __repr__(self) -> str:
        return f"<Nodes {self.live} live of {len(self._nodes)}>"

    def connect(self, hello: Hello, close: Close, admitted: Admitted = STRANGER) -> Node:
        """A stream began, of a caller that was let in as this node. An older one of the same id is closed.

        DisplacedError where this instance already lost against the one that is connected: two processes that share an
        id by mistake would otherwise throw each other out for ever.
        """
        old = self._nodes.get(hello.node_id)
        displaced: list[str] = []
        if old is not None and old.connected and old.close is not None:
            if hello.instance_epoch in old.displaced:
                raise DisplacedError(
                    f"a newer instance of node {hello.node_id!r} is connected; give each its own --node-id"
                )
            another = hello.instance_epoch != old.epoch
            displaced = [*old.displaced, old.epoch][-DISPLACED:] if another else old.displaced
            old.close(f"a newer stream of node {hello.node_id!r} took over")
        labels = dict(hello.labels if admitted.labels is None else admitted.labels)
        node = Node(
            hello.node_id,
            hello.instance_epoch,
            hello.version,
            labels,
            self._capabilities(hello),
            came_with=(hello.held.store_epoch, hello.held.revision),
            displaced=displaced,
            admitted=admitted,
        )
        if old is not None and old.epoch == hello.instance_epoch:
            # The same process came back: what it refused, and what it was sent in all, still holds.
            node.refused, node.nacked, node.errors = old.refused, old.nacked, old.errors
            node.bytes_sent, node.superseded = old.bytes_sent, old.superseded
        node.close = close
        node.since = node.last_seen = self._clock()
        self._nodes.pop(hello.node_id, None)  # so that the dict stays in order of arrival
        self._nodes[hello.node_id] = node
        self._forget()
        self.changed(node)
        return node

    def _capabilities(self, hello: Hello) -> frozenset[str]:
        """Those of a node; nodes of one version share them, for there are hundreds."""
        said = frozenset(hello.capabilities)
        if said not in self._known:
            if len(self._known) >= VERSIONS:
                self._known.clear()
            self._known[said] = said, lacks(said)
        return self._known[said][0]

    def lacking(self) -> dict[str, frozenset[str]]:
        """The fields that each connected node, here or elsewhere, cannot do, where there are any."""
        there = {name: frozenset(other.lacks) for name, other in self.others().items() if other.connected}
        found = there | {node.id: self.lacks(node) for node in self.connected()}
        return {name: fields for name, fields in found.items() if fields}

    def lacks(self, node: Node) -> frozenset[str]:
        """The fields that a node cannot do and this control plane knows."""
        known = self._known.get(node.capabilities)
        return known[1] if known is not None else lacks(node.capabilities)

    def cut(self, why: Callable[[Admitted], str]) -> None:
        """End the streams of all nodes for which there is a reason."""
        for node in self._nodes.values():
            if node.close is not None and (reason := why(node.admitted)):
                node.close(reason)

    def seen(self, node: Node) -> None:
        """The node said something."""
        node.last_seen = self._clock()

    def learn(self, node: Node, outcome: Outcome) -> None:
        """Note an answer, on the node and in the totals."""
        node.learn(outcome)
        self.nacks += outcome.nacked is not None
        self.drifts += bool(outcome.drift)
        self.changed(node)

    def disconnect(self, node: Node) -> bool:
        """The node's stream ended; False where a newer stream had already taken its place."""
        if node.questions is not None:
            node.questions.end("it disconnected")
            node.questions = None
        if self._nodes.get(node.id) is not node:
            return False
        node.close = None
        node.since = self._clock()
        self.changed(node)
        return True

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Call `watch` with every node that connects, answers or leaves."""
        self._watches.add(watch)
        try:
            yield
        finally:
            self._watches.discard(watch)

    def changed(self, node: Node) -> None:
        """Tell those who watch that a node is not what it was."""
        for watch in list(self._watches):
            watch(node)

    @property
    def elsewhere(self) -> Mapping[str, NodeMessage]:
        """Nodes that other control planes over the same database told of (presence.py)."""
        return self._elsewhere

    @elsewhere.setter
    def elsewhere(self, nodes: Mapping[str, NodeMessage]) -> None:
        self._elsewhere = nodes
        for wake in self._wakes:
            wake.set()

    @contextmanager
    def elsewhere_told(self, wake: asyncio.Event) -> Iterator[None]:
        """Set `wake` whenever other control planes told of their nodes."""
        self._wakes.add(wake)
        try:
            yield
        finally:
            self._wakes.discard(wake)

    def get(self, name: str) -> Node | None:
        """A node by its id."""
        return self._nodes.get(name)

    def connected(self) -> list[Node]:
        """Those with an open stream, by name."""
        return sorted((node for node in self._nodes.values() if node.connected), key=lambda node: node.id)

    @property
    def live(self) -> int:
        """Connected nodes, here and elsewhere: what local limits are divided by."""
        here = {node.id for node in self._nodes.values() if node.connected}
        return len(here) + sum(node.connected for name, node in self.elsewhere.items() if name not in here)

    def states(self, desired: Desired) -> dict[str, int]:
        """How many nodes are in each state, here and elsewhere."""
        self._forget()
        counts = dict.fromkeys(("current", "applying", "nacked", "disconnected"), 0)
        others = self.others()
        for name, node in self._nodes.items():
            if name not in others:
                counts[node.state(_of(desired, name, node.acked))] += 1
        for name, other in others.items():
            wanted = _of(desired, name, other.acked_revision)
            counts[state_of(other.connected, other.acked_revision, other.nacked_revision, wanted)] += 1
        return counts

    def view(self, desired: Desired) -> list[NodeMessage]:
        """All nodes by name, as operators see them, here and elsewhere."""
        shown = {node.id: node for node in self.own_view(desired)}
        for name, other in self.others().items():
            wanted = _of(desired, name, other.acked_revision)
            shown[name] = other
            other.desired_revision = wanted
            other.state = state_of(other.connected, other.acked_revision, other.nacked_revision, wanted)
        return [node for _, node in sorted(shown.items())]

    def own_view(self, desired: Desired) -> list[NodeMessage]:
        """The nodes that have or had their stream here."""
        self._forget()
        return [self._message(node, _of(desired, name, node.acked)) for name, node in sorted(self._nodes.items())]

    async def held(self, _connection: object, epoch: str) -> list[int]:
        """The revisions that nodes run, here and elsewhere: to be asked what they lack."""
        here = [node.reached(epoch) for node in self._nodes.values()]
        return [revision for revision in (*here, *(one.acked_revision for one in self.others().values())) if revision]

    def all(self) -> list[Node]:
        """Those that are connected, and those that are remembered."""
        return list(self._nodes.values())

    def others(self) -> dict[str, NodeMessage]:
        """Those that are elsewhere; a node that is connected here is here, whatever others think."""
        return {
            name: other
            for name, other in self.elsewhere.items()
            if (node := self._nodes.get(name)) is None or (other.connected and not node.connected)
        }

    def _message(self, node: Node, desired: int) -> NodeMessage:
        now = self._clock()
        return NodeMessage(
            id=node.id,
            instance_epoch=node.epoch,
            version=node.version,
            labels=node.labels,
            state=node.state(desired),
            desired_revision=desired,
            sent_revision=node.sent,
            acked_revision=node.acked,
            nacked_revision=node.nacked,
            errors=node.errors,
            connected=node.connected,
            connected_seconds=now - node.since,
            last_seen_seconds=now - node.last_seen,
            apply_ms=node.apply_ms,
            bytes_sent=node.bytes_sent,
            superseded=node.superseded,
            address=node.admitted.address,
            certificate=node.admitted.serial,
            lacks=sorted(self.lacks(node)),
        )

    def _forget(self) -> None:
        """Drop nodes that left long ago, or that are too many."""
        horizon = self._clock() - self._remember
        gone = sorted((node.since, node.id) for node in self._nodes.values() if not node.connected)
        surplus = len(self._nodes) - self._limit
        for index, (since, name) in enumerate(gone):
            if since >= horizon and index >= surplus:
                return
            del self._nodes[name]


def _of(desired: Desired, name: str, acked: int) -> int:
    return desired if isinstance(desired, int) else desired(name, acked)
