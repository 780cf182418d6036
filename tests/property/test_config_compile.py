"""What the checks accept, the data plane can compile: a configuration is never refused by the nodes alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from dataplane.compile import compile_table
from dataplane.http1.deadlines import Deadlines
from dataplane.live import Live
from dataplane.metrics import Traffic
from shared.document import read
from shared.table import table_of
from shared.yaml_dump import dump
from tests.property.config_documents import Json, documents


@pytest.fixture
def live() -> Iterator[Live]:
    """Live state on a loop that does not run: compiling does no I/O."""
    loop = asyncio.new_event_loop()
    yield Live(loop, Deadlines(loop.time), Traffic())
    loop.close()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(documents())
def test_what_is_accepted_compiles(live: Live, document: Json) -> None:
    """Every route that is enabled is there, and all upstreams."""
    for upstream in document["upstreams"]:
        upstream.get("tls", {}).pop("ca", None)  # files are the node's own matter
    config = read(dump(document)).config
    runtime = compile_table(table_of(config), 1, None, live).runtime
    enabled = {route.name for route in config.routes if route.enabled or not route.HasField("enabled")}
    assert set(runtime.routes) == enabled
    assert set(runtime.upstreams) == {upstream.name for upstream in config.upstreams}
