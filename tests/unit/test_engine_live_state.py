"""Pools through edits, with real connections: kept, closed, and governed by the configuration that is served."""

from __future__ import annotations

import json

import pytest

from tests.support.client import get
from tests.support.gateway import document, proxied
from tests.support.origin import OK, answering, serving


@pytest.mark.parametrize("pool", [{"keepAlive": False}, {"maxFreeSockets": 0}])
async def test_connections_that_may_not_be_kept_are_closed(pool: dict[str, object]) -> None:
    """Each request then has its own, and nothing stays open after it."""
    async with proxied(answering(OK), upstream={"connectionPool": pool}) as (origin, gateway):
        for _ in range(3):
            assert (await gateway.ask(get())).status == 200
        assert origin.connections == 3
        await origin.until(lambda: origin.open == 0, "all connections closed")


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    """`connectionPool.timeout`, where the upstream or the section says so."""
    async with proxied(answering(OK), connectionPool={"timeout": 1}) as (origin, gateway):
        assert (await gateway.ask(get())).status == 200
        await origin.until(lambda: origin.open == 0, "the idle connection closed")


async def test_an_edit_of_the_pool_takes_hold_of_what_is_open() -> None:
    """Idle connections that may no longer be kept end with the swap, without another request."""
    async with proxied(answering(OK)) as (origin, gateway):
        assert (await gateway.ask(get())).status == 200
        assert origin.open == 1
        await gateway.reconfigure(document(origin.url, connectionPool={"keepAlive": False}))
        await origin.until(lambda: origin.open == 0, "the idle connection closed")


async def test_connections_live_through_edits_of_other_things() -> None:
    """A new route, a new time: the same connection serves on."""
    async with proxied(answering(OK)) as (origin, gateway):
        assert (await gateway.ask(get())).status == 200
        await gateway.reconfigure(document(origin.url, route={"timeout": 1234}, upstream={"timeout": 4321}))
        assert (await gateway.ask(get())).status == 200
        assert origin.connections == 1


async def test_a_removed_upstream_lets_go_of_its_connections() -> None:
    """Its idle ones end at the swap; the new upstream gets its own."""
    async with serving(answering(OK)) as other, proxied(answering(OK)) as (origin, gateway):
        assert (await gateway.ask(get())).status == 200
        text = json.loads(document(other.url))
        text["upstreams"][0]["name"] = text["routes"][0]["upstream"] = "other"
        await gateway.reconfigure(json.dumps(text))
        await origin.until(lambda: origin.open == 0, "the removed upstream's connection closed")
        assert (await gateway.ask(get())).status == 200
        assert (origin.connections, other.connections) == (1, 1)
