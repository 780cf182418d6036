"""Authentication by token: who gets in, as whom, and what the upstream hears of it (RFC 6750, RFC 7519, RFC 8725)."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import Forbidden, GatewayError, KeysUnavailable, TooManyRequests, Unauthorized
from dataplane.headers import request_head
from dataplane.tokens.verifier import MOST_KNOWN
from shared.jws import BadTokenError, KeySet, signed_claims
from tests.support.tokens import ISSUER, Issuer, bearer, by_token, part
from tests.unit.engine_bench import EPOCH, Bench, bench, routed

Json = dict[str, Any]
ISSUED = Issuer(EPOCH)
STRANGER = Issuer(EPOCH, strange=True)
GIVEN: Json = {"jwks": ISSUED.jwks()}


@pytest.fixture
def worker() -> Iterator[Bench]:
    """A worker that serves nothing yet."""
    with bench() as made:
        yield made


def head_of(worker: Bench, *fields: tuple[str, str]) -> bytes:
    """The head that goes to the upstream."""
    x = worker.filter(*fields)
    assert worker.compiled is not None
    assert x.route is not None
    endpoint = next(iter(worker.compiled.runtime.upstreams["origin"].balancer.endpoints.values()))
    return request_head(x, endpoint, x.path, x.route)


def refused(worker: Bench, *fields: tuple[str, str]) -> Unauthorized:
    """The refusal of such a request."""
    with pytest.raises(Unauthorized) as found:
        worker.filter(*fields)
    return found.value


@pytest.mark.parametrize("key", ["r", "e", "d"])
def test_a_good_token_has_a_name(worker: Bench, key: str) -> None:
    """Of each kind of key: the subject is the consumer, for filters, log and upstream; nobody else can say it."""
    worker.serve(routed(auth="required") | by_token(**GIVEN))
    token = bearer(ISSUED.token(key))
    assert worker.filter(token).consumer == "anna"
    head = head_of(worker, token, ("X-Consumer-Name", "root"))
    assert head.count(b"X-Consumer-Name: ") == 1
    assert b"X-Consumer-Name: anna\r\n" in head
    assert b"Authorization: Bearer " in head


def test_a_token_of_a_client_is_of_the_client(worker: Bench) -> None:
    """Where there is no user, `client_id` or `azp` says who it is."""
    worker.serve(routed(auth="required") | by_token(**GIVEN))
    assert worker.filter(bearer(ISSUED.token(sub=None, client_id="robot"))).consumer == "robot"
    assert worker.filter(bearer(ISSUED.token(sub=None, azp="robot 2"))).consumer == "robot 2"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": EPOCH - 61}, "expired"),
        ({"exp": None}, "claims"),
        ({"exp": "soon"}, "claims"),
        ({"exp": True}, "claims"),
        ({"nbf": EPOCH + 61}, "not_yet"),
        ({"nbf": "later"}, "claims"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": {"orders": True}}, "audience"),
        ({"sub": None}, "claims"),
        ({"sub": "a\r\nX-Admin: 1"}, "claims"),
        ({"sub": "s" * 256}, "claims"),
        ({"org": "other"}, "claims"),
        ({"org": None}, "claims"),
    ],
)
def test_a_signed_token_may_still_be_wrong(worker: Bench, claims: Json, reason: str) -> None:
    """Out of its time, of or for somebody else, of nobody: 401 with a challenge, counted by reason."""
    worker.serve(routed(auth="required") | by_token(requiredClaims={"org": "acme"}, **GIVEN))
    error = refused(worker, bearer(ISSUED.token(**({"org": "acme"} | claims))))
    assert b'WWW-Authenticate: Bearer realm="flexgate", error="invalid_token", error_description="' in error.headers[0]
    assert worker.traffic.auth_failures == {reason: 1}


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": EPOCH - 59},
        {"nbf": EPOCH + 59},
        {"aud": ["other", "orders"]},
        {"org": ["other", "acme"]},
        {"exp": EPOCH + 0.5},
    ],
)
def test_what_is_right_enough(worker: Bench, claims: Json) -> None:
    """The clocks may differ by a minute; one of several audiences or values is enough."""
    worker.serve(routed(auth="required") | by_token(requiredClaims={"org": "acme"}, **GIVEN))
    assert worker.filter(bearer(ISSUED.token(**({"org": "acme"} | claims)))).consumer == "anna"


def test_a_claim_may_lie_deeper(worker: Bench) -> None:
    """A name with dots leads into objects, unless a claim has that very name."""
    needed = {"realm_access.roles": "admin", "https://acme.example/tier": "gold", "level": "3", "active": "true"}
    worker.serve(routed(auth="required") | by_token(requiredClaims=needed, **GIVEN))
    said: Json = {"https://acme.example/tier": "gold", "level": 3, "active": True}
    assert worker.filter(bearer(ISSUED.token(realm_access={"roles": ["user", "admin"]}, **said))).consumer == "anna"
    refused(worker, bearer(ISSUED.token(realm_access={"roles": ["user"]}, **said)))
    refused(worker, bearer(ISSUED.token(realm_access="admin", **said)))


def forged() -> list[tuple[str, str]]:
    """(token, reason) of what nobody signed."""
    head, body, signature = ISSUED.token().split(".")
    claims = {"iss": ISSUER, "aud": "orders", "sub": "root", "exp": EPOCH + 300}
    rsa = ISSUED.keys["r"][1].public_key()
    pem = rsa.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({'alg': 'HS256', 'kid': 'r'})}.{part(claims)}"
    mac = jwt.utils.base64url_encode(hmac.digest(pem, signed.encode(), "sha256")).decode()
    return [
        ("", "malformed"),
        ("x", "malformed"),
        ("a.b.c", "malformed"),
        (f"{head}.{body}", "malformed"),
        (f"{head}.{body}.{signature}.{signature}", "malformed"),
        (f"{head}.{body}.", "signature"),
        (f"{head}.{part(claims)}.{signature}", "signature"),
        (f"{part({'alg': 'none', 'kid': 'r'})}.{part(claims)}.", "algorithm"),
        (f"{part({'alg': 'None', 'kid': 'r'})}.{part(claims)}.{signature}", "algorithm"),
        (f"{part({'alg': ['RS256'], 'kid': 'r'})}.{part(claims)}.{signature}", "algorithm"),
        (f"{part({'kid': 'r'})}.{part(claims)}.{signature}", "algorithm"),
        (f"{part({'alg': 'RS256', 'kid': 5})}.{part(claims)}.{signature}", "malformed"),
        (f"{part({'alg': 'RS256', 'kid': 'r', 'crit': ['x'], 'x': 1})}.{part(claims)}.{signature}", "malformed"),
        (f"{part({'alg': 'ES256', 'kid': 'r'})}.{part(claims)}.{signature}", "unknown_key"),
        (f"{part(['RS256'])}.{part(claims)}.{signature}", "malformed"),
        (f"{signed}.{mac}", "algorithm"),
        (STRANGER.token(), "signature"),
        (STRANGER.token("e"), "signature"),
        (ISSUED.token(kid="other"), "unknown_key"),
    ]


@pytest.mark.parametrize(("token", "reason"), forged())
@pytest.mark.parametrize("mode", ["required", "optional"])
def test_what_nobody_signed(worker: Bench, mode: str, token: str, reason: str) -> None:
    """Unsigned, changed, by an algorithm or a key that is not taken: refused, also where a token is optional."""
    worker.serve(routed(auth=mode) | by_token(**GIVEN))
    refused(worker, bearer(token))
    assert worker.traffic.auth_failures == {reason: 1}


JUNK = st.none() | st.integers() | st.booleans() | st.text(max_size=20) | st.lists(st.none(), max_size=1)
WORDS = st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "Ed448", "RS256", "ES256", "AQAB"])
MEMBERS = st.sampled_from(["kty", "n", "e", "x", "y", "k", "crv", "alg", "use", "kid", "d", "oth"])


@given(key=st.sampled_from(ISSUED.jwks()["keys"]), changes=st.dictionaries(MEMBERS, JUNK | WORDS, min_size=1))
def test_any_published_key_is_used_or_not(key: Json, changes: Json) -> None:
    """Whatever a provider publishes as a key: it vouches for its tokens or for none, and nothing else goes wrong."""
    keys = KeySet([key | changes])
    assert len(keys.faults) <= len(keys)
    for name in "red":
        with suppress(BadTokenError):
            signed_claims(ISSUED.token(name, kid=None), keys, ["RS256", "ES256", "EdDSA"])


@given(at=st.integers(0, 10_000), change=st.integers(1, 255))
def test_no_byte_of_a_token_can_be_changed(at: int, change: int) -> None:
    """Whichever it is, whatever it becomes: refused, and nothing else goes wrong."""
    token = bytearray(ISSUED.token("e").encode())
    token[at % len(token)] ^= change
    with bench() as worker:
        worker.serve(routed(auth="required") | by_token(**GIVEN))
        refused(worker, bearer(token.decode("latin-1")))


def test_the_token_is_in_authorization_alone(worker: Bench) -> None:
    """Once, with its scheme in any case. Another scheme is none of ours; two of them could mean anything."""
    worker.serve(routed(auth="optional") | by_token(**GIVEN))
    token = ISSUED.token()
    for value in (f"bearer {token}", f"BEARER   {token} "):
        assert worker.filter(("authorization", value)).consumer == "anna"
    for value in ("Basic YTpi", token, f"Bearer{token}", ""):
        assert worker.filter(("Authorization", value)).consumer is None
    assert b"invalid_request" in refused(worker, bearer(token), ("Authorization", "Basic YTpi")).headers[0]


def test_none_at_all(worker: Bench) -> None:
    """401 that asks for a token, without an error; where it is optional the request is nobody's."""
    worker.serve(routed(auth="required") | by_token(**GIVEN))
    assert refused(worker).headers == (b'WWW-Authenticate: Bearer realm="flexgate"',)
    assert worker.traffic.auth_failures == {"missing": 1}
    worker.serve(routed(auth="optional") | by_token(**GIVEN))
    assert worker.filter().consumer is None


