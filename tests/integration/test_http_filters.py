"""API keys and rate limits as clients meet them."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from tests.support.client import connected, get, post
from tests.support.gateway import document, proxied
from tests.support.origin import OK, answering, echo

MINUTE = 60_000


def keys(**more: Any) -> dict[str, Any]:
    """`security.auth` with one key, "secret"."""
    known = {"key": hashlib.sha256(b"secret").hexdigest(), "name": "Client A", **more}
    return {"auth": {"type": "apiKey", "header": "X-API-Key", "keys": [known]}}


@pytest.mark.parametrize(
    "lines", [[], ["X-API-Key: wrong"], ["X-API-Key:"], ["X-API-Key: SECRET"], ["Authorization: secret"]]
)
async def test_a_required_key_is_required(lines: list[str]) -> None:
    """401 with a challenge, nothing at the origin, and counted by reason."""
    async with proxied(answering(OK), route={"auth": "required"}, security=keys()) as (origin, gateway):
        answer = await gateway.ask(get("/", *lines))
        assert (answer.status, answer.json["error"]) == (401, "Unauthorized")
        assert answer.value("www-authenticate")
        assert origin.received == []
        assert (await gateway.metrics()).value("auth_failures_total") == 1


async def test_a_good_key_lets_through() -> None:
    """And only on routes that want one is it looked at."""
    routes = [{"path": "/a", "auth": "required"}, {"path": "/b", "auth": "none"}, {"path": "/c", "auth": "optional"}]
    async with proxied(answering(OK), routes=routes, security=keys()) as (_, gateway):
        good, bad = "X-API-Key: secret", "X-API-Key: wrong"
        asked = [("/a", good), ("/a", bad), ("/b", bad), ("/c", good), ("/c", bad)]
        assert [(await gateway.ask(get(path, key))).status for path, key in asked] == [200, 401, 200, 200, 401]
        assert (await gateway.ask(get("/c"))).status == 200


@pytest.mark.parametrize(("expires", "status"), [("2001-01-01T00:00:00Z", 401), ("2999-01-01T00:00:00Z", 200)])
async def test_a_key_may_expire(expires: str, status: int) -> None:
    """An expired key is no key."""
    async with proxied(answering(OK), route={"auth": "required"}, security=keys(expiresAt=expires)) as (_, gateway):
        assert (await gateway.ask(get("/", "X-API-Key: secret"))).status == status


@pytest.mark.parametrize(("scopes", "status"), [(["read", "write"], 200), (["read"], 403), ([], 403)])
async def test_a_route_may_want_scopes(scopes: list[str], status: int) -> None:
    """403 for a key that is known and not allowed this."""
    route = {"auth": "required", "scopes": ["write"]}
    async with proxied(answering(OK), route=route, security=keys(scopes=scopes)) as (_, gateway):
        answer = await gateway.ask(get("/", "X-API-Key: secret"))
        assert answer.status == status


async def test_a_refused_upload_does_not_desynchronise() -> None:
    """A body that belongs to a 401 is not taken for the next request."""
    async with proxied(echo, route={"auth": "required"}, security=keys()) as (origin, gateway):
        async with connected(gateway.port) as client:
            first = await client.ask(post(get("/smuggled", "X-API-Key: secret")))
            assert first.status == 401
            if first.value("connection") != "close":
                assert (await client.ask(get("/next", "X-API-Key: secret"))).json["target"] == "/next"
        assert "/smuggled" not in [request.target for request in origin.received]


async def test_a_limit_is_told_and_enforced() -> None:
    """Remaining counts down; then 429 with Retry-After, in the header and in the body."""
    limit = {"max": 2, "windowMs": MINUTE, "message": "Slow down"}
    async with proxied(answering(OK), route={"rateLimit": limit}) as (origin, gateway):
        answers = [await gateway.ask(get()) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert [answer.value("x-ratelimit-limit") for answer in answers] == ["2"] * 3
        assert [answer.value("x-ratelimit-remaining") for answer in answers] == ["1", "0", "0"]
        for answer in answers:
            assert time.time() - 1 <= int(answer.value("x-ratelimit-reset") or 0) <= time.time() + 62
            assert answer.value("ratelimit")
            assert "q=2" in (answer.value("ratelimit-policy") or "")
            assert "w=60" in (answer.value("ratelimit-policy") or "")
        refused = answers[2]
        assert (refused.json["error"], refused.json["message"]) == ("Too Many Requests", "Slow down")
        assert 1 <= refused.json["retryAfter"] <= 60
        assert refused.value("retry-after") == str(refused.json["retryAfter"])
        assert len(origin.received) == 2
        assert (await gateway.metrics()).value("rate_limit_exceeded_total", route="/*") == 1


async def test_a_route_without_a_limit_tells_none() -> None:
    """No limit fields where nothing is limited."""
    async with proxied(answering(OK)) as (_, gateway):
        answer = await gateway.ask(get())
        assert not [name for name, _ in answer.fields if b"ratelimit" in name.lower()]


async def test_forged_addresses_do_not_make_new_buckets() -> None:
    """By default clients are told apart by the address that the gateway sees."""
    limit = {"max": 1, "windowMs": MINUTE, "key": "ip"}
    async with proxied(answering(OK), route={"rateLimit": limit}) as (_, gateway):
        forged = [get("/", f"X-Forwarded-For: 6.6.6.{last}", f"X-Real-IP: 6.6.6.{last}") for last in range(3)]
        assert [(await gateway.ask(data)).status for data in forged] == [200, 429, 429]


async def test_behind_a_trusted_proxy_clients_are_told_apart() -> None:
    """There the address that the proxy tells counts."""
    limit, proxy = {"max": 1, "windowMs": MINUTE, "key": "ip"}, {"trustedProxies": ["127.0.0.1"]}
    async with proxied(answering(OK), route={"rateLimit": limit}, proxy=proxy) as (_, gateway):
        told = [get("/", f"X-Forwarded-For: 6.6.6.{last}") for last in (1, 2, 1)]
        assert [(await gateway.ask(data)).status for data in told] == [200, 200, 429]


async def test_keys_have_their_own_buckets() -> None:
    """`key: apiKey` counts for each consumer; refused requests without a key use up nobody's."""
    security = keys()
    security["auth"]["keys"].append({"key": hashlib.sha256(b"other").hexdigest(), "name": "Client B"})
    route = {"auth": "required", "rateLimit": {"max": 1, "windowMs": MINUTE, "key": "apiKey"}}
    async with proxied(answering(OK), route=route, security=security) as (_, gateway):
        asked = ["wrong", "secret", "other", "secret", "other"]
        statuses = [(await gateway.ask(get("/", f"X-API-Key: {key}"))).status for key in asked]
        assert statuses == [401, 200, 200, 429, 429]


