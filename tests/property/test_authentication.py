"""What authentication applies to a route, field by field."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st

from shared.authentication import effective
from shared.pb.resources_pb2 import Auth

WORDS = st.text("ab", min_size=1, max_size=2)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.sampled_from(["required", "optional", "none"]),
    "type": st.sampled_from(["apiKey", "jwt"]),
    "header": WORDS,
    "issuer": WORDS,
    "audience": st.lists(WORDS, min_size=1, max_size=2),
    "algorithms": st.lists(WORDS, min_size=1, max_size=2),
    "jwksUrl": WORDS,
    "jwks": st.fixed_dictionaries({"keys": st.lists(st.fixed_dictionaries({"kid": WORDS}), max_size=2)}),
    "requiredClaims": st.dictionaries(WORDS, WORDS, min_size=1, max_size=2),
    "forwardClaims": st.dictionaries(WORDS, WORDS, min_size=1, max_size=2),
    "keys": st.lists(st.fixed_dictionaries({"key": WORDS}), min_size=1, max_size=2),
    "hideCredentials": st.booleans(),
    "clockSkew": st.integers(0, 9),
}
AUTHS = st.fixed_dictionaries({}, optional=FIELDS)


@given(own=AUTHS, shared=AUTHS)
def test_a_routes_word_stands_alone(own: dict[str, Any], shared: dict[str, Any]) -> None:
    """Each field is the route's, or else the shared one where the types agree; keys of tokens have one source."""
    merged = MessageToDict(effective(ParseDict(own, Auth()), ParseDict(shared, Auth())))
    taken = shared if own.get("type", shared.get("type")) == shared.get("type") else {}
    if {"jwks", "jwksUrl"} & own.keys():
        taken = {name: value for name, value in taken.items() if name not in {"jwks", "jwksUrl"}}
    expected = {name: value for name, value in (taken | own).items() if name != "mode"}
    mode = own.get("mode") or ("required" if "type" in own else None)
    assert merged == expected | ({"mode": mode} if mode else {})
