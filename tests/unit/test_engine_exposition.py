"""What a scrape of /metrics shows of a node: the names of the contract, and label values that cannot break the text."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataplane.access_log import LogWriter
from dataplane.errors import ConnectFailed
from dataplane.exposition import exposition
from dataplane.node import Node
from tests.unit.engine_bench import bench, routed, tabled

Rows = dict[tuple[str, frozenset[tuple[str, str]]], float]

# CONTRACT section 5, as far as this version has it.
NAMES = [
    "http_requests_total",
    "http_request_duration_ms_bucket",
    "http_requests_in_flight",
    "http_request_size_bytes_sum",
    "http_response_size_bytes_sum",
    "upstream_requests_total",
    "upstream_request_duration_ms_bucket",
    "upstream_errors_total",
    "upstream_connections",
    "rate_limit_exceeded_total",
    "retry_attempts_total",
    "auth_failures_total",
    "config_revision",
    "config_age_seconds",
    "config_apply_failures_total",
    "drift_detected_total",
    "report_records_lost_total",
    "event_loop_lag_ms",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
]


@pytest.fixture
def node() -> Iterator[Node]:
    """A node that has no socket and does not run."""
    with bench() as worker:
        yield Node(worker.live.loop, LogWriter(io.BytesIO()))


def scraped(node: Node) -> Rows:
    """Every sample of a scrape, by name and labels."""
    families = text_string_to_metric_families(exposition(node).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_every_metric_of_the_contract_is_there(node: Node) -> None:
    """Under its exact name, once something happened."""
    node.apply(tabled(routed()), 3)
    node.traffic.route("/*").record("GET", 200, 1.0, 2, 3)
    node.traffic.route("/*").limited += 1
    node.traffic.upstream("origin").failed(ConnectFailed())
    node.traffic.upstream("origin").answered(1.0)
    node.traffic.auth_failed("missing")
    rows = scraped(node)
    assert set(NAMES) <= {name for name, _ in rows}
    assert rows["config_revision", frozenset()] == 3
    assert rows["upstream_errors_total", frozenset({("upstream", "origin"), ("error", "connect")})] == 1
    assert rows["upstream_requests_total", frozenset({("upstream", "origin")})] == 2


def test_sizes_add_up_over_statuses(node: Node) -> None:
    """One summary for each route and method."""
    route = node.traffic.route("r")
    route.record("GET", 200, 1.0, 10, 100)
    route.record("GET", 500, 1.0, 1, 1000)
    route.record("POST", 200, 1.0, 7, 7)
    rows = scraped(node)
    labels = frozenset({("route", "r"), ("method", "GET")})
    assert rows["http_request_size_bytes_sum", labels] == 11
    assert rows["http_response_size_bytes_sum", labels] == 1100
    assert rows["http_request_size_bytes_count", labels] == 2


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "é", "a{b}", "/x/*"])
def test_any_route_name_can_be_scraped(node: Node, name: str) -> None:
    """Quotes, backslashes and line ends are escaped, so one odd name does not cost the whole scrape."""
    node.traffic.route(name).record("GET", 200, 1.0, 0, 0)
    labels = frozenset({("method", "GET"), ("route", name), ("status", "200")})
    assert scraped(node)["http_requests_total", labels] == 1


def test_a_node_without_a_configuration_can_be_scraped(node: Node) -> None:
    """Before the first revision, too."""
    rows = scraped(node)
    assert rows["config_revision", frozenset()] == 0
    assert rows["http_requests_in_flight", frozenset()] == 0
