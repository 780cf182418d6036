"""What one control plane sees of a rollout, and what all of them see together. Pure.

A control plane that does not drive writes its view down for the one that does. A view whose beat stands still for the
length of the lease, by the reader's own clock, is of a process that is gone: its nodes are elsewhere by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.nodes import Node
from controlplane.rollout.machine import NodeView
from controlplane.rollout.sample import Sample, figures_of, sample_of, total
from controlplane.rollout.tally import Tally
from shared.pb.rollout_pb2 import RolloutNode, RolloutView


@dataclass(frozen=True, slots=True)
class Sight:
    """Nodes by id, and what those served that run the candidate, and those that do not."""

    nodes: Mapping[str, NodeView]
    candidate: Sample
    others: Sample


def own(nodes: Iterable[Node], revision: int, tally: Tally) -> Sight:
    """What this process sees now."""
    return Sight({node.id: view_of(node, revision) for node in nodes}, tally.candidate, tally.others)


def view_of(node: Node, revision: int) -> NodeView:
    runs = node.acked >= revision
    return NodeView(node.id, node.labels, node.connected, runs, node.nacked >= revision and not runs)


def together(mine: Sight, others: Iterable[Sight]) -> Sight:
    """All views as one; a node counts where it is connected."""
    sights = [mine, *others]
    nodes: dict[str, NodeView] = {}
    for sight in sights:
        for name, node in sight.nodes.items():
            if name not in nodes or (node.connected and not nodes[name].connected):
                nodes[name] = node
    return Sight(nodes, total(sight.candidate for sight in sights), total(sight.others for sight in sights))


def told(sight: Sight) -> RolloutView:
    """To be written down: only nodes that are connected here."""
    nodes = [
        RolloutNode(id=node.id, labels=node.labels, runs=node.runs, refused=node.refused)
        for node in sight.nodes.values()
        if node.connected
    ]
    return RolloutView(nodes=nodes, candidate=figures_of(sight.candidate), others=figures_of(sight.others))


def read(view: RolloutView) -> Sight:
    """As another process wrote it down."""
    nodes = {node.id: NodeView(node.id, dict(node.labels), True, node.runs, node.refused) for node in view.nodes}
    return Sight(nodes, sample_of(view.candidate), sample_of(view.others))