def test_a_token_expires_while_it_is_known(worker: Bench) -> None:
    """What was verified once is not believed for longer than it says, whether a connection or the worker knows it."""
    worker.serve(routed(auth="required") | by_token(clockSkew=0, **GIVEN))
    token = ISSUED.token()
    x = worker.filter(bearer(token))
    worker.now = 299.0
    assert worker.filter(bearer(token)).consumer == "anna"
    worker.now = 300.0
    assert "expired" in str(refused(worker, bearer(token)))
    again = worker.exchange(bearer(token))
    again.connection = x.connection
    assert x.route is not None
    with pytest.raises(Unauthorized, match="expired"):
        x.route.filters[0](again)


def test_a_connection_does_not_carry_a_token_to_another_route(worker: Bench) -> None:
    """What is good for one audience is not good for another, though the keys are the same."""
    routes = [
        {"path": "/a", "name": "a", "upstream": "origin", "auth": "required"},
        {"path": "/b", "name": "b", "upstream": "origin", "auth": {"type": "jwt", "audience": "billing"}},
    ]
    worker.serve({"routes": routes} | by_token(**GIVEN))
    first = worker.filter(bearer(ISSUED.token()), path="/a")
    second = worker.exchange(bearer(ISSUED.token()), path="/b")
    second.connection = first.connection
    assert worker.compiled is not None
    with pytest.raises(Unauthorized, match="audience"):
        worker.compiled.runtime.routes["b"].filters[0](second)
    assert worker.filter(bearer(ISSUED.token(aud="billing")), path="/b").consumer == "anna"


