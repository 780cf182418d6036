"""Asks nodes things over their streams, and gathers what they answer: never longer than the deadline.

Every node that was asked is in the outcome: with its answer, or with the reason why there is none. A node that is gone,
silent or too old is a reason, never a wait.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from shared.pb.discovery_pb2 import Answer

if TYPE_CHECKING:
    from controlplane.nodes import Node

CAPABILITY = "ask"
MOST_WAITING = 64
"""Questions of one node that wait for its answer; more are refused."""

Encode = Callable[["Node", str], Sequence[bytes]]
"""The ControlMessages that ask a node a question, given its id: the same id for all nodes, so that what is the same for
several of them can be encoded once."""


class Questions:
    """What one node is asked on one stream: `outbox` is what its session still has to send."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.outbox: deque[bytes] = deque()
        self._wake = wake
        self._waiting: dict[str, asyncio.Future[Answer | str]] = {}

    def put(self, id_: str, messages: Sequence[bytes]) -> asyncio.Future[Answer | str]:
        """Ask; the future is the answer, or the reason why there is none. Cancel it to forget the question."""
        future: asyncio.Future[Answer | str] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= MOST_WAITING:
            future.set_result(f"{MOST_WAITING} questions wait for its answer already")
            return future
        self._waiting[id_] = future
        future.add_done_callback(lambda _: self._waiting.pop(id_, None))
        self.outbox.extend(messages)
        self._wake()
        return future

    def answered(self, answer: Answer) -> bool:
        """The node answers; False where nobody waits for that any more."""
        future = self._waiting.get(answer.id)
        if future is None or future.done():
            return False
        future.set_result(answer.refused if answer.WhichOneof("answer") == "refused" else answer)
        return True

    def end(self, reason: str) -> None:
        """The stream ended."""
        self.outbox.clear()
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_result(reason)


class Asking:
    """Asks several nodes at once."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    async def each(self, nodes: Iterable[Node], encode: Encode, seconds: float) -> Mapping[str, Answer | str]:
        """By node id: its answer, or why there is none; after so many seconds that reason is its silence."""
        id_ = str(next(self._ids))
        replies: dict[str, Answer | str] = {}
        waiting: dict[str, asyncio.Future[Answer | str]] = {}
        for node in nodes:
            if node.questions is None:
                replies[node.id] = "it is not connected"
            elif CAPABILITY not in node.capabilities:
                replies[node.id] = f"version {node.version} of the data plane cannot be asked; upgrade it"
            else:
                waiting[node.id] = node.questions.put(id_, encode(node, id_))
        try:
            if waiting:
                await asyncio.wait(waiting.values(), timeout=seconds)
        finally:
            for name, future in waiting.items():
                replies[name] = future.result() if future.done() else f"it did not answer within {seconds:g} s"
                future.cancel()  # nobody waits for it any more
        return replies
