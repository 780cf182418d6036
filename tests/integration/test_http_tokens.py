"""Bearer tokens against a real provider of keys: the first fetch, new keys, and a provider in trouble."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dataplane.tokens.fetch import LARGEST
from tests.support.client import Response, ask, chunked, connected, get, post
from tests.support.clock import Clock
from tests.support.deadline import eventually
from tests.support.gateway import Gateway, document, running_gateway
from tests.support.origin import OK, Origin, Peer, Script, answering, serving
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

ISSUED = Issuer(time.time(), lifetime=86_400)  # it is made when tests are collected
JWKS = json.dumps(ISSUED.jwks()).encode()


def answer(body: bytes, status: str = "200 OK", *lines: str) -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def publishing(*answers: bytes) -> Script:
    """A provider that answers with these, one after the other, and then with the last one again and again."""
    left = list(answers)

    async def script(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def protected(origin: Origin, provider: str, **more: Any) -> str:
    """A configuration whose one route needs a token."""
    auth = {"type": "jwt", "issuer": ISSUER, "audience": AUDIENCE, "jwksUrl": provider}
    return document(origin.url, route={"auth": "required"}, security={"auth": auth, **more})


@asynccontextmanager
async def guarded(script: Script, **options: Any) -> AsyncIterator[tuple[Gateway, Origin, Origin]]:
    """(gateway, provider of keys, origin): the keys are at /keys?v=1 of the provider."""
    async with serving(script) as provider, serving(answering(OK)) as origin:
        text = protected(origin, f"{provider.url}/keys?v=1")
        async with running_gateway(text, **options) as gateway:
            yield gateway, provider, origin


async def asked(gateway: Gateway, token: str) -> Response:
    """The answer to a request with this token."""
    return await gateway.ask(get("/", f"Authorization: Bearer {token}"))


async def test_the_first_requests_wait_for_the_keys() -> None:
    """A request that comes before the keys waits for them; all those after need no fetch."""
    async with guarded(publishing(answer(JWKS))) as (gateway, provider, origin):
        assert (await asked(gateway, ISSUED.token())).status == 200
        assert (await asked(gateway, ISSUED.token("e", sub="bert"))).status == 200
        assert origin.last.value("x-consumer-name") == "bert"
        assert [(one.method, one.target) for one in provider.received] == [("GET", "/keys?v=1")]
        assert provider.last.value("host") == f"127.0.0.1:{provider.port}"
        ready = (await gateway.admin("/health/ready")).json
        assert (ready["status"], ready["checks"]["keys"]) == ("UP", "UP")


async def test_a_new_key_is_fetched_when_it_is_missed() -> None:
    """By the first token that it signed; forged key names cause no more than one fetch in ten seconds."""
    clock = Clock()
    first, second = (answer(json.dumps(ISSUED.jwks(*names)).encode()) for names in ("r", "re"))
    async with guarded(publishing(first, second), clock=clock) as (gateway, provider, _):
        assert (await asked(gateway, ISSUED.token("r"))).status == 200
        assert (await asked(gateway, ISSUED.token("e"))).status == 200
        assert len(provider.received) == 2
        for number in range(20):
            assert (await asked(gateway, ISSUED.token("r", kid=f"no-{number}"))).status == 401
        assert len(provider.received) == 2
        clock.turn(10.1)
        for number in range(20):
            assert (await asked(gateway, ISSUED.token("r", kid=f"no-{number}"))).status == 401
        assert len(provider.received) == 3
        metrics = await gateway.metrics()
        assert metrics.value("auth_failures_total", reason="unknown_key") == 40
        assert metrics.value("jwks_fetches_total", result="success") == 3


async def test_a_key_that_is_withdrawn() -> None:
    """With the next fetch its tokens are refused, also on a connection that has used one."""
    clock = Clock()
    both, one = answer(JWKS), answer(json.dumps(ISSUED.jwks("e")).encode())
    async with guarded(publishing(both, one), clock=clock) as (gateway, provider, _):
        request = get("/", f"Authorization: Bearer {ISSUED.token('r')}")
        assert (await gateway.ask(request)).status == 200
        assert (await asked(gateway, ISSUED.token("e", kid="no"))).status == 401
        assert len(provider.received) == 2
        assert (await gateway.ask(request)).status == 401
        assert (await asked(gateway, ISSUED.token("e"))).status == 200


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (answer(b"no", "500 Oops"), "it answered 500"),
        (answer(b"", "302 Found", "Location: http://127.0.0.1:1/keys"), "it answered 302"),
        (answer(b"<html>"), "JSON object with `keys`"),
        (answer(b"[]"), "JSON object with `keys`"),
        (answer(b'{"keys": []}'), "no key that can be used"),
        (answer(b'{"keys": [{"kty": "RSA", "kid": "r"}]}'), "no key that can be used"),
        (answer(b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "r"}]}'), "no key that can be used"),
        (answer(b" " * (LARGEST + 1)), f"more than {LARGEST} bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "payload is not completed"),
        (b"nonsense\r\n\r\n", ""),
    ],
)
async def test_a_provider_in_trouble(bad: bytes, why: str) -> None:
    """503 until it answers with keys, told in health and metrics; then it goes on by itself. The way is never open."""

    async def script(peer: Peer) -> None:
        while await peer.request() is not None:
            broken = peer.number == 1
            await peer.send(bad if broken else answer(JWKS))
            if broken:
                peer.close()
                return

    async with guarded(script) as (gateway, _, origin):
        refused = await asked(gateway, ISSUED.token())
        assert (refused.status, refused.value("retry-after")) == (503, "5")
        assert "127.0.0.1" not in refused.body.decode()
        ready = await gateway.admin("/health/ready")
        assert (ready.status, ready.json["status"], ready.json["checks"]["keys"]) == (200, "DEGRADED", "DOWN")
        [keys] = (await gateway.admin("/health/deep")).json["keys"].values()
        assert (keys["keys"], keys["ageSeconds"]) == (0, None)
        assert why in keys["error"]
        assert (await gateway.metrics()).value("jwks_fetches_total", result="failure") >= 1
        assert not origin.received
        again = await eventually(lambda: asked(gateway, ISSUED.token()), lambda found: found.status == 200)
        assert again.status == 200
        assert (await gateway.admin("/health/ready")).json["checks"]["keys"] == "UP"


async def test_the_last_keys_stay() -> None:
    """While the provider is in trouble, those who hold its tokens are served; a foreign key is refused."""
    async with guarded(publishing(answer(JWKS), answer(b"no", "500 Oops"))) as (gateway, provider, _):
        assert (await asked(gateway, ISSUED.token())).status == 200
        assert (await asked(gateway, ISSUED.token(kid="no"))).status == 401
        assert len(provider.received) == 2
        assert (await asked(gateway, ISSUED.token(sub="bert"))).status == 200
        assert (await gateway.admin("/health/ready")).json["checks"]["keys"] == "DEGRADED"


async def test_a_provider_that_never_answers() -> None:
    """Its requests wait for the end of the fetch; when the configuration has another provider, for nothing."""

    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with guarded(silent) as (gateway, provider, origin):
        await provider.arrived()
        waiting = asyncio.create_task(asked(gateway, ISSUED.token()))
        await eventually(gateway.metrics, lambda found: found.value("http_requests_in_flight") == 1)
        await gateway.reconfigure(protected(origin, "http://127.0.0.1:9/keys"))
        assert (await waiting).status == 503
        assert (await asked(gateway, ISSUED.token())).status == 503


async def test_keys_come_only_from_where_the_gateway_may_go() -> None:
    """The guard of upstreams is that of providers, too: whatever the name leads to."""
    async with serving(publishing(answer(JWKS))) as provider, serving(answering(OK), "127.0.0.2") as origin:
        text = protected(origin, f"http://localhost:{provider.port}/", blockedIPs=["127.0.0.1", "::1"])
        text = text.replace(origin.url, f"http://127.0.0.2:{origin.port}")
        async with running_gateway(text) as gateway:
            assert (await asked(gateway, ISSUED.token())).status == 503
            [keys] = (await gateway.admin("/health/deep")).json["keys"].values()
            assert "blockedIPs" in keys["error"]
        assert provider.connections == 0


async def test_routes_that_need_no_token_need_no_provider() -> None:
    """Keys are fetched for routes that ask for them, and for no others."""
    async with serving(publishing(answer(JWKS))) as provider, serving(answering(OK)) as origin:
        auth = {"type": "jwt", "audience": AUDIENCE, "jwksUrl": provider.url}
        open_way = document(origin.url, security={"auth": auth})
        async with running_gateway(open_way) as gateway:
            assert (await asked(gateway, "nonsense")).status == 200
            assert provider.connections == 0
            await gateway.reconfigure(document(origin.url, security={"auth": auth}, route={"auth": "required"}))
            assert (await asked(gateway, ISSUED.token())).status == 200
            await gateway.reconfigure(open_way)
            assert (await gateway.admin("/health/deep")).json["keys"] == {}


async def test_explain_knows_the_token() -> None:
    """Whose it is, why it is refused, and which limit it counts for; asking remembers nothing."""
    limit = {"max": 3, "windowMs": 60_000, "key": "claim:org"}
    auth = {"type": "jwt", "issuer": ISSUER, "audience": AUDIENCE, "jwks": ISSUED.jwks()}
    text = document("http://127.0.0.1:9", route={"auth": "required", "rateLimit": limit}, security={"auth": auth})

    async def explain(gateway: Gateway, *token: str) -> Any:
        headers = {"Authorization": f"Bearer {token[0]}"} if token else {}
        body = json.dumps({"path": "/", "headers": headers}).encode()
        found = await ask(gateway.admin_port, post(body, "/explain", "Connection: close"))
        return {each["filter"]: each for each in found.json["filters"]}

    async with running_gateway(text) as gateway:
        told = await explain(gateway, ISSUED.token(org="acme"))
        assert told["jwt"]["detail"].startswith("the token of anna, good until 20")
        assert (told["rateLimit"]["limits"][0]["key"], told["rateLimit"]["limits"][0]["remaining"]) == ("acme", 3)
        assert (await explain(gateway))["jwt"]["status"] == 401
        late = await explain(gateway, ISSUED.token(exp=time.time() - 100))
        assert (late["jwt"]["status"], late["jwt"]["detail"]) == (401, "expired: The token has expired")


@pytest.mark.parametrize("mode", ["required", "none"])
@pytest.mark.parametrize("pieces", [1, 2])
async def test_trailers_tell_no_claims(mode: str, pieces: int) -> None:
    """Some servers take trailers for headers: those that would tell claims are dropped, others go on."""
    auth = {
        "type": "jwt",
        "audience": AUDIENCE,
        "jwks": ISSUED.jwks(),
        "forwardClaims": {"email": "X-Email"},
        "hideCredentials": True,
    }
    async with serving(answering(OK)) as origin:
        text = document(origin.url, route={"auth": mode}, security={"auth": auth})
        async with running_gateway(text) as gateway:
            head = get("/", f"Authorization: Bearer {ISSUED.token()}", "Transfer-Encoding: chunked", method="PUT")
            body = chunked(b"abc", trailers=("X-EMAIL: root@example", "X-Other: 1"))
            async with connected(gateway.port) as client:
                if pieces == 1:
                    await client.send(head + body)
                else:
                    await client.send(head + body[:5])
                    await origin.arrived()
                    await client.send(body[5:])
                assert (await client.response()).status == 200
            assert origin.last.trailers == [(b"X-Other", b"1")]


async def test_nothing_of_a_token_is_told() -> None:
    """Neither a dump of the configuration nor a refusal has it, or a secret key."""
    secret = {"kty": "oct", "kid": "s", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"}
    auth = {"type": "jwt", "audience": AUDIENCE, "jwks": {"keys": [secret]}, "algorithms": ["HS256"]}
    async with running_gateway(
        document("http://127.0.0.1:9", route={"auth": "required"}, security={"auth": auth})
    ) as it:
        assert secret["k"] not in (await it.admin("/config_dump")).body.decode()
        refused = await asked(it, ISSUED.token())
        assert refused.status == 401
        assert refused.json["message"] == "The token is signed by an algorithm that is not taken"