async def test_global_and_path_limits_add_to_the_route_s() -> None:
    """Each must have a token left; a limit by path leaves other paths alone."""
    section = {
        "global": {"max": 3, "windowMs": MINUTE},
        "perRoute": [{"path": "/heavy/*", "max": 1, "windowMs": MINUTE, "message": "Heavy"}],
    }
    async with proxied(answering(OK), rateLimit=section) as (_, gateway):
        paths = ["/heavy/1", "/heavy/2", "/light", "/light", "/light"]  # what one refuses costs the others nothing
        answers = [await gateway.ask(get(path)) for path in paths]
        assert [answer.status for answer in answers] == [200, 429, 200, 200, 429]
        assert answers[1].json["message"] == "Heavy"


async def test_a_shadow_limit_only_counts() -> None:
    """Nothing is refused, and the metric tells what would have been."""
    limit = {"max": 1, "windowMs": MINUTE, "shadow": True}
    async with proxied(answering(OK), route={"rateLimit": limit}) as (_, gateway):
        assert [(await gateway.ask(get())).status for _ in range(3)] == [200, 200, 200]
        metrics = await gateway.metrics()
        assert metrics.value("rate_limit_shadow_exceeded_total") == 2
        assert metrics.value("rate_limit_exceeded_total") == 0


async def test_buckets_survive_edits() -> None:
    """A changed configuration does not hand out new tokens for a limit that stayed the same."""
    limit = {"max": 1, "windowMs": MINUTE}

    async with proxied(answering(OK), route={"rateLimit": limit}) as (origin, gateway):
        assert (await gateway.ask(get())).status == 200
        await gateway.reconfigure(document(origin.url, route={"rateLimit": limit}, logging={"level": "warn"}))
        assert (await gateway.ask(get())).status == 429


async def test_a_connection_is_not_trusted_for_a_key_it_once_had() -> None:
    """Every request shows its own: after a good one come none, a wrong one, and another consumer's."""
    security = keys()
    security["auth"]["keys"].append({"key": hashlib.sha256(b"other").hexdigest(), "name": "Client B"})
    options: dict[str, Any] = {"route": {"auth": "required"}, "security": security}
    async with proxied(answering(OK), **options) as (origin, gateway), connected(gateway.port) as client:
        shown = ["secret", None, "wrong", "secret", "other", "secret"]
        lines = [[f"X-API-Key: {key}"] if key else [] for key in shown]
        assert [(await client.ask(get("/", *line))).status for line in lines] == [200, 401, 401, 200, 200, 200]
        names = [request.value("x-consumer-name") for request in origin.received]
        assert names == ["Client A", "Client A", "Client B", "Client A"]


async def test_a_revoked_key_is_refused_on_connections_that_used_it() -> None:
    """An edit that takes a key away counts from the next request, also on a connection that is open."""
    options: dict[str, Any] = {"route": {"auth": "required"}}
    async with (
        proxied(answering(OK), **options, security=keys()) as (origin, gateway),
        connected(gateway.port) as client,
    ):
        assert (await client.ask(get("/", "X-API-Key: secret"))).status == 200
        await gateway.reconfigure(document(origin.url, **options, security=keys(key="0" * 64)))
        assert (await client.ask(get("/", "X-API-Key: secret"))).status == 401
