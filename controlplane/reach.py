"""Every connected node, wherever its stream is, and how to ask it: here over its stream, elsewhere through its replica.

Every node that was asked is in the outcome: with its answer, or with the reason why there is none. Never longer than
the deadline: a replica that is gone is a reason, told by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from controlplane.asking import Asking, Encode
from controlplane.nodes import Nodes
from shared.pb.discovery_pb2 import Answer
from shared.pb.replica_pb2 import ReplicaAnswer, ReplicaQuestion


@dataclass(frozen=True, slots=True)
class Target:
    """A connected node. `replica` has its stream; empty: this control plane."""

    id: str
    labels: Mapping[str, str]
    replica: str = ""


class Elsewhere(Protocol):
    """Asks other replicas."""

    async def ask(self, questions: Mapping[str, ReplicaQuestion], seconds: float) -> Mapping[str, ReplicaAnswer | str]:
        """By replica: its answer, or why there is none, after so many seconds at the latest."""
        ...


class Reach:
    """All nodes of all control planes over one database; without a relay, those of this one."""

    def __init__(self, nodes: Nodes, relay: Elsewhere | None = None, asking: Asking | None = None) -> None:
        self.asking = asking or Asking()
        self._nodes = nodes
        self._relay = relay

    def targets(self) -> list[Target]:
        """Those that are connected, by name."""
        here = [Target(node.id, node.labels) for node in self._nodes.connected()]
        there = self._nodes.others().values()
        elsewhere = [Target(node.id, dict(node.labels), node.replica) for node in there if node.connected]
        return sorted([*here, *elsewhere], key=lambda target: target.id)

    async def each(
        self, targets: Sequence[Target], encode: Encode, question: Callable[[], ReplicaQuestion], seconds: float
    ) -> dict[str, Answer | str]:
        """By node: its answer, or why there is none. `encode` asks a node here; `question` is the same for replicas."""
        replies: dict[str, Answer | str] = {target.id: "it is not connected" for target in targets}
        here = [node for target in targets if not target.replica and (node := self._nodes.get(target.id))]
        there = [target for target in targets if target.replica]
        questions = _questions(there, question)
        async with asyncio.TaskGroup() as both:
            theirs = both.create_task(self._elsewhere(there, questions, seconds))
            # Not a task: what nodes are asked is made before anything else happens, of what they run now.
            ours = await self.asking.each(here, encode, seconds)
        return replies | dict(ours) | theirs.result()

    async def _elsewhere(
        self, targets: Sequence[Target], questions: Mapping[str, ReplicaQuestion], seconds: float
    ) -> dict[str, Answer | str]:
        if not targets:
            return {}
        if self._relay is None:
            return {target.id: f"its control plane {target.replica} cannot be asked" for target in targets}
        answers = await self._relay.ask(questions, seconds)
        return {target.id: _reply(target, answers[target.replica]) for target in targets}


def _questions(targets: Sequence[Target], question: Callable[[], ReplicaQuestion]) -> dict[str, ReplicaQuestion]:
    """By replica: the question, with the nodes that it is for."""
    found: dict[str, ReplicaQuestion] = {}
    for target in targets:
        if target.replica not in found:
            found[target.replica] = question()
        found[target.replica].nodes.append(target.id)
    return found


def _reply(target: Target, answer: ReplicaAnswer | str) -> Answer | str:
    if isinstance(answer, str):
        return f"its control plane {target.replica} {answer}"
    if target.id not in answer.replies:
        return f"its control plane {target.replica} told nothing of it"
    reply = answer.replies[target.id]
    return reply.refused if reply.WhichOneof("answer") == "refused" else reply
