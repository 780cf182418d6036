"""Write and wait: who runs a revision, told as soon as every connected node has answered, or the time is over.

Level-triggered: what counts is how each node stands, not which answers were seen. So a node that skipped the revision
and runs a newer one has applied it, one that reconnects is asked anew, and nothing is polled.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, suppress
from typing import Literal, Protocol

from controlplane.nodes import Node, Nodes
from shared.pb.admin_pb2 import Applied, FailedNode, PendingNode
from shared.pb.admin_pb2 import Node as NodeMessage

Standing = Literal["acked", "failed", "pending", "gone", "held"]


class Publishing(Protocol):
    """What waiting needs to know of the publisher."""

    @property
    def revision(self) -> int: ...
    def holds_back(self, node: str, revision: int) -> bool: ...
    def subscribed(self, wake: asyncio.Event) -> AbstractContextManager[None]: ...


class Waiting:
    """Waits for the nodes of this control plane, and those that others over the same database tell of."""

    def __init__(self, nodes: Nodes, publisher: Publishing) -> None:
        self._nodes = nodes
        self._publisher = publisher

    async def applied(self, revision: int, seconds: float) -> Applied:
        """Who runs this revision or a newer one; returns as soon as nobody is pending, at the latest after `seconds`.

        `failed` are those that refused it, or something newer. `pending` have not answered, or left while they had not.
        Nodes that a rollout has not come to are counted in `held`, and not waited for.
        """
        at: dict[str, Standing] = {}
        pending: set[str] = set()
        wake = asyncio.Event()

        def look(node: Node | NodeMessage) -> None:
            standing = self._standing(node, revision)
            if standing == "gone" and node.id not in at:
                return  # it left before any of this
            at[node.id] = standing
            if standing == "pending":
                pending.add(node.id)
            else:
                pending.discard(node.id)
                if not pending:
                    wake.set()

        with self._nodes.watched(look), self._nodes.elsewhere_told(wake), self._publisher.subscribed(wake):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while True:
                        wake.clear()
                        for node in self._nodes.connected():
                            look(node)
                        for other in self._nodes.others().values():
                            look(other)
                        if not pending and self._publisher.revision >= revision:
                            break
                        await wake.wait()
            return self._tell(revision, at)

    def _standing(self, node: Node | NodeMessage, revision: int) -> Standing:
        acked, nacked = _answers(node)
        if acked >= revision:
            return "acked" if node.connected else "gone"
        if not node.connected:
            return "gone"
        if nacked >= revision:
            return "failed"
        return "held" if self._publisher.holds_back(node.id, revision) else "pending"

    def _tell(self, revision: int, at: dict[str, Standing]) -> Applied:
        answer = Applied(revision=revision)
        for name, standing in sorted(at.items()):
            node = self._nodes.others().get(name) or self._nodes.get(name)
            match standing:
                case "acked":
                    answer.acked += 1
                case "held":
                    answer.held += 1
                case "failed":
                    answer.failed.append(FailedNode(node=name, errors=node.errors if node else []))
                case "gone":
                    if node is None or _answers(node)[0] < revision:
                        answer.pending.append(PendingNode(node=name, reason="it disconnected"))
                case _:
                    answer.pending.append(PendingNode(node=name, reason="it has not answered yet"))
        answer.nodes = answer.acked + answer.held + len(answer.failed) + len(answer.pending)
        return answer


def _answers(node: Node | NodeMessage) -> tuple[int, int]:
    """(the revision that it runs, the revision that it refused)."""
    return (node.acked, node.nacked) if isinstance(node, Node) else (node.acked_revision, node.nacked_revision)
