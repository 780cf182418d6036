"""Thousands of routes: the checks stay linear, whatever is wrong with them."""

from __future__ import annotations

import time

import pytest

from shared.check import check
from shared.pb.resources_pb2 import Config, Route, Upstream


def cost(config: Config) -> float:
    """CPU seconds of the quickest of three checks."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        check(config)
        spent.append(time.process_time() - start)
    return min(spent)


def of(count: int, path: str, upstream: str) -> Config:
    """A configuration of `count` routes with numbered paths."""
    routes = [
        Route(name=f"r{i}", path=path.format(i), upstream=upstream, hosts=["a.com", "*.b.com"]) for i in range(count)
    ]
    return Config(upstreams=[Upstream(name=f"u{i}", url=f"http://u{i}") for i in range(count)], routes=routes)


@pytest.mark.parametrize(
    ("path", "upstream"),
    [("/svc{}/:id/*", "u1"), ("/same/:id", "u1"), ("/svc{}/*", "missing"), ("/svc{}/../*", "u1")],
    ids=["good", "all in conflict", "no such upstream", "bad paths"],
)
def test_four_times_the_routes_cost_about_four_times(path: str, upstream: str) -> None:
    """Twice the proportional cost is allowed for noise; comparing pairs would cost sixteen times."""
    assert cost(of(4_000, path, upstream)) < 8 * cost(of(1_000, path, upstream))


def test_every_conflict_among_many_is_told_once() -> None:
    """Each later route is told about the first one."""
    config = of(1_000, "/same/:id", "u1")
    assert len([fault for fault in check(config) if fault.code == "conflict"]) == 999
