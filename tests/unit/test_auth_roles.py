"""The table of roles: complete, ordered, and closed to what it does not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.actor import ROLES
from controlplane.auth.role_mapping import parsed, role_of
from controlplane.auth.roles import GRPC, NODE, OPEN, REST, covers, grpc_role, rest_role

KNOWN = st.sampled_from(ROLES)


@given(KNOWN, KNOWN, KNOWN)
def test_roles_are_ordered(one: str, other: str, least: str) -> None:
    """What a role may do, every role above it may do; no two are the same."""
    if covers(one, least) and covers(other, one):
        assert covers(other, least)
    assert (covers(one, other) and covers(other, one)) is (one == other)


@given(st.text(max_size=12), KNOWN)
def test_an_unknown_role_may_nothing(role: str, known: str) -> None:
    """Neither what nobody is, nor what nothing asks for."""
    if role not in ROLES:
        assert not covers(role, known)
        assert not covers(known, role)


def test_only_what_must_be_is_open() -> None:
    """Without a credential: probes, the ways to get one, and the description of the API."""
    opened = {path for (_, path), role in REST.items() if role == OPEN}
    described = {"/api/openapi.json", "/api/docs", "/api/docs/{file}"}
    assert {path for path in opened if not path.startswith(("/health", "/api/auth/"))} == described
    opened = {method for method, role in GRPC.items() if role == OPEN}
    assert opened == {"/grpc.health.v1.Health/*", "/flexgate.v1.Enrolment/Authorities"}


def test_reading_is_for_viewers_and_writing_is_not() -> None:
    """A viewer changes nothing but its own session; there is no line that nobody understands."""
    harmless = {"/api/config/validate", "/api/config/diff", "/api/explain"}
    for (method, path), role in REST.items():
        assert role in (OPEN, *ROLES), (method, path)
        if method != "GET" and path not in harmless and not path.startswith("/api/auth/"):
            assert not covers("viewer", role), (method, path)
    assert {*GRPC.values()} <= {OPEN, NODE, *ROLES}


def test_names_of_parameters_do_not_count() -> None:
    """The router may call them what it likes; HEAD is a GET; what is not listed has no role."""
    assert rest_role("GET", "/api/routes/{name}") == "viewer"
    assert rest_role("HEAD", "/api/status") == "viewer"
    assert rest_role("PATCH", "/api/routes/{id}") == "operator"
    assert rest_role("POST", "/api/status") is None
    assert rest_role("GET", "/nothing") is None
    assert grpc_role("/flexgate.v1.Admin/PutResource") == "operator"
    assert grpc_role("/flexgate.v1.Admin/Nothing") is None
    assert grpc_role("/grpc.health.v1.Health/Check") == OPEN


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["platform", "oncall"]}, "admin"),
        ({"groups": "oncall"}, "operator"),
        ({"groups": ["others"]}, None),
        ({"groups": ["*"]}, None),
        ({"groups": {"platform": True}}, None),
        ({"groups": [["platform"], 1, None]}, None),
        ({}, None),
    ],
)
def test_claims_make_a_role(claims: dict[str, object], role: str | None) -> None:
    """The highest role of what a provider says; nothing said is no role, and strange values are none."""
    assert role_of(claims, "groups", parsed("platform=admin, oncall=operator")) == role


def test_a_claim_may_lie_deeper_and_everyone_may_have_a_role() -> None:
    """Dots lead into objects; a claim whose own name has dots is found first; `*` is for everyone who logs in."""
    mapping = parsed("ops=operator,*=viewer,cn=a=admin")
    assert role_of({"realm": {"roles": ["ops"]}}, "realm.roles", mapping) == "operator"
    assert role_of({"https://a.example/roles": ["ops"]}, "https://a.example/roles", mapping) == "operator"
    assert role_of({}, "realm.roles", mapping) == "viewer"
    assert role_of({"roles": ["cn=a"]}, "roles", mapping) == "admin"


@pytest.mark.parametrize("text", ["platform", "=admin", "platform=root", "a=admin,b"])
def test_a_mapping_that_is_none(text: str) -> None:
    """What makes no sense is refused when the control plane starts."""
    with pytest.raises(ValueError, match="VALUE=ROLE"):
        parsed(text)
