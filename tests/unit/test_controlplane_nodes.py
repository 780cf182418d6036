"""The registry: states, takeovers, and what is forgotten."""

from __future__ import annotations

import pytest

from controlplane.conversation import Outcome, describe
from controlplane.nodes import DisplacedError, Nodes
from shared.pb.discovery_pb2 import Hello, ResourceError


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def hello(name: str = "n", epoch: str = "a") -> Hello:
    return Hello(node_id=name, instance_epoch=epoch)


def ignore(reason: str) -> None:
    """A stream that need not be told."""


def test_states() -> None:
    """A node is applying until it acknowledged the desired revision, and nacked when it refused just that one."""
    nodes = Nodes()
    node = nodes.connect(hello(), ignore)
    assert node.state(2) == "applying"
    nodes.learn(node, Outcome(acked=2))
    assert (node.state(2), node.state(3)) == ("current", "applying")
    error = ResourceError(kind="route", name="r", path="upstream", message="is unknown")
    nodes.learn(node, Outcome(nacked=3, errors=[error]))
    assert (node.state(3), node.state(4)) == ("nacked", "applying")
    assert describe(node.errors) == ["route r: upstream: is unknown"]
    nodes.disconnect(node)
    assert node.state(3) == "disconnected"
    assert nodes.states(3) == {"current": 0, "applying": 0, "nacked": 0, "disconnected": 1}


def test_drift_makes_a_node_unknown() -> None:
    """A node whose table is in doubt does not count as current."""
    nodes = Nodes()
    node = nodes.connect(hello(), ignore)
    nodes.learn(node, Outcome(acked=2))
    nodes.learn(node, Outcome(drift="digest mismatch"))
    assert (node.state(2), nodes.drifts) == ("applying", 1)


def test_takeover() -> None:
    """The newest instance closes the older one, which may not come back while the newer one is there."""
    nodes = Nodes()
    told: list[str] = []
    first = nodes.connect(hello(epoch="a"), told.append)
    second = nodes.connect(hello(epoch="b"), ignore)
    assert len(told) == 1
    assert not nodes.disconnect(first), "the stream that was closed must not disconnect the newer one"
    assert nodes.live == 1
    with pytest.raises(DisplacedError, match="--node-id"):
        nodes.connect(hello(epoch="a"), ignore)
    assert nodes.disconnect(second)
    assert nodes.connect(hello(epoch="a"), ignore).connected


def test_a_process_that_reconnects_keeps_what_it_refused() -> None:
    """Its quarantine outlives the stream; that of another process does not count."""
    nodes = Nodes()
    node = nodes.connect(hello(), ignore)
    node.refused = ("e", 3)
    nodes.disconnect(node)
    again = nodes.connect(hello(), ignore)
    assert again.refused == ("e", 3)
    assert nodes.connect(hello(epoch="b"), ignore).refused is None


def test_nodes_that_left_are_forgotten_in_time() -> None:
    """A node that is gone is shown for a while; one that is connected never goes."""
    clock = Clock()
    nodes = Nodes(clock, remember=60.0)
    gone = nodes.connect(hello("gone"), ignore)
    nodes.connect(hello("here"), ignore)
    clock.now = 10.0
    nodes.disconnect(gone)
    clock.now = 69.0
    assert [(node.id, node.connected_seconds) for node in nodes.view(1)] == [("gone", 59.0), ("here", 69.0)]
    clock.now = 71.0
    assert [node.id for node in nodes.view(1)] == ["here"]


def test_the_registry_is_bounded() -> None:
    """When there are too many nodes, those that left first go first."""
    clock = Clock()
    nodes = Nodes(clock, limit=3)
    for number in range(6):
        clock.now += 1
        nodes.disconnect(nodes.connect(hello(str(number)), ignore))
    assert [node.id for node in nodes.view(1)] == ["3", "4", "5"]
