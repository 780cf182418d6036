"""Retries of what could not be sent, where an upstream has several endpoints: who is tried, and what is counted."""

from __future__ import annotations

from tests.support.client import get
from tests.support.gateway import document, running_gateway


async def test_a_retry_that_the_budget_refuses_is_counted_once() -> None:
    """Also where it would have gone to another endpoint at once."""
    upstream = {
        "url": "",
        "endpoints": [{"url": "http://127.0.0.1:1"}, {"url": "http://127.0.0.2:1"}],
        "retry": {"budget": {"percent": 0, "minPerSecond": 0}},
    }
    async with running_gateway(document("", upstream=upstream)) as gateway:
        assert (await gateway.ask(get())).status == 502
        metrics = await gateway.metrics()
        assert metrics.value("retry_budget_exhausted_total", upstream="origin") == 1


async def test_an_endpoint_that_may_not_be_used_is_no_other_to_try() -> None:
    """The one that is left speaks for the upstream: its failure opens the breaker, and is not repeated at once."""
    upstream = {
        "url": "",
        "endpoints": [{"url": "http://127.0.0.1:1"}, {"url": "http://127.0.0.2:1", "weight": 0}],
        "circuitBreaker": {"failureThreshold": 1},
    }
    async with running_gateway(document("", upstream=upstream)) as gateway:
        assert (await gateway.ask(get())).status == 502
        metrics = await gateway.metrics()
        assert metrics.value("retry_attempts_total", upstream="origin") == 0
        assert metrics.value("circuit_breaker_opened_total", upstream="origin") == 1