def test_keys_that_go_take_their_tokens_with_them(worker: Bench) -> None:
    """A token that is known by the worker and by its connection is looked at anew under other keys."""
    worker.serve(routed(auth="required") | by_token(jwksUrl="https://login.example/keys"))
    assert worker.compiled is not None
    [route] = worker.compiled.runtime.routes.values()
    source = route.keys
    assert source is not None
    source.keys = KeySet(ISSUED.jwks()["keys"])
    token = ISSUED.token()
    x = worker.filter(bearer(token))
    source.keys, source.error = KeySet(ISSUED.jwks("e")["keys"]), ""
    again = worker.exchange(bearer(token))
    again.connection = x.connection
    waiting = route.filters[0](again)
    assert waiting is not None  # there may be newer keys
    assert again.consumer is None
    source.fetched()
    with pytest.raises(Unauthorized, match="unknown key"):
        worker.live.loop.run_until_complete(asyncio.ensure_future(waiting, loop=worker.live.loop))
    with pytest.raises(Unauthorized, match="unknown key"):
        route.filters[0](again)


def test_keys_that_never_came(worker: Bench) -> None:
    """Nobody can be told from anybody: 503, also where a token is optional; without a token that one is open."""
    worker.serve(routed(auth="optional") | by_token(jwksUrl="https://login.example/keys"))
    assert worker.compiled is not None
    [route] = worker.compiled.runtime.routes.values()
    assert route.keys is not None
    route.keys.error = "no answer within 5 s"
    with pytest.raises(KeysUnavailable) as error:
        worker.filter(bearer(ISSUED.token()))
    assert (error.value.status, error.value.retry_after, error.value.detail) == (503, 5, "no answer within 5 s")
    assert worker.filter().consumer is None


