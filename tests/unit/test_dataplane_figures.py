"""What a node tells of its traffic: exact for the revision, and none of it lost or told twice in the report."""

from __future__ import annotations

from dataplane.events import Events
from dataplane.figures import Figures
from dataplane.metrics import Traffic
from dataplane.report import Reporter
from dataplane.settings import Settings
from shared.histogram import bucket_of


def reporter(traffic: Traffic) -> Reporter:
    """One that talks to nobody."""
    settings = Settings(control_plane=("127.0.0.1:1",), node_id="n/0")
    return Reporter(settings, traffic, Events(lambda: 0.0, lambda: 0.0), "e", now=lambda: 0.0)


def test_only_what_was_served_under_a_revision_counts() -> None:
    """Requests before the turn are of the revision before; an error is an answer of 500 or above."""
    traffic = Traffic()
    telling = reporter(traffic)
    route = traffic.route("r")
    telling.figures.begin(1)
    route.record("GET", 500, 7.0, 0, 0)
    assert (telling.served().revision, telling.served().errors) == (1, 1)
    telling.turn(2)
    for status in (200, 404, 499, 503):
        route.record("GET", status, 7.0, 0, 0)
    told = telling.served()
    assert (told.revision, told.requests, told.errors) == (2, 4, 1)
    assert dict(zip(told.latency.bucket, told.latency.count, strict=True)) == {bucket_of(7.0): 4}


def test_the_report_has_everything_once() -> None:
    """However often it was told with heartbeats in between, and whatever turns there were."""
    traffic = Traffic()
    telling = reporter(traffic)
    for revision in range(5):
        traffic.route("r").record("GET", 200, 1.0, 0, 0)
        telling.served()
        telling.turn(revision)
    telling.collect()
    batch = telling.spool.next()
    assert batch is not None
    assert sum(row.count for row in batch.routes) == 5
    telling.collect()
    assert telling.spool.next() is None


def test_many_turns_do_not_pile_up() -> None:
    """Edits by the hundred: rows of the same route, method and status wait as one."""
    traffic = Traffic()
    telling = reporter(traffic)
    for revision in range(300):
        traffic.route("r").record("GET", 200, 1.0, 2, 3)
        telling.turn(revision)
    telling.collect()
    batch = telling.spool.next()
    assert batch is not None
    [row] = batch.routes
    assert (row.count, row.request_bytes, row.response_bytes, sum(row.latency.count)) == (300, 600, 900, 300)


def test_a_new_beginning_counts_from_nothing() -> None:
    """Totals are since the revision."""
    figures = Figures()
    figures.begin(9)
    assert (figures.message().revision, figures.message().requests) == (9, 0)
