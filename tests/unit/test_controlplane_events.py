"""The history of events over all nodes: bounded, newest first, each with an id; nothing a node says breaks it."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from controlplane.events import NAMES, Events
from controlplane.listing import history
from controlplane.problem import Problem
from controlplane.telemetry import Reports
from controlplane.traffic import Traffic
from shared.pb.telemetry_pb2 import Event, ReportBatch


def batch(*events: Event, seq: int = 1, lost: int = 0) -> ReportBatch:
    return ReportBatch(node_id="n/0", instance_epoch="abc", seq=seq, events=events, events_lost=lost)


def opened(number: int, at: float = 60.0, name: str = "circuit_breaker.opened") -> Event:
    return Event(number=number, name=name, at=at, data='{"upstream": "u"}')


def test_events_of_nodes_and_its_own_stand_in_one_list() -> None:
    """Newest first, each with id, node, name, time and data."""
    events = Events(lambda: 61.0)
    events.take(batch(opened(7)))
    events.saw("node.disconnected", node="n/0", reason="the stream broke")
    mine, theirs = history(events, {}).items
    assert theirs == {
        "id": "abc-7",
        "node": "n/0",
        "event": "circuit_breaker.opened",
        "timestamp": "1970-01-01T00:01:00.000Z",
        "data": {"upstream": "u"},
    }
    assert (mine["event"], mine["node"], mine["data"]) == ("node.disconnected", "n/0", {"reason": "the stream broke"})


def test_a_batch_that_comes_again_tells_nothing_twice() -> None:
    """The ledger of sequence numbers holds for events as for counts."""
    events = Events()
    reports = Reports(Traffic(), events)
    for first in (True, True, False):
        reports.take(batch(opened(1), lost=4), first=first)
    assert (history(events, {}).total, events.lost) == (1, 4)
    assert events.counts == {"circuit_breaker.opened": 1}


def test_filters_of_the_list() -> None:
    """By node, by event, since a time; all together; an unknown one is refused."""
    events = Events(lambda: 100.0)
    events.take(batch(opened(1, at=50.0), opened(2, at=70.0), opened(3, at=90.0, name="upstream.failure")))
    events.saw("config.changed", revision=2)
    assert history(events, {"node": "n/0"}).total == 3
    assert [item["event"] for item in history(events, {"node": ""}).items] == ["config.changed"]
    query = {"event": "circuit_breaker.opened", "since": "1970-01-01T00:01:00Z"}
    assert [item["id"] for item in history(events, query).items] == ["abc-2"]
    assert history(events, {"since": "1970-01-01T00:01:10"}).total == 3  # without a zone: UTC
    for wrong in ({"name": "x"}, {"since": "yesterday"}, {"limit": "0"}, {"cursor": "?"}):
        with pytest.raises(Problem):
            history(events, MultiDict(wrong))


def test_a_cursor_stays_while_events_arrive() -> None:
    """The next page goes on where the last one ended: nothing is shown twice or left out."""
    events = Events()
    events.take(batch(*(opened(number) for number in range(1, 6))))
    first = history(events, {"limit": "2"})
    events.saw("config.changed")
    second = history(events, {"limit": "2", "cursor": first.cursor})
    third = history(events, {"limit": "2", "cursor": second.cursor})
    shown = [item["id"] for page in (first, second, third) for item in page.items]
    assert (shown, third.cursor) == ([f"abc-{number}" for number in (5, 4, 3, 2, 1)], "")


def test_memory_is_bounded_whatever_nodes_say() -> None:
    """Old events give way to new ones; of very many names the later ones count under OTHER."""
    events = Events(kept=10)
    for number in range(NAMES + 50):
        events.take(batch(opened(number, name=f"name-{number}" + "x" * 1000)))
    assert history(events, {}).total == 10
    assert len(events.counts) == NAMES + 1
    assert events.counts["OTHER"] == 50
    assert max(map(len, events.counts)) <= 128


@pytest.mark.parametrize("data", ["", "[]", "{", '{"a": "\\ud800"}', "7"])
@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1.0, 1e300])
def test_nonsense_from_a_node_is_shown_as_far_as_it_makes_sense(data: str, at: float) -> None:
    """A time that cannot be is that of the arrival; data that is no object is none."""
    events = Events(lambda: 60.0)
    events.take(batch(Event(number=1, name="e", at=at, data=data)))
    [item] = history(events, {}).items
    assert (item["timestamp"], item["data"]) == ("1970-01-01T00:01:00.000Z", {})
