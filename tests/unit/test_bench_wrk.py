"""What the benchmark sends with wrk, and what it reads from it."""

from __future__ import annotations

import pytest

from tests.bench import wrk
from tests.bench.invalid import InvalidRunError
from tests.bench.load import Load

OUTPUT = """Running 4s test @ http://127.0.0.1:1/bench/small
  1 threads and 32 connections
  Latency     1.01ms  100.00us   5.00ms   90.00%
bench-result {"requests":100,"duration_us":2000000,"bytes":12300,"p50_us":1010,"p99_us":4500,\
"errors":{"connect":0,"read":0,"write":0,"timeout":0,"status":0}}
"""


def test_result_is_read_from_among_the_text() -> None:
    """Counts come exact from the line the script wrote; times are converted to seconds and milliseconds."""
    count = wrk.parse(OUTPUT)
    assert (count.requests, count.seconds, count.bytes, count.p50_ms, count.p99_ms) == (100, 2.0, 12300, 1.01, 4.5)
    assert wrk.faults(count) == []


def test_output_without_a_result_is_invalid() -> None:
    """A wrk that could not connect prints a sentence; the sentence becomes the reason."""
    with pytest.raises(InvalidRunError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")
    with pytest.raises(InvalidRunError, match="no output"):
        wrk.parse("")


@pytest.mark.parametrize("kind", ["connect", "read", "write", "timeout", "status"])
def test_any_error_makes_a_run_worthless(kind: str) -> None:
    """Every kind of error that wrk counts is named with its number."""
    count = wrk.parse(OUTPUT.replace(f'"{kind}":0', f'"{kind}":7'))
    assert wrk.faults(count) == [f"7 {kind} errors"]


def test_a_run_without_answers_is_worthless() -> None:
    """No errors and no answers is not a success."""
    assert wrk.faults(wrk.parse(OUTPUT.replace('"requests":100', '"requests":0'))) == ["no request was answered"]


def test_script_sends_key_method_and_body() -> None:
    """The key goes with every load, a body only where the load has one."""
    get, post = wrk.script(Load("/x")), wrk.script(Load("/x", "POST", 1024))
    assert 'wrk.method = "GET"' in get
    assert "wrk.body" not in get
    assert 'wrk.headers["X-API-Key"] = "bench-key"' in get
    assert 'wrk.method = "POST"' in post
    assert 'string.rep("b", 1024)' in post


def test_script_hands_out_tokens() -> None:
    """One goes with every request, several take turns."""
    one, some = (wrk.script(Load("/x", bearers=tokens)) for tokens in (("a.b.c",), ("a.b.c", "d.e.f")))
    assert 'wrk.headers["Authorization"] = "Bearer a.b.c"' in one
    assert "request = " not in one
    assert "local tokens = {'a.b.c', 'd.e.f'}" in some
    assert "request = " in some
