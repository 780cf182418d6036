"""Access tokens: good for one use until they expire, and worthless once anything about them is changed."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from controlplane.auth.signing import (
    LONGEST,
    NOTICE,
    SIGNS,
    BadTokenError,
    Key,
    due,
    new_key,
    read,
    signed,
    spent,
)

NOW = 1_800_000_000.0
KEYS = (Key("k1", b"a" * 32, NOW - 10),)
TOKEN = signed(KEYS, NOW, 600, "access", sub="u1")


def test_what_is_signed_is_read() -> None:
    """The claims come back, until the second it expires."""
    assert read(TOKEN, KEYS, NOW + 599, "access")["sub"] == "u1"
    with pytest.raises(BadTokenError, match="expired"):
        read(TOKEN, KEYS, NOW + 600, "access")


def test_another_use_or_key_is_refused() -> None:
    """A token of a login state is no access token; a key that is gone verifies nothing, even under the same id."""
    with pytest.raises(BadTokenError, match="another use"):
        read(TOKEN, KEYS, NOW, "login")
    with pytest.raises(BadTokenError, match="not known"):
        read(TOKEN, (Key("k2", b"a" * 32, NOW),), NOW, "access")
    with pytest.raises(BadTokenError, match="Signature"):
        read(TOKEN, (Key("k1", b"b" * 32, NOW),), NOW, "access")


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _claims(**changes: object) -> dict[str, object]:
    claims = {"iss": "flexgate", "use": "access", "iat": int(NOW), "exp": int(NOW) + 600, "sub": "u1", **changes}
    return {name: value for name, value in claims.items() if value is not None}


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS384", "HS512", "RS256", "", None])
def test_another_algorithm_is_refused(algorithm: str | None) -> None:
    """Only HS256 counts, whatever the header says: no `none`, no public key taken for a secret."""
    header = {"alg": algorithm, "kid": "k1", "typ": "JWT"}
    for signature in ("", "AAAA", TOKEN.split(".")[2]):
        with pytest.raises(BadTokenError):
            read(f"{_part(header)}.{_part(_claims())}.{signature}", KEYS, NOW, "access")


def test_a_signature_of_another_algorithm_is_refused() -> None:
    """Rightly signed with our own secret, but by another algorithm, or with a key of a client's own."""
    key = Key("k1", b"a" * 64, NOW)
    for algorithm in ("HS384", "HS512"):
        with pytest.raises(BadTokenError):
            read(jwt.encode(_claims(), key.secret, algorithm, {"kid": key.id}), (key,), NOW, "access")
    foreign = rsa.generate_private_key(65537, 2048)
    with pytest.raises(BadTokenError):
        read(jwt.encode(_claims(), foreign, "RS256", {"kid": "k1"}), KEYS, NOW, "access")


@pytest.mark.parametrize(
    "changes",
    [{"iss": "other"}, {"iss": None}, {"exp": None}, {"exp": "9999999999"}, {"exp": 1e300}, {"use": None}, {"use": 1}],
)
def test_strange_claims_are_refused(changes: dict[str, object]) -> None:
    """Even under a good signature, a claim that is missing or of another type is no pass."""
    token = jwt.encode(_claims(**changes), b"a" * 32, "HS256", {"kid": "k1"})
    with pytest.raises(BadTokenError):
        read(token, KEYS, NOW, "access")


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("AZaz09-_."))
def test_a_changed_character_is_noticed(place: int, other: str) -> None:
    """Nothing that a changed token reads as differs from what was signed."""
    changed = TOKEN[:place] + other + TOKEN[place + 1 :]
    try:
        claims = read(changed, KEYS, NOW, "access")
    except BadTokenError:
        return
    assert claims == read(TOKEN, KEYS, NOW, "access")


@given(st.text(max_size=200))
def test_any_text_is_only_refused(text: str) -> None:
    """What clients send raises nothing else."""
    with pytest.raises(BadTokenError):
        read(text, KEYS, NOW, "access")


def test_a_huge_token_is_not_looked_at() -> None:
    """Its length is enough to refuse it."""
    with pytest.raises(BadTokenError, match="too long"):
        read("a" * (LONGEST + 1), KEYS, NOW, "access")


def test_keys_change_with_an_overlap() -> None:
    """The next key is made before it signs; the one before verifies until its tokens have expired, then goes."""
    first = due((), NOW)
    assert first is not None
    assert first.since == NOW
    change = NOW + SIGNS
    assert due((first,), change - NOTICE - 1) is None
    second = due((first,), change - NOTICE)
    assert second is not None
    keys = (first, second)
    assert due(keys, change + 1) is None
    before, after = signed(keys, change - 1, 600, "access"), signed(keys, change, 600, "access")
    assert jwt.get_unverified_header(before)["kid"] == first.id
    assert jwt.get_unverified_header(after)["kid"] == second.id
    read(before, keys, change + 500, "access")
    assert spent(keys, change + 600, 600) == []
    assert spent(keys, change + 601, 600) == [first]


def test_a_key_does_not_show_its_secret() -> None:
    """Not in a repr, which logs and tracebacks have."""
    key = new_key(NOW)
    assert str(key.secret) not in repr(key)
    assert key.secret.hex() not in repr(key)
