"""ID tokens: believed only where everything about them is right (OpenID Connect Core, 3.1.3.7; RFC 8725)."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from controlplane.auth.id_token import LEEWAY, verified
from controlplane.auth.oidc import Endpoints, ProviderError, endpoints_of
from shared.jws import LONGEST, BadTokenError, UnknownKeyError

NOW = 1_800_000_000.0
ISSUER = "https://login.example"
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
RSA_JWK = RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True) | {"kid": "r", "use": "sig"}
EC_JWK = ECAlgorithm.to_jwk(EC.public_key(), as_dict=True) | {"kid": "e", "use": "sig", "alg": "ES256"}
KEYS: list[dict[str, Any]] = [RSA_JWK, EC_JWK]
CLAIMS = {"iss": ISSUER, "aud": "flexgate", "sub": "s1", "nonce": "n1", "iat": NOW, "exp": NOW + 60}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "r", **changes: Any) -> str:
    """A signed ID token; a claim of None is left out."""
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm, {"kid": kid} if kid else None)


def read(text: str, keys: list[dict[str, Any]] | None = None, now: float = NOW) -> dict[str, Any]:
    keys = KEYS if keys is None else keys
    return verified(text, keys, issuer=ISSUER, client_id="flexgate", nonce="n1", now=now)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "r"), (RSA, "PS256", "r"), (RSA, "RS512", "r"), (EC, "ES256", "e"), (RSA, "RS256", None)],
)
def test_a_good_token(key: Any, algorithm: str, kid: str | None) -> None:
    """Signed with a published key, by an algorithm for its type; without a kid, where one key alone will do."""
    assert read(token(key, algorithm, kid))["sub"] == "s1"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"aud": ["flexgate", "other"]},
        {"aud": ["flexgate", "other"], "azp": "other"},
        {"azp": "other"},
        {"exp": None},
        {"exp": NOW - LEEWAY},
        {"iat": None},
        {"iat": NOW + LEEWAY + 1},
        {"nonce": None},
        {"nonce": "n2"},
        {"nonce": ["n1"]},
        {"nonce": ""},
        {"sub": None},
        {"sub": ""},
        {"sub": "s" * 256},
    ],
)
def test_a_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    """Each claim that is missing, foreign, of another type or out of its time."""
    with pytest.raises(BadTokenError):
        read(token(**changes))


def test_several_audiences_need_us_as_the_party() -> None:
    """Then `azp` must say that it was given to us; the clock may be off by a minute."""
    assert read(token(aud=["flexgate", "other"], azp="flexgate"))
    assert read(token(exp=NOW - LEEWAY + 1, iat=NOW + LEEWAY - 1))


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "HS512", None, 5, ["RS256"]])
def test_no_other_algorithm(algorithm: Any) -> None:
    """Unsigned, or by an algorithm that takes a secret: refused, whatever the signature is."""
    head = part({"alg": algorithm, "kid": "r", "typ": "JWT"})
    for signature in ("", "AAAA", token().split(".")[2]):
        with pytest.raises(BadTokenError):
            read(f"{head}.{part(CLAIMS)}.{signature}")


def test_the_public_key_is_no_secret() -> None:
    """A token signed by HMAC with the published key as the secret (CVE-2015-9256 and its kin) is refused."""
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head, body = part({"alg": "HS256", "kid": "r", "typ": "JWT"}), part(CLAIMS)
    mac = hmac.digest(pem, f"{head}.{body}".encode(), "sha256")
    with pytest.raises(BadTokenError, match="HS256"):
        read(f"{head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")
    secret = {"kty": "oct", "kid": "r", "k": "c2VjcmV0", "alg": "HS256"}
    with pytest.raises(BadTokenError):
        read(jwt.encode(CLAIMS, b"secret" * 8, "HS256", {"kid": "r"}), [secret])


def test_a_key_of_the_tokens_own_is_not_looked_at() -> None:
    """Neither `jwk`, `jku` nor `x5u` in the header brings a key along."""
    own = RSAAlgorithm.to_jwk(OTHER.public_key(), as_dict=True) | {"kid": "o"}
    headers = {"kid": "o", "jwk": own, "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert"}
    with pytest.raises(UnknownKeyError):
        read(jwt.encode(CLAIMS, OTHER, "RS256", headers))
    with pytest.raises(BadTokenError, match="Signature"):
        read(token(OTHER))


@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "EC"}, {"n": "AQAB"}, {"n": 5}, {"e": None}]
)
def test_a_key_that_does_not_fit(change: dict[str, Any]) -> None:
    """A key for encryption, for another algorithm, of another type, too small or broken."""
    with pytest.raises(BadTokenError):
        read(token(), [RSA_JWK | change])


def test_which_key_must_be_clear() -> None:
    """Two that would do and no kid, or one kid twice: refused rather than tried one after the other."""
    second = RSAAlgorithm.to_jwk(OTHER.public_key(), as_dict=True)
    for keys, kid in (([RSA_JWK, second | {"kid": "s"}], None), ([RSA_JWK, second | {"kid": "r"}], "r")):
        with pytest.raises(BadTokenError, match="which"):
            read(token(kid=kid), keys)


@given(st.text(max_size=300))
def test_any_text_is_only_refused(text: str) -> None:
    """What a provider sends raises nothing else."""
    with pytest.raises(BadTokenError):
        read(text)


def test_a_huge_token_is_not_looked_at() -> None:
    """Its length is enough."""
    with pytest.raises(BadTokenError, match="too long"):
        read("a" * (LONGEST + 1))


DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": ISSUER + "/auth",
    "token_endpoint": ISSUER + "/token",
    "jwks_uri": ISSUER + "/keys",
}


def test_a_discovery_document() -> None:
    """Three endpoints, and how the provider takes the secret; basic where it does not say."""
    found = Endpoints(ISSUER + "/auth", ISSUER + "/token", ISSUER + "/keys", posts_secret=False)
    assert endpoints_of(DOCUMENT, ISSUER) == found
    methods = {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]}
    assert endpoints_of(DOCUMENT | methods, ISSUER).posts_secret


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://login.example/token"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 5},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_a_discovery_document_that_is_not_believed(change: dict[str, Any]) -> None:
    """Of another issuer, or with an endpoint that is missing or not protected."""
    with pytest.raises(ProviderError):
        endpoints_of(DOCUMENT | change, ISSUER)
