"""The worker's gate: priorities, stages, memory, counts and events, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from dataplane.errors import Overloaded
from dataplane.exchange import Exchange
from dataplane.finish import finish
from dataplane.overload.memory import Watermark
from tests.unit.engine_bench import Bench, bench, routed


class Lines:
    """Takes the lines of the request log."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.lost = 0

    def put(self, line: bytes) -> None:
        self.lines.append(line)


@pytest.fixture
def worker() -> Iterator[Bench]:
    """A worker that serves nothing yet."""
    with bench() as made:
        yield made


PRIORITIES = [
    {"name": "critical", "weight": 100, "routes": ["/pay"]},
    {"name": "batch", "weight": 1, "routes": ["nightly"]},
    {"name": "default", "weight": 10},
]
ROUTES = [
    {"path": "/*", "upstream": "origin"},
    {"path": "/pay", "upstream": "origin"},
    {"name": "nightly", "path": "/batch/*", "upstream": "origin"},
]


def limited(**backpressure: Any) -> dict[str, Any]:
    return {"routes": ROUTES, "priorities": PRIORITIES, "backpressure": backpressure}


def come(worker: Bench, path: str = "/", *, consumer: str | None = None, body: bool = False) -> Exchange:
    """A request at the last filter of its route; its waiter tells whether it waits. Raises Overloaded."""
    assert worker.compiled is not None
    x = worker.exchange(path=path)
    x.begun, x.runtime, x.consumer = True, worker.compiled.runtime, consumer
    worker.traffic.in_flight += 1
    if body:
        from dataplane.http1.body import Body

        x.body = Body(x.connection, 100)
    found = worker.compiled.runtime.router.match(path, "x", "GET", (), None)
    x.route = found.target  # type: ignore[union-attr]  # every path has a route
    x.status = 200
    x.route.filters[-1](x)
    return x


def end(worker: Bench, x: Exchange, lines: Lines | None = None) -> None:
    finish(x, worker.traffic, worker.live.events, lines or Lines())  # type: ignore[arg-type]  # all that finish asks of it


def place(x: Exchange) -> str:
    """What the request was told so far."""
    if x.shedding_waiter is None:
        return "in"
    future: asyncio.Future[None] = x.shedding_waiter.future
    if not future.done():
        return "waits"
    return "shed" if future.exception() else "in"


def test_the_heavier_waits_less(worker: Bench) -> None:
    """A place that comes free goes to the heaviest that waits, whenever it came."""
    worker.serve(limited(maxConcurrent=1))
    first, batch, other, pay = [come(worker, path) for path in ("/", "/batch/x", "/", "/pay")]
    order = []
    for leaving in (first, pay, other):
        end(worker, leaving)
        order.append([place(x) for x in (batch, other, pay)])
    assert order == [["waits", "waits", "in"], ["waits", "in", "in"], ["in", "in", "in"]]


def test_a_consumer_has_the_last_word(worker: Bench) -> None:
    """The consumer's priority counts where it has one, in either direction; else the route's."""
    consumers = [{"name": "vip", "priority": "critical"}, {"name": "robot", "priority": "batch"}, {"name": "plain"}]
    worker.serve({**limited(maxConcurrent=1), "consumers": consumers})
    come(worker)
    waiting = [
        come(worker, path, consumer=who)
        for path, who in (("/batch/x", "vip"), ("/pay", "robot"), ("/pay", "plain"), ("/", "unknown"))
    ]
    assert [x.shedding_waiter.name for x in waiting if x.shedding_waiter] == [
        "critical",
        "batch",
        "critical",
        "default",
    ]


def test_without_backpressure_there_is_no_step(worker: Bench) -> None:
    """Off, by absence or by word, it costs nothing; priorities alone do nothing."""
    for document in (
        routed(),
        routed() | {"backpressure": {"enabled": False}},
        routed() | {"priorities": PRIORITIES[2:]},
    ):
        steps = [route.steps for route in worker.serve(document).runtime.routes.values()]
        assert steps == [()]
    assert worker.serve(routed() | {"backpressure": {}}).runtime.routes["/*"].steps == ("backpressure",)