def test_only_good_tokens_are_remembered(worker: Bench) -> None:
    """However many bad ones come; and of good ones no more than there is room for."""
    worker.serve(routed(auth="required") | by_token(**GIVEN))
    [verifier] = worker.live.verifiers.values()
    for number in range(20):
        refused(worker, bearer(STRANGER.token(jti=str(number))))
        refused(worker, bearer(ISSUED.token(aud="other", jti=str(number))))
    assert not verifier.known()
    worker.filter(bearer(ISSUED.token()))
    [(digest, whose)] = verifier.known().items()
    known = verifier.known()
    known.update({number.to_bytes(32, "big"): whose for number in range(MOST_KNOWN)})
    worker.filter(bearer(ISSUED.token(jti="new")))
    assert len(known) <= MOST_KNOWN
    assert digest not in known


def test_an_edit_elsewhere_forgets_nothing(worker: Bench) -> None:
    """A settings change recompiles every route; tokens are verified again only where their rules have changed."""
    worker.serve(routed(auth="required") | by_token(**GIVEN))
    [before] = worker.live.verifiers.values()
    worker.filter(bearer(ISSUED.token()))
    worker.serve(routed(auth="required") | by_token(**GIVEN) | {"logging": {"level": "debug"}})
    [after] = worker.live.verifiers.values()
    assert after is before
    assert len(after.known()) == 1
    del before, after
    worker.serve(routed(auth="required") | by_token(requiredClaims={"org": "acme"}, **GIVEN))
    refused(worker, bearer(ISSUED.token()))


# ---- what the upstream hears


def test_claims_are_told_to_the_upstream(worker: Bench) -> None:
    """As text, lists with commas, objects as JSON; a claim that is absent has no header."""
    headers = {"email": "X-Email", "groups": "X-Groups", "address": "X-Address", "age": "X-Age", "phone": "X-Phone"}
    worker.serve(routed(auth="required") | by_token(forwardClaims=headers, **GIVEN))
    said: Json = {"email": "zoë@example", "groups": ["a", "b"], "address": {"city": "Bern"}, "age": 42}
    head = head_of(worker, bearer(ISSUED.token(**said)), ("X-Age", "1"), ("x-phone", "2"), ("X-Other", "3"))
    for line in ("X-Email: zoë@example", "X-Groups: a,b", 'X-Address: {"city":"Bern"}', "X-Age: 42", "X-Other: 3"):
        assert f"\r\n{line}\r\n".encode() in head
    assert head.lower().count(b"x-age: ") == 1
    assert b"phone" not in head.lower()


@pytest.mark.parametrize("mode", ["optional", "none", None])
def test_nobody_else_tells_claims(worker: Bench, mode: str | None) -> None:
    """Not on routes that look at no token either: upstreams believe these headers, so clients cannot set them."""
    route = {"auth": mode} if mode else {}
    worker.serve(routed(**route) | by_token(forwardClaims={"email": "X-Email"}, **GIVEN))
    assert b"email" not in head_of(worker, ("X-Email", "root@example"), ("x-EMAIL", "r")).lower()


def test_a_claim_cannot_break_the_head(worker: Bench) -> None:
    """A value that no header can hold is refused with its token."""
    worker.serve(routed(auth="required") | by_token(forwardClaims={"email": "X-Email"}, **GIVEN))
    for value in ("a\r\nX-Admin: 1", "a\0b", ["a", "b\nc"]):
        refused(worker, bearer(ISSUED.token(email=value)))
    assert b'X-Email: {"a":"b\\nc"}\r\n' in head_of(worker, bearer(ISSUED.token(email={"a": "b\nc"})))


