"""The log of a process is written in the background: a reader that stops costs lines, which are counted, no time."""

from __future__ import annotations

import json
import logging
import os

from shared.log import Background, JsonLines


def line(number: int) -> logging.LogRecord:
    return logging.LogRecord("flexgate", logging.INFO, __file__, 1, f"line {number}", None, None)


def test_lines_that_nobody_reads_are_lost_and_counted() -> None:
    """A pipe holds some, a bounded number waits, the rest is lost; what is read later is in order and whole."""
    output, into = os.pipe()
    log = Background(into)
    for number in range(30_000):
        log.emit(line(number))
    assert 0 < log.lost <= 20_000
    kept = 30_000 - log.lost
    with os.fdopen(output, "rb") as lines:
        numbers = [int(lines.readline().removeprefix(b"line ")) for _ in range(kept)]
        log.close()
    os.close(into)
    assert numbers == sorted(set(numbers))


def test_a_reader_that_is_gone_ends_nothing() -> None:
    """Lines for a closed pipe are dropped."""
    output, into = os.pipe()
    os.close(output)
    log = Background(into)
    log.emit(line(1))
    log.close()
    os.close(into)


def test_times_are_those_of_the_request_log() -> None:
    """Both logs of a process sort and parse alike: UTC, milliseconds, Z."""
    record = line(1)
    record.created = 784111777.25
    assert json.loads(JsonLines("x").format(record))["timestamp"] == "1994-11-06T08:49:37.250Z"