def test_what_is_refused_is_answered_503_and_counted(worker: Bench) -> None:
    """With Retry-After of the queue's timeout, by the name of the priority; at once, or when the time has come."""
    worker.serve(limited(maxConcurrent=1, maxQueueSize=2, queueTimeout=3000))
    come(worker)
    waiting = [come(worker), come(worker, "/batch/x")]
    with pytest.raises(Overloaded) as full:
        come(worker, "/batch/y")
    assert (full.value.status, full.value.kind, full.value.retry_after) == (503, "overloaded", 3)
    paying = come(worker, "/pay")
    assert [place(x) for x in (*waiting, paying)] == ["waits", "shed", "waits"]
    worker.now = 3.0
    worker.live.sweep()
    assert [place(x) for x in (*waiting, paying)] == ["shed", "shed", "shed"]
    assert worker.live.shedding.shed == {"batch": 2, "default": 1, "critical": 1}
    assert worker.live.events.counts["request.shed"] == 3  # each priority at most every ten seconds


def test_a_place_is_given_back_once(worker: Bench) -> None:
    """By what finishes, waits, was refused: in the end nobody is inside and nobody waits."""
    worker.serve(limited(maxConcurrent=1, maxQueueSize=1))
    inside, waiting = come(worker), come(worker)
    pay = come(worker, "/pay")
    for x in (waiting, pay, inside):
        end(worker, x)
    shedding = worker.live.shedding
    assert (shedding.inside, shedding.waiting, worker.traffic.in_flight) == (0, 0, 0)


def test_an_edit_keeps_who_is_there(worker: Bench) -> None:
    """A new limit counts those inside already; a higher one, or none, lets those in who wait."""
    worker.serve(limited(maxConcurrent=1))
    xs = [come(worker) for _ in range(4)]
    worker.serve(limited(maxConcurrent=2))
    assert [place(x) for x in xs] == ["in", "in", "waits", "waits"]
    worker.serve({"routes": ROUTES})
    assert [place(x) for x in xs] == ["in"] * 4
    for x in xs:
        end(worker, x)
    assert worker.live.shedding.inside == 0


STAGES = [
    {"queueSize": 1, "action": "disable_logging"},
    {"queueSize": 2, "action": "sample_metrics"},
    {"queueSize": 3, "action": "reject_low_priority"},
    {"queueSize": 4, "action": "reject_low_priority"},
    {"queueSize": 5, "action": "reject_all"},
]


def test_stages_shed_from_below(worker: Bench) -> None:
    """Each reject_low_priority refuses one more class, never the highest; reject_all refuses even that."""
    worker.serve(limited(maxConcurrent=1, thresholds=STAGES))
    come(worker)
    bars = [worker.live.shedding.bar]
    for _ in STAGES:
        come(worker, "/pay")
        bars.append(worker.live.shedding.bar)
    assert bars[:5] == [0, 0, 0, 10, 100]
    with pytest.raises(Overloaded) as refused:
        come(worker, "/pay")
    assert refused.value.detail == "priority critical: the worker is under strain"


def test_stages_quieten_the_log_and_sample_histograms(worker: Bench) -> None:
    """Successes are not logged, errors are; one request in ten is in the histogram, for ten; counts stay exact."""
    document = limited(maxConcurrent=1, thresholds=STAGES[:2])
    worker.serve({**document, "logging": {"sampling": {"successRate": 1}}})
    inside, *waiting = [come(worker) for _ in range(4)]
    assert inside.route is not None
    lines, counts = Lines(), inside.route.traffic
    end(worker, inside, lines)
    failed = come(worker)
    failed.status = 500
    end(worker, failed, lines)
    assert len(lines.lines) == 1
    for _ in range(20):
        counts.record("GET", 200, 7.0, 0, 0)
    cell = next(cell for cell in counts if cell.key[2] == 200)
    assert (cell.count, sum(cell.buckets.values())) == (21, 20)
    for x in waiting:
        end(worker, x, lines)
    before = len(lines.lines)
    end(worker, come(worker), lines)
    assert len(lines.lines) == before + 1
    assert worker.traffic.histogram_every == 1


