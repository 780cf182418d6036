"""Small rules of access: addresses, where a login may lead, what a try costs, how secrets are compared."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

import controlplane.auth
from controlplane.auth.address import client_address, neighbourhood, networks
from controlplane.auth.cookies import local_path, origin_of
from controlplane.auth.passwords import LONGEST, WAITING, Passwords
from controlplane.auth.token_file import found
from tests.support.access import CHEAP

INSIDE = networks("10.0.0.0/8, ::1")
SECRETS = {"secret", "credential", "csrf", "nonce", "password", "digest", "token", "admin_token", "node_token"}


@given(st.text(max_size=60) | st.text("/\\.:@?#abc\t\n%", max_size=30))
def test_a_login_never_leads_elsewhere(target: str) -> None:
    """Wherever a browser would go from our callback, it is a path of ours."""
    went = urlsplit(urljoin("https://flexgate.example/api/auth/oidc/callback", local_path(target)))
    assert (went.scheme, went.netloc) == ("https", "flexgate.example")


@pytest.mark.parametrize("target", ["/", "/ui", "/ui/routes?x=1&y=/z#here"])
def test_our_own_paths_stay(target: str) -> None:
    """What is ours is not changed."""
    assert local_path(target) == target


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, ", "10.0.0.1"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_whose_address_counts(peer: str, header: str, address: str) -> None:
    """The last one that no trusted proxy has; what a client wrote in front of it counts for nothing."""
    assert client_address(peer, header, INSIDE) == address


@given(st.text(max_size=40), st.text(max_size=200))
def test_addresses_from_anywhere(peer: str, header: str) -> None:
    """Whatever is in the header, it never raises, and a peer that is not trusted is itself."""
    assert client_address(peer, header, ()) == peer
    neighbourhood(client_address("10.0.0.1", header, INSIDE))


def test_a_neighbourhood() -> None:
    """An IPv6 customer has a /64, and so has one count; IPv4 addresses count apart."""
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("192.0.2.1") != neighbourhood("192.0.2.2")


def test_an_origin() -> None:
    """As browsers write it."""
    assert origin_of("https://FlexGate.example:8443") == "https://flexgate.example:8443"
    assert origin_of("") == ""


class Counting(PasswordHasher):
    """Counts what it verifies."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[str | bytes] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the library's name
        self.verified.append(hash)
        return super().verify(hash, password)


async def test_nobody_costs_what_somebody_costs() -> None:
    """One verification of a hash with the same parameters, whether the account exists, has a password, or neither."""
    hasher = Counting()
    passwords = Passwords(hasher)
    kept = await passwords.hashed("correct horse battery")
    assert await passwords.verified(kept, "correct horse battery")
    for stored, given_ in (
        (kept, "wrong"),
        ("", "correct horse battery"),
        ("", "nobody's password"),
        (kept, "x" * 10_000),
    ):
        assert not await passwords.verified(stored, given_)
    assert len(hasher.verified) == 5
    assert len({str(text).rpartition("$")[0].rpartition("$")[0] for text in hasher.verified}) == 1


async def test_a_long_password_is_no_prefix() -> None:
    """What is cut off before hashing does not count as the same."""
    passwords = Passwords(CHEAP)
    kept = await passwords.hashed("ab" * (LONGEST // 2))
    assert await passwords.verified(kept, "ab" * (LONGEST // 2))
    assert not await passwords.verified(kept, "ab" * (LONGEST // 2) + "c")


async def test_a_crowd_does_not_wait_without_end() -> None:
    """Beyond what two seconds can hash, it is busy; afterwards it is not."""
    passwords = Passwords(CHEAP)
    seen = [passwords.busy]
    crowd = [asyncio.ensure_future(passwords.verified("", "x")) for _ in range(WAITING)]
    await asyncio.sleep(0)  # all of them begin
    seen.append(passwords.busy)
    await asyncio.gather(*crowd)
    assert [*seen, passwords.busy] == [False, True, False]


def test_the_token_file_is_for_this_machine(tmp_path: Path) -> None:
    """A control plane elsewhere is never sent what lies about here; the named directory is the only one then."""
    (tmp_path / "admin-token").write_text("fgt_x\n")
    here = [tmp_path / "none", tmp_path]
    assert found("http://127.0.0.1:8080", {}, here) == found("http://[::1]:8080", {}, here) == "fgt_x"
    for url in (
        "https://flexgate.example",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "nonsense",
    ):
        assert found(url, {}, here) == ""
    assert found("http://localhost", {"FLEXGATE_CP_STATE_DIR": str(tmp_path / "none")}, here) == ""


def test_secrets_are_compared_in_constant_time() -> None:
    """Nowhere in the package is a value that is secret compared with == or !=; `credential.same` is there for it."""
    plain: list[str] = []
    for file in Path(controlplane.auth.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
                sides = [node.left, *node.comparators]
                names = {side.id if isinstance(side, ast.Name) else getattr(side, "attr", "") for side in sides}
                if names & SECRETS and ".c." not in ast.unparse(node):  # a column's comparison is the database's
                    plain.append(f"{file.name}:{node.lineno}")
    assert plain == []
