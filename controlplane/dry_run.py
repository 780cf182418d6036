"""Dry run: nodes compile a change that is not committed, on top of what they serve, and tell what they would refuse.

What a check in the control plane cannot see, a node can: a TLS file that is missing there, a kind of resource that its
version does not know, a bug. docs/concepts/configuration-stream.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from controlplane.nodes import Node
from controlplane.plan import Plan
from controlplane.reach import Reach, Target
from controlplane.snapshot import Snapshot, batches
from controlplane.views import Views
from shared.pb.admin_pb2 import NodeVerdict
from shared.pb.discovery_pb2 import Answer, Ask, ControlMessage, DryRun, ResourceKey
from shared.pb.replica_pb2 import ProposedChange, ReplicaQuestion

SECONDS = 10.0
"""What nodes have to answer unless told otherwise; 10 000 new routes take about one."""


class Trial:
    """A table that is not committed, as messages: what it would be as the next revision, to each node its view.

    What is the same for several nodes is encoded once.
    """

    def __init__(self, views: Views) -> None:
        self._views = views
        self._encoded: dict[tuple[str, bytes, int], tuple[bytes, ...]] = {}

    def messages(self, node: Node, id_: str) -> tuple[bytes, ...]:
        """The question for this node: the change from what it acknowledged, or everything."""
        snapshot = self._views.of(node.labels)
        base = node.acked if snapshot.remembers(node.acked) else 0
        key = id_, snapshot.digest, base
        if key not in self._encoded:
            self._encoded[key] = tuple(_parts(snapshot, id_, base))
        return self._encoded[key]


def _parts(snapshot: Snapshot, id_: str, base: int) -> Iterator[bytes]:
    upserts, removes = snapshot.since(base) if base else (snapshot.table.values(), [])
    runs = list(batches(upserts))
    for number, run in enumerate(runs):
        part = DryRun(
            base_revision=base,
            store_epoch=snapshot.epoch,
            upserts=run,
            removes=removes if not number else (),
            digest=snapshot.digest,
            chunk=number,
            last=number == len(runs) - 1,
        )
        yield ControlMessage(ask=Ask(id=id_, dry_run=part)).SerializeToString()


async def dry_run(
    reach: Reach,
    targets: Sequence[Target],
    views: Views,
    change: Callable[[], ProposedChange],
    seconds: float = SECONDS,
) -> list[NodeVerdict]:
    """What each node says to the table that it would get; by name.

    `views`: those of Publisher.trial. `change`: the same for other replicas, made where some of the nodes are there.
    """
    replies = await reach.each(targets, Trial(views).messages, lambda: ReplicaQuestion(dry_run=change()), seconds)
    return [_verdict(name, reply) for name, reply in sorted(replies.items())]


def proposed(plan: Plan) -> ProposedChange:
    """A plan as another replica makes the same table of it."""
    gone = [one.key for one in plan.changes if one.after is None]
    return ProposedChange(
        store_epoch=plan.epoch,
        base_revision=plan.revision,
        upserts=[one.after for one in plan.changes if one.after is not None],
        removes=[ResourceKey(kind=kind, name=name) for kind, name in gone],
        digest=plan.table.digest,
    )


def concerned(plan: Plan, nodes: Iterable[Target], views: Views | None) -> list[Target]:
    """The nodes that a plan may change something for."""
    if not plan.steps:
        return []
    return [
        node for node in nodes if plan.groups is None or views is None or views.groups_of(node.labels) & plan.groups
    ]


def _verdict(name: str, reply: Answer | str) -> NodeVerdict:
    if isinstance(reply, str):
        return NodeVerdict(node=name, reason=reply)
    result = reply.dry_run
    return NodeVerdict(
        node=name, accepted=not result.errors, errors=result.errors, compile_ms=round(result.compile_ms, 3)
    )