def test_stages_are_told(worker: Bench) -> None:
    """Each begins and ends with an event, not more often than once a second."""
    worker.serve(limited(maxConcurrent=1, thresholds=STAGES[:1]))
    come(worker)
    for _ in range(3):
        end(worker, come(worker))
    worker.live.sweep()
    worker.now = 2.0
    worker.live.sweep()
    told = [(event.name, event.data["action"]) for event in worker.live.events.recent]
    assert told == [("overload.began", "disable_logging"), ("overload.ended", "disable_logging")]


@pytest.mark.parametrize("after", [None, {"maxConcurrent": 1, "thresholds": STAGES[1:2]}])
def test_a_stage_that_an_edit_takes_away_has_ended(worker: Bench, after: dict[str, Any] | None) -> None:
    """Whoever reads the events is not left with one that began; those of other thresholds are told apart from it."""
    worker.serve(limited(maxConcurrent=1, thresholds=STAGES[:1]))
    come(worker)
    come(worker)
    worker.live.sweep()
    worker.serve(limited(**after) if after is not None else {"routes": ROUTES})
    worker.now = 2.0
    worker.live.sweep()
    told = [(event.name, event.data["action"]) for event in worker.live.events.recent if "overload" in event.name]
    assert told == [("overload.began", "disable_logging"), ("overload.ended", "disable_logging")]


def test_an_adaptive_limit_that_is_switched_on_begins_with_what_there_is(worker: Bench) -> None:
    """Under load an edit to `adaptive` does not make those wait for whom there was room."""
    worker.serve(limited(maxConcurrent=100))
    for _ in range(40):
        come(worker)
    worker.serve(limited(maxConcurrent=100, adaptive=True))
    assert worker.live.shedding.limit == 40
    worker.serve(limited(maxConcurrent=30, adaptive=True))
    assert worker.live.shedding.limit == 30


def test_short_memory_sheds_then_stops_accepting(worker: Bench) -> None:
    """Above 80 %: the lowest priority and bodies that are still to come. Above 95 %: connections, too. And back."""
    used = 0
    shedding = worker.live.shedding
    shedding.memory = Watermark(1000, lambda: used)
    worker.serve({"routes": ROUTES, "priorities": PRIORITIES})

    def look(bytes_used: int) -> tuple[bool, bool, bool, bool]:
        nonlocal used
        used = bytes_used
        worker.now += 2.0
        worker.live.sweep()
        return served("/batch/x"), served("/"), served("/", body=True), shedding.may_accept()

    def served(path: str, *, body: bool = False) -> bool:
        try:
            end(worker, come(worker, path, body=body))
        except Overloaded:
            return False
        return True

    assert look(700) == (True, True, True, True)
    assert look(800) == (False, True, False, True)
    assert look(950) == (False, True, False, False)
    assert look(910) == (False, True, False, False)  # not before it is well below
    assert look(890) == (False, True, False, True)
    assert look(760) == (False, True, False, True)
    assert look(740) == (True, True, True, True)


def test_the_adaptive_limit_learns_from_upstreams(worker: Bench) -> None:
    """It begins low, doubles while answers stay quick, and never passes maxConcurrent."""
    worker.serve(limited(maxConcurrent=12, adaptive=True))
    limits = []
    for _ in range(4):
        xs = [come(worker) for _ in range(20)]
        for x in xs:
            x.upstream_status, x.upstream_ms = 200, 5.0
            end(worker, x)
        worker.now += 0.1
        limits.append(worker.live.shedding.limit)
        worker.live.sweep()
    assert limits == [4, 8, 12, 12]
    worker.serve(limited(maxConcurrent=6, adaptive=True))
    assert worker.live.shedding.limit == 6
