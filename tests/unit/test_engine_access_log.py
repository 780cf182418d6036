"""The request log: which requests get a line, what stands in it, and a writer that never makes anyone wait."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.access_log import REDACTED, LogWriter, line_of, redacted, wanted
from dataplane.errors import NoRoute, Unauthorized
from dataplane.runtime import LogPolicy
from tests.support.deadline import DEADLINE
from tests.unit.engine_bench import Bench, bench, routed

MOST_GATHERED = 10_000
KEY = sha256(b"s3cret").hexdigest()


@pytest.fixture
def worker() -> Iterator[Bench]:
    """A worker that serves nothing yet."""
    with bench() as made:
        yield made


def record(worker: Bench, *fields: tuple[str, str], status: int = 200, **request: Any) -> dict[str, Any]:
    """The line of a filtered request, parsed."""
    x = worker.filter(*fields, **request)
    x.status = status
    assert worker.compiled is not None
    found: dict[str, Any] = json.loads(line_of(x, worker.compiled.runtime.log, 1.23456, 7))
    return found


# ---- sampling


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize(
    ("status", "ms", "rate"),
    [(200, 1.0, 0.1), (304, 1.0, 0.1), (200, 500.0, 0.6), (404, 1.0, 0.6), (499, 1.0, 0.6), (503, 1.0, 0.6)],
)
def test_each_kind_has_its_rate(level: str, status: int, ms: float, rate: float) -> None:
    """Successes by theirs; errors, and what took as long as `slowMs`, by that of errors."""
    policy = LogPolicy(level, success_rate=0.1, error_rate=0.6, slow_ms=500.0)
    assert wanted(policy, status, ms, lambda: rate - 0.001)
    assert not wanted(policy, status, ms, lambda: rate)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, False), (1.0, True)])
def test_none_and_all_are_exact(rate: float, expected: bool) -> None:
    """A rate of 1 misses nothing and 0 writes nothing, whatever the die says."""
    policy = LogPolicy(success_rate=rate, error_rate=rate)
    dice = iter((0.0, 1.0 - 2**-53) * 2)
    for status in (200, 200, 500, 500):
        assert wanted(policy, status, 1.0, lambda: next(dice)) is expected


@pytest.mark.parametrize(("level", "statuses"), [("info", [200, 404, 500]), ("warn", [404, 500]), ("error", [500])])
def test_a_level_cuts_off_what_is_below(level: str, statuses: list[int]) -> None:
    """Successes are info, 4xx are warnings, 5xx are errors."""
    policy = LogPolicy(level, success_rate=1.0)
    assert [status for status in (200, 404, 500) if wanted(policy, status, 1.0, lambda: 0.0)] == statuses


# ---- the line


def test_a_line_has_the_shape_of_the_contract(worker: Bench) -> None:
    """Every field of a forwarded success."""
    worker.serve(routed(name="r"))
    x = worker.filter(("User-Agent", "test/1"), path="/a", query="b=c", method="POST")
    x.status = x.upstream_status = 201
    x.upstream_host, x.upstream_ms, x.attempts = "127.0.0.1:9", 1.23456, 2
    line = line_of(x, LogPolicy(), 2.34567, 7)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "level": "info",
        "correlationId": "req-1",
        "service": "flexgate-dataplane",
        "event": "request.completed",
        "http": {
            "method": "POST",
            "path": "/a?b=c",
            "statusCode": 201,
            "clientIp": "203.0.113.9",
            "userAgent": "test/1",
        },
        "duration": 2.346,
        "metadata": {"route": "r", "consumer": None, "configVersion": 7},
        "upstream": {"host": "127.0.0.1:9", "duration": 1.235, "statusCode": 201, "attempts": 2},
    }


def test_an_error_tells_its_kind_and_its_detail(worker: Bench) -> None:
    """What the client is not told stands here; a request without a route has none."""
    x = worker.exchange(path="/x")
    x.status, x.error = 404, NoRoute(detail="nothing below /x")
    found = json.loads(line_of(x, LogPolicy(), 1.0, 0))
    assert found["error"] == {"kind": "no_route", "source": "downstream", "message": "nothing below /x"}
    assert (found["level"], found["metadata"]["route"]) == ("warn", None)
    assert "upstream" not in found


def test_a_broken_target_is_still_told(worker: Bench) -> None:
    """Bounded, without its query, even where it is no text."""
    x = worker.exchange()
    x.path, x.raw_target, x.status = "", b"/\xff" + b"a" * 100_000 + b"?key=s3cret", 400
    path = json.loads(line_of(x, LogPolicy(), 1.0, 0))["http"]["path"]
    assert path.startswith("/ÿa")
    assert len(path) <= 2048
    assert "s3cret" not in path


def test_the_text_format_is_one_line(worker: Bench) -> None:
    """The same words, for people."""
    worker.serve(routed(name="r") | {"logging": {"format": "text"}})
    x = worker.filter(path="/a", query="b=c")
    assert worker.compiled is not None
    x.status, x.error = 401, Unauthorized()
    text = line_of(x, worker.compiled.runtime.log, 2.5, 1).decode()
    stamp, _, rest = text.partition(" ")
    assert stamp.endswith("Z")
    assert rest == (
        "warn 203.0.113.9 GET /a?b=c 401 2.5ms id=req-1 route=r upstream=-"
        " error=unauthorized: Authentication is required\n"
    )


# ---- what is never in it


def test_named_parameters_are_redacted(worker: Bench) -> None:
    """`logging.redact`, in any case, encoded or not, however often; the rest of the query stays."""
    worker.serve(routed() | {"logging": {"redact": ["Token"]}})
    found = record(worker, query="a=1&token=s3cret&TOKEN=s3cret&t%6fken=s3cret&token&b=2")
    assert found["http"]["path"] == f"/?a=1&token={REDACTED}&TOKEN={REDACTED}&t%6fken={REDACTED}&token&b=2"


@pytest.mark.parametrize("hide", [True, False])
def test_keys_in_the_query_are_redacted(worker: Bench, hide: bool) -> None:
    """The parameter of `security.auth` everywhere, that of a route's own `auth` on its route."""
    keys = [{"key": KEY, "name": "A"}]
    own = {"type": "apiKey", "query": "Own", "keys": keys, "hideCredentials": hide}
    shared = {"type": "apiKey", "query": "shared", "keys": keys, "hideCredentials": hide}
    routes = [
        {"path": "/own", "upstream": "origin", "auth": own},
        {"path": "/shared", "upstream": "origin", "auth": "required"},
        {"path": "/open", "upstream": "origin"},
    ]
    worker.serve({"routes": routes, "security": {"auth": shared}})
    for path, query in (("/own", "Own=s3cret"), ("/shared", "shared=s3cret"), ("/open", "shared=s3cret")):
        assert "s3cret" not in json.dumps(record(worker, path=path, query=query))


