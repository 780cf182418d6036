"""The script that Redis runs, in a real one, against the algorithms in memory: the same answers at every moment.

Redis' clock is the only thing that is not its own here: the script takes the time from the test.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.limits.algorithms import ALGORITHMS
from dataplane.limits.asking import Ask, Batch, Group
from dataplane.limits.counts import Counts
from dataplane.limits.rule import Rule
from dataplane.limits.store import SCRIPT
from tests.support.redis import running_redis

TIMED = SCRIPT.replace(b'redis.call("TIME")', b"cjson.decode(ARGV[2])")
CODES = {"token-bucket": 0, "fixed-window": 1, "sliding-window": 2}
EPOCH = 1_900_000_000.0
NAMES = count()
LIMITS = st.integers(1, 12)
WINDOWS = st.sampled_from([1.0, 60.0, 3600.0])
STEPS = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from([0.0, 0.0, 0.125, 0.5, 7.0, 30.0, 61.0, 3700.0])),
    min_size=1,
    max_size=30,
)


class Scripted:
    """A connection on which the script runs at times that the test says."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._reader = self._connection.makefile("rb")

    def run(self, now: float, *groups: Group) -> list[Any]:
        """The script's numbers for these groups."""
        words = Batch(list(groups), 0.0).words(b"EVAL", TIMED)
        head = self.call(*words, orjson.dumps([str(int(now)), str(now % 1 * 1e6)]))
        assert head[:1] == b"$", head
        reply = self._reader.read(int(head[1:]) + 2)
        numbers: list[Any] = orjson.loads(reply)
        return numbers

    def call(self, *words: bytes) -> bytes:
        """The first line of Redis' reply."""
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        self._connection.sendall(b"*%d\r\n" % len(parts) + b"".join(parts))
        return self._reader.readline()

    def close(self) -> None:
        self._reader.close()
        self._connection.close()


@pytest.fixture(scope="module")
def redis() -> Iterator[Scripted]:
    """One Redis for all examples; each has keys of its own."""
    with asyncio.Runner() as runner:
        context = running_redis()
        server = runner.run(context.__aenter__())
        scripted = Scripted(server.port)
        try:
            yield scripted
        finally:
            scripted.close()
            runner.run(context.__aexit__(None, None, None))


def grouped(rules: dict[str, Rule], requests: int, granting: list[str], counting: list[str]) -> Group:
    """So many requests of these keys."""
    listed = [(CODES[r.algorithm], r.limit, r.window, r.burst) for r in (rules[key] for key in granting + counting)]
    group = Group(granting, counting, listed)
    group.add(Ask(), requests)
    return group


def granted(counts: Counts, now: float, requests: int) -> int:
    """How many of so many the algorithm in memory grants."""
    return sum(counts.take("key", now) >= 0.0 for _ in range(requests))


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@settings(max_examples=60, deadline=None)
@given(limit=LIMITS, window=WINDOWS, burst=LIMITS, steps=STEPS)
def test_the_script_grants_what_the_algorithm_grants(
    redis: Scripted, algorithm: str, limit: int, window: float, burst: int, steps: list[tuple[int, float]]
) -> None:
    """Of any requests at any times; what is left, how long to wait and until when are the same."""
    rule = Rule(limit, window, burst if algorithm == "token-bucket" else limit, algorithm)
    key, now = f"one {next(NAMES)}", EPOCH
    counts = ALGORITHMS[algorithm](rule, 0.0)
    for requests, pause in steps:
        now += pause
        expected = granted(counts, now, requests)
        got, left, wait, reset = redis.run(now, grouped({key: rule}, requests, [key], []))
        assert got == expected
        answer = counts.take("key", now)  # looks, and gives back what it took
        if answer >= 0.0:
            counts.give_back("key")
            assert (left, wait) == (pytest.approx(answer + 1.0, abs=1e-4), 0)
        else:
            assert wait == pytest.approx(-answer, rel=1e-4, abs=1e-4)
        assert reset == pytest.approx(counts.reset(max(0.0, left), now), rel=1e-4, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    limits=st.lists(st.tuples(st.sampled_from(sorted(ALGORITHMS)), LIMITS), min_size=1, max_size=3),
    shadows=st.lists(LIMITS, max_size=2),
    asked=st.lists(st.integers(1, 6), min_size=1, max_size=6),
)
def test_what_one_refuses_costs_the_others_nothing(
    redis: Scripted, limits: list[tuple[str, int]], shadows: list[int], asked: list[int]
) -> None:
    """All keys of a group grant together, also within one call; a shadow counts what it would have refused."""
    name = next(NAMES)
    rules = {f"{name} {n}": Rule(most, 3600.0, most, algorithm) for n, (algorithm, most) in enumerate(limits)}
    counting = {f"{name} shadow {n}": Rule(most, 3600.0, most) for n, most in enumerate(shadows)}
    groups = [grouped(rules | counting, requests, list(rules), list(counting)) for requests in asked]
    numbers = iter(redis.run(EPOCH, *groups))
    room = min(most for _, most in limits)
    dark = list(shadows)
    for requests in asked:
        expected = min(requests, room)
        room -= expected
        assert next(numbers) == expected
        for rule in rules.values():
            taken = min(most for _, most in limits) - room
            assert next(numbers) == rule.limit - taken
            next(numbers), next(numbers)
        for index, left in enumerate(dark):
            fitting = min(expected, left)
            dark[index] -= fitting
            assert next(numbers) == expected - fitting
    assert next(numbers, None) is None


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("back", [0.5, 61.0, 86_400.0])
def test_a_clock_that_is_put_back_locks_nobody_out(redis: Scripted, algorithm: str, back: float) -> None:
    """By NTP, or a failover to a Redis whose clock is behind: no wait is longer than two windows."""
    rule = Rule(5, 60.0, 5, algorithm)
    key = f"back {next(NAMES)}"
    assert redis.run(EPOCH, grouped({key: rule}, 9, [key], []))[0] == 5
    now = EPOCH - back
    got, _, wait, reset = redis.run(now, grouped({key: rule}, 1, [key], []))
    assert got == 0
    assert 0.0 < wait <= 120.0
    assert reset <= 180.0
    assert redis.run(now + wait + 0.001, grouped({key: rule}, 1, [key], []))[0] == 1


@pytest.mark.parametrize("kept", [("SET", b"x"), ("SET", b"x" * 40), ("SET", b""), ("RPUSH", b"x")])
def test_what_somebody_else_wrote_is_no_count(redis: Scripted, kept: tuple[str, bytes]) -> None:
    """A key that another program has put there, or a version that packs otherwise: it begins anew, alone."""
    rules = {f"foreign {next(NAMES)}": Rule(5, 60.0, 5), f"own {next(NAMES)}": Rule(5, 60.0, 5)}
    foreign, own = rules
    word, value = kept
    redis.call(word.encode(), foreign.encode(), value)
    both = [grouped(rules, 3, [key], []) for key in (foreign, own)]
    numbers = redis.run(EPOCH, *both)
    assert (numbers[0], numbers[4]) == (3, 3)
    assert redis.run(EPOCH, grouped(rules, 3, [foreign], []))[0] == 2
