"""Random credentials: what is made is recognised, and nothing else is."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.auth.credential import API_TOKEN, REFRESH_TOKEN, SHOWN, bearer, digest, is_one, mint, same

TOKENS = st.binary(min_size=32, max_size=32).map(lambda random: mint(API_TOKEN, lambda _: random))


@given(st.binary(min_size=32, max_size=32), st.sampled_from([API_TOKEN, REFRESH_TOKEN]))
def test_what_is_minted_is_recognised(random: bytes, kind: str) -> None:
    """Whatever the randomness, the text has one form, is of its kind and of no other."""
    text = mint(kind, lambda _: random)
    assert is_one(text, kind)
    assert not is_one(text, REFRESH_TOKEN if kind == API_TOKEN else API_TOKEN)
    assert len(text) == 53
    assert len(digest(text)) == 64


@given(TOKENS, st.integers(4, 52), st.sampled_from(string.ascii_letters + string.digits + "-_ \n\u0660"))
def test_a_changed_character_is_noticed(text: str, place: int, other: str) -> None:
    """One other character anywhere, and it is none of ours."""
    changed = text[:place] + other + text[place + 1 :]
    assert is_one(changed, API_TOKEN) is (changed == text)


@given(st.text(max_size=80))
def test_any_text_may_be_asked(text: str) -> None:
    """What clients send is never more than a no."""
    assert not is_one(text, API_TOKEN)
    assert len(digest(text)) == 64
    assert same(text, text)


def test_two_differ() -> None:
    """Without randomness of a test, no two are alike, not even in what people see of them."""
    one, other = mint(API_TOKEN), mint(API_TOKEN)
    assert one[:SHOWN] != other[:SHOWN]
    assert not same(one, other)


@pytest.mark.parametrize(
    ("header", "credential"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", ""),
        ("Bearer", ""),
        ("", ""),
        ("abc", ""),
    ],
)
def test_the_bearer_scheme(header: str, credential: str) -> None:
    """The scheme's case does not count; another scheme holds nothing for us."""
    assert bearer(header) == credential
