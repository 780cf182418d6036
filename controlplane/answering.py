"""Asks the nodes of this control plane what another one over the same database wants to know of them."""

from __future__ import annotations

import asyncio

from controlplane import dry_run, explaining
from controlplane.asking import Asking, Encode
from controlplane.neighbourhood import MANY
from controlplane.nodes import Nodes
from controlplane.publisher import Publisher
from controlplane.store import Committed, Reader
from controlplane.store.database import DatabaseGone
from shared.faults import ConfigError
from shared.pb.discovery_pb2 import Answer
from shared.pb.replica_pb2 import ProposedChange, ReplicaAnswer, ReplicaQuestion
from shared.table import Table


class Unanswerable(Exception):
    """The question makes no sense here; the text says why."""


class Answering:
    """`name`: as other replicas know this one."""

    def __init__(self, name: str, nodes: Nodes, asking: Asking, publisher: Publisher, store: Reader) -> None:
        self._name = name
        self._nodes = nodes
        self._asking = asking
        self._publisher = publisher
        self._store = store

    async def __call__(self, question: ReplicaQuestion, seconds: float) -> ReplicaAnswer:
        """What each of the nodes says, in at most so many seconds; the reason where one says nothing."""
        gone = f"it is not connected to control plane {self._name} any more"
        replies: dict[str, Answer | str] = dict.fromkeys(question.nodes, gone)
        try:
            async with asyncio.timeout(seconds):
                encode = await self._encode(question)
        except (Unanswerable, ConfigError, DatabaseGone) as error:
            replies = dict.fromkeys(question.nodes, str(error))
        except TimeoutError:
            replies = dict.fromkeys(question.nodes, f"control plane {self._name} could not make the question in time")
        else:
            here = [node for name in question.nodes if (node := self._nodes.get(name)) is not None and node.connected]
            replies |= await self._asking.each(here, encode, seconds)
        return ReplicaAnswer(
            replies={
                name: reply if isinstance(reply, Answer) else Answer(refused=reply) for name, reply in replies.items()
            }
        )

    async def _encode(self, question: ReplicaQuestion) -> Encode:
        match question.WhichOneof("question"):
            case "explain":
                return explaining.asks(question.explain)
            case "dry_run":
                return await self._trial(question.dry_run)
            case _:
                raise Unanswerable(f"control plane {self._name} does not know the question: it runs an older version")

    async def _trial(self, change: ProposedChange) -> Encode:
        """The change as this replica's nodes would get it: built here, on top of what is committed."""
        base = await self._store.read()
        if base is None or (base.epoch, base.revision) != (change.store_epoch, change.base_revision):
            at = base.revision if base is not None else 0
            raise Unanswerable(f"the change is on top of revision {change.base_revision}, but by now it is {at}")
        many = len(change.upserts) + len(change.removes) >= MANY
        table = await asyncio.to_thread(_after, base, change) if many else _after(base, change)
        if table.digest != change.digest:
            raise Unanswerable(f"control plane {self._name} does not hold what revision {base.revision} is elsewhere")
        views = self._publisher.trial(table)
        if views is None:
            raise Unanswerable(f"control plane {self._name} serves no configuration yet")
        return dry_run.Trial(views).messages


def _after(base: Committed, change: ProposedChange) -> Table:
    return base.table.changed(change.upserts, [(key.kind, key.name) for key in change.removes])
