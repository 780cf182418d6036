"""What the two sides of a rollout served in the same time, from the figures that heartbeats carry. Pure.

Of nodes that run the candidate: everything since they run it. Of the others: what came since the rollout began, taken
as differences, so that what they served on earlier days does not count.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.nodes import Node
from controlplane.rollout.sample import Sample, sample_of, total


class Tally:
    """The counts of one rollout, since this process began to look."""

    def __init__(self, revision: int) -> None:
        self._revision = revision
        self._seen: dict[str, tuple[tuple[str, int], Sample]] = {}  # by node: (process, revision), and its counts
        self.others = Sample()
        self.candidate = Sample()

    def look(self, nodes: Iterable[Node]) -> None:
        """Take up what the nodes have told by now."""
        running = []
        for node in nodes:
            if node.figures is None:
                continue
            figures, counts = node.figures, sample_of(node.figures)
            if figures.revision >= self._revision:
                running.append(counts)
                continue
            key, (known, before) = (node.epoch, figures.revision), self._seen.get(node.id, (("", 0), Sample()))
            if key == known:
                self.others += counts - before
            self._seen[node.id] = key, counts
        self.candidate = total(running)


def usual(nodes: Iterable[Node]) -> Sample:
    """What all nodes served since they run what they run: how things are when nothing is being rolled out."""
    return total(sample_of(node.figures) for node in nodes if node.figures is not None)