def test_the_token_can_be_kept_from_the_upstream(worker: Bench) -> None:
    """With hideCredentials, also a second time on the same connection."""
    worker.serve(routed(auth="required") | by_token(hideCredentials=True, **GIVEN))
    head = head_of(worker, bearer(ISSUED.token()), ("X-Other", "3"))
    assert b"uthorization" not in head
    assert b"X-Other: 3" in head
    x = worker.filter(bearer(ISSUED.token()))
    again = worker.exchange(bearer(ISSUED.token()))
    again.connection = x.connection
    assert x.route is not None
    x.route.filters[0](again)
    assert b"authorization" in again.hidden


def test_names_of_consumers_are_told_apart(worker: Bench) -> None:
    """In UTF-8, so that two names are never one "?"."""
    worker.serve(routed(auth="required") | by_token(**GIVEN))
    assert "X-Consumer-Name: 李\r\n".encode() in head_of(worker, bearer(ISSUED.token(sub="李")))


# ---- scopes and limits


@pytest.mark.parametrize("claim", [{"scope": "read write"}, {"scp": ["read", "write"]}, {"scp": "write read"}])
def test_scopes_are_of_the_token(worker: Bench, claim: Json) -> None:
    """`scope` or `scp`, as text or as a list; 403 says which are needed."""
    worker.serve(routed(auth="required", scopes=["write", "read"]) | by_token(**GIVEN))
    assert worker.filter(bearer(ISSUED.token(**claim))).consumer == "anna"
    with pytest.raises(Forbidden) as error:
        worker.filter(bearer(ISSUED.token(scope="read")))
    expected = b'WWW-Authenticate: Bearer realm="flexgate", error="insufficient_scope", scope="read write"'
    assert error.value.headers == (expected,)


def limited(worker: Bench, *fields: tuple[str, str], **request: Any) -> bool:
    """Whether a request is over the limit."""
    try:
        worker.filter(*fields, **request)
    except TooManyRequests:
        return True
    return False


def test_a_limit_counts_by_a_claim(worker: Bench) -> None:
    """All tokens with one value share it, whoever holds them and from wherever; other values have their own."""
    limit = {"max": 2, "windowMs": 60_000, "key": "claim:org.id"}
    worker.serve(routed(auth="optional", rateLimit=limit) | by_token(**GIVEN))

    def over(org: Any, sub: str = "anna", ip: str = "203.0.113.9") -> bool:
        return limited(worker, bearer(ISSUED.token(org={"id": org}, sub=sub)), ip=ip)

    assert [over("acme"), over("acme", "bert", "203.0.113.10"), over("acme", "cleo")] == [False, False, True]
    assert [over(7), over(7, "bert"), over("7", "cleo")] == [False, False, True]
    assert [over("x" * 1000), over("x" * 999 + "y")] == [False, False]


def test_a_limit_by_a_claim_that_is_not_there(worker: Bench) -> None:
    """It counts by who it is; without a token by the address. Nobody is counted with everybody."""
    limit = {"max": 1, "windowMs": 60_000, "key": "claim:org"}
    worker.serve(routed(auth="optional", rateLimit=limit) | by_token(**GIVEN))
    assert [limited(worker, bearer(ISSUED.token(sub=sub))) for sub in ("anna", "bert", "anna")] == [False, False, True]
    assert [limited(worker, ip=ip) for ip in ("203.0.113.1", "203.0.113.2", "203.0.113.1")] == [False, False, True]


def test_a_consumers_own_limit_is_its_subjects(worker: Bench) -> None:
    """A consumer of the configuration that has the subject's name: its limit counts."""
    consumers = [{"name": "anna", "rateLimit": {"max": 1, "windowMs": 60_000}}]
    worker.serve(routed(auth="required") | by_token(**GIVEN) | {"consumers": consumers})
    assert [limited(worker, bearer(ISSUED.token(sub=sub))) for sub in ("anna", "bert", "bert", "anna")] == [
        *(False, False, False),
        True,
    ]


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=4))
def test_any_signed_claims_are_let_in_or_refused(sub: str, claims: Json) -> None:
    """Whatever an issuer writes into a token: an answer of ours, never a failure, never a broken head."""
    with bench() as worker:
        worker.serve(routed(auth="required") | by_token(forwardClaims={"a": "X-A", "sub": "X-Sub"}, **GIVEN))
        try:
            head = head_of(worker, bearer(ISSUED.token("d", **({"sub": sub, "a": sub} | claims))))
        except GatewayError as error:
            assert error.status == 401
        else:
            assert head.count(b"\r\n\r\n") == 1
            assert all(b":" in line for line in head.split(b"\r\n")[1:-2])