SECRET_FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["Authorization", "Cookie", "X-API-Key", "Proxy-Authorization", "X-Any", "Referer"]),
        st.just("Bearer s3cret"),
    ),
    max_size=5,
)


@given(SECRET_FIELDS, st.booleans())
def test_no_header_but_the_agent_is_logged(fields: list[tuple[str, str]], as_json: bool) -> None:
    """Whatever a client sends in headers, its values stay out of the log."""
    with bench() as worker:
        worker.serve(routed() | {"logging": {"format": "json" if as_json else "text"}})
        assert worker.compiled is not None
        x = worker.filter(*fields)
        assert b"s3cret" not in line_of(x, worker.compiled.runtime.log, 1.0, 1)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40), st.sets(st.sampled_from("abAB%")))
def test_redaction_keeps_everything_else(query: str, names: set[str]) -> None:
    """Parts of other names are untouched, and no part appears or goes."""
    before, after = query.split("&"), redacted(query, names).split("&")
    assert len(after) == len(before)
    assert all(
        new == old or new == f"{old.partition('=')[0]}={REDACTED}" for old, new in zip(before, after, strict=True)
    )


# ---- the writer


def test_lines_are_written_whole_and_in_order() -> None:
    """In batches, all of them by the time it is closed."""
    out = io.BytesIO()
    writer = LogWriter(out)
    writer.start()
    lines = [b"line %d\n" % number for number in range(1000)]
    for number, line in enumerate(lines):
        writer.put(line)
        if number % 7 == 0:
            writer.flush()
    writer.close()
    assert out.getvalue() == b"".join(lines)
    assert writer.lost == 0


def test_a_reader_that_stops_costs_lines_and_counts_them() -> None:
    """A full pipe blocks the writer's thread only; each line either arrives whole or is counted as lost."""
    reading, writing = os.pipe()
    out = os.fdopen(writing, "wb")
    writer = LogWriter(out)
    writer.start()
    line = b"x" * 99 + b"\n"
    total = 5 * MOST_GATHERED
    for number in range(total):
        writer.put(line)  # returns, though nobody reads
        if number % 100 == 0:
            writer.flush()
    assert 0 < writer.lost < total
    with os.fdopen(reading, "rb") as reader, ThreadPoolExecutor() as threads:
        arriving = threads.submit(reader.read)
        writer.close()
        out.close()
        got = arriving.result(DEADLINE)
    assert got == line * (total - writer.lost)


def test_an_output_that_is_gone_costs_lines_not_the_process() -> None:
    """A reader that left: every line is counted as lost, and closing does not hang."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as out:
        writer = LogWriter(out)
        writer.start()
        for _ in range(10):
            writer.put(b"line\n")
        writer.close()
        assert writer.lost == 10
