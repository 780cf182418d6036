"""Explain: what the nodes would do with a sample request. They are asked; the control plane has no router of its own.

One node tells the way of the request; of the others only what may differ from node to node is told: which route, what
is left of limits, breakers and endpoints. Why it is not done here: docs/decisions/0017-explain-asks-the-nodes.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.asking import Encode
from controlplane.nodes import Node
from controlplane.reach import Reach
from shared.pb.admin_pb2 import ExplainResponse, NodeExplanation
from shared.pb.discovery_pb2 import Answer, Ask, ControlMessage
from shared.pb.explain_pb2 import Explanation, SampleRequest
from shared.pb.replica_pb2 import ReplicaQuestion

SECONDS = 3.0
MOST_NODES = 50
"""Nodes that are asked; each answer has a few KiB."""


class NobodyAnsweredError(Exception):
    """No node could be asked, or none answered; the text tells each reason."""


def asks(request: SampleRequest) -> Encode:
    """The question about this request, the same for all nodes."""

    def encode(_: Node, id_: str) -> Sequence[bytes]:
        return (ControlMessage(ask=Ask(id=id_, explain=request)).SerializeToString(),)

    return encode


async def explain(reach: Reach, request: SampleRequest, seconds: float = SECONDS) -> ExplainResponse:
    """What the nodes of all replicas say; the one that tells the way is the one at the newest revision, a match before
    a miss.

    Raises NobodyAnsweredError.
    """
    targets = reach.targets()
    if not targets:
        raise NobodyAnsweredError("no data plane is connected, and only a data plane can tell what it would do")
    asked = targets[:MOST_NODES]
    replies = await reach.each(asked, asks(request), lambda: ReplicaQuestion(explain=request), seconds)
    told = {name: reply.explain for name, reply in sorted(replies.items()) if isinstance(reply, Answer)}
    if not told:
        reasons = "; ".join(f"{name}: {reply}" for name, reply in sorted(replies.items()))
        raise NobodyAnsweredError(f"no data plane answered: {reasons}")
    teller = max(told, key=lambda name: (told[name].matched, told[name].revision))
    each = [_of_node(name, told.get(name), reply) for name, reply in sorted(replies.items())]
    return ExplainResponse(
        node=teller, explanation=told[teller], nodes=each, more_nodes=max(0, len(targets) - MOST_NODES)
    )


def _of_node(name: str, explanation: Explanation | None, reply: Answer | str) -> NodeExplanation:
    if explanation is None:
        return NodeExplanation(node=name, reason=str(reply))
    return NodeExplanation(
        node=name,
        revision=explanation.revision,
        matched=explanation.matched,
        route=explanation.route,
        status=explanation.status,
        limits=[limit for verdict in explanation.filters for limit in verdict.limits],
        circuit_breaker=explanation.circuit_breaker,
        endpoints=explanation.endpoints,
        reason=explanation.reason,
    )
