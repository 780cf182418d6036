"""Who a request comes from: said by the gateway, believed from trusted proxies only."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.support.client import Response, connected, get
from tests.support.gateway import proxied
from tests.support.origin import OK, Received, answering

TRUSTING = {"proxy": {"trustedProxies": ["127.0.0.0/8", "10.0.0.0/8"]}}
FORGED = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 443",
    "X-Real-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6;host=evil.example;proto=https",
]


async def exchange(*lines: str, **sections: Any) -> tuple[Received, Response]:
    """The request with these lines as it arrives, and its answer."""
    async with proxied(answering(OK), **sections) as (origin, gateway):
        answer = await gateway.ask(get("/", *lines))
    return origin.last, answer


@pytest.mark.parametrize("lines", [[], FORGED], ids=["silent", "forging"])
async def test_a_stranger_is_not_believed(lines: list[str]) -> None:
    """Without trusted proxies the identity fields say what the gateway saw, and each of them once."""
    received, _ = await exchange(*lines)
    assert received.value("x-forwarded-for") == "127.0.0.1"
    assert received.value("x-real-ip") == "127.0.0.1"
    assert received.value("x-forwarded-proto") == "http"
    assert received.value("x-forwarded-host") == "x"
    assert received.value("x-forwarded-port") not in (None, "443")
    forwarded = received.value("forwarded") or ""
    assert "for=127.0.0.1" in forwarded
    assert "proto=http" in forwarded
    assert "6.6.6.6" not in forwarded
    assert "evil" not in forwarded


async def test_a_trusted_proxy_is_believed() -> None:
    """What it says is kept, with itself appended."""
    received, _ = await exchange(*FORGED, **TRUSTING)
    assert received.value("x-forwarded-for") == "6.6.6.6, 127.0.0.1"
    assert received.value("x-real-ip") == "6.6.6.6"
    assert received.value("x-forwarded-proto") == "https"
    assert received.value("x-forwarded-host") == "evil.example"
    forwarded = received.value("forwarded") or ""
    assert forwarded.startswith("for=6.6.6.6;host=evil.example;proto=https, for=127.0.0.1")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (["X-Forwarded-For: 6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (["X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.1.1"], "1.2.3.4"),
        (["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4"], "1.2.3.4"),
        (["X-Forwarded-For: 1.2.3.4, not an address"], "127.0.0.1"),
        (["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
    ],
)
async def test_the_client_is_the_last_address_that_is_not_trusted(chain: list[str], client: str) -> None:
    """What stands left of it could be anybody's word."""
    received, _ = await exchange(*chain, **TRUSTING)
    assert received.value("x-real-ip") == client


@pytest.mark.parametrize("name", ["X_Forwarded_For", "x_real_ip", "X_Consumer_Name", "Content_Length"])
async def test_names_with_an_underscore_are_dropped(name: str) -> None:
    """Some origins cannot tell them from the names with a dash."""
    received, _ = await exchange(f"{name}: 1")
    assert received.values(name) == []


async def test_who_the_consumer_is_is_for_the_gateway_to_say() -> None:
    """A client's own word is dropped; an authenticated consumer's name takes its place."""
    keys = [{"key": hashlib.sha256(b"secret").hexdigest(), "name": "Client A"}]
    sections = {"security": {"auth": {"type": "apiKey", "header": "X-API-Key", "keys": keys}}}
    received, _ = await exchange("X-Consumer-Name: root")
    assert received.values("x-consumer-name") == []
    route = {"auth": "required"}
    received, _ = await exchange("X-Consumer-Name: root", "X-API-Key: secret", route=route, **sections)
    assert received.value("x-consumer-name") == "Client A"


async def test_a_credential_may_be_hidden_from_the_origin() -> None:
    """`hideCredentials` removes the key before the origin; without it the key goes on."""
    keys = [{"key": hashlib.sha256(b"secret").hexdigest(), "name": "Client A"}]
    for hide in (True, False):
        auth = {"type": "apiKey", "header": "X-API-Key", "keys": keys, "hideCredentials": hide}
        received, answer = await exchange("X-API-Key: secret", route={"auth": "required"}, security={"auth": auth})
        assert answer.status == 200
        assert received.value("x-api-key") == (None if hide else "secret")


async def test_each_request_of_a_connection_has_its_own_identity() -> None:
    """What was said about the request before does not stick: host, version and the way it came are told anew."""
    async with proxied(answering(OK), **TRUSTING) as (origin, gateway), connected(gateway.port) as client:
        await client.ask(get("/", "X-Forwarded-For: 6.6.6.6", "Via: 1.1 other", host="a"))
        await client.ask(get("/", host="b"))
        await client.ask(get("/", "Connection: keep-alive", host="b", version="1.0"))
    seen = [[request.value(name) for name in ("x-forwarded-host", "x-real-ip", "via")] for request in origin.received]
    assert seen == [
        ["a", "6.6.6.6", "1.1 other, 1.1 flexgate"],
        ["b", "127.0.0.1", "1.1 flexgate"],
        ["b", "127.0.0.1", "1.0 flexgate"],
    ]


@pytest.mark.parametrize("good", ["a", "req-1", "A.b:c/d+e=f@g_h-9", "x" * 128])
async def test_a_valid_correlation_id_is_kept(good: str) -> None:
    """The client's id goes to the origin and comes back."""
    received, answer = await exchange(f"X-Correlation-ID: {good}")
    assert (received.value("x-correlation-id"), answer.value("x-correlation-id")) == (good, good)


@pytest.mark.parametrize("bad", ["", "x" * 129, "a b", "a,b", "<script>", "a\xe9", '"a"', "a;b"])
async def test_an_invalid_correlation_id_is_replaced(bad: str) -> None:
    """By one of the gateway's own, the same on both sides."""
    received, answer = await exchange(f"X-Correlation-ID: {bad}")
    own = answer.value("x-correlation-id") or ""
    assert own.startswith("req-")
    assert received.value("x-correlation-id") == own


async def test_correlation_ids_are_unique() -> None:
    """Also for requests on one connection and for answers that no origin gave."""
    routes = [{"path": "/a"}]
    async with proxied(answering(OK), routes=routes) as (_, gateway), connected(gateway.port) as client:
        answers = [await client.ask(get(path)) for path in ("/a", "/a", "/none", "/none")]
    assert len({answer.value("x-correlation-id") for answer in answers}) == 4
