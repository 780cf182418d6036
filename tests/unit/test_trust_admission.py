"""Who is let in as which node: the table of trust/admission.py, line by line, with a clock that tests turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest

from controlplane.trust.admission import Admission, NotAdmitted
from controlplane.trust.callers import Caller, Callers, Certificate, address_alone
from controlplane.trust.register import Known, Register
from shared.node_uri import NodeName

PORT = 4711
PEER = f"ipv4:127.0.0.1:{PORT}"


@dataclass
class Call:
    """A gRPC call, as far as admission looks at it."""

    token: str = ""

    def peer(self) -> str:
        return PEER

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.token}")] if self.token else []


@dataclass
class Noted:
    """A register that knows what a test says."""

    known: Known = Known()  # noqa: RUF009 - frozen
    now: float = 0.0


def admission(register: Noted | None = None, *, tls: bool = True, token: str = "") -> tuple[Admission, Callers]:
    callers = Callers(tls=tls)
    return Admission(callers, cast(Register, register or Noted()), node_token=token), callers


def refused(gate: Admission, node_id: str, call: Call | None = None) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(NotAdmitted) as refusal:
        gate.admit(cast(Any, call or Call()), node_id)
    return refusal.value.code, str(refusal.value)


def ours(name: str = "a", not_after: float = 100.0) -> Certificate:
    return Certificate("0f", NodeName(name, {"zone": "x"}), ours=True, not_after=not_after)


def test_our_certificate_says_who_and_what() -> None:
    """Its node and that node's workers are let in, with the labels of the certificate; nobody else is."""
    gate, callers = admission()
    with callers.known(PORT, Caller("10.0.0.1:5", ours())):
        for node_id in ("a", "a/0", "a/12"):
            admitted = gate.admit(cast(Any, Call()), node_id)
            assert (admitted.labels, admitted.serial, admitted.address) == ({"zone": "x"}, "0f", "10.0.0.1:5")
        assert refused(gate, "b")[0] is grpc.StatusCode.PERMISSION_DENIED


def test_time_and_revocation_end_it() -> None:
    """A certificate that is revoked or over lets nobody in, and those who were in must go."""
    register = Noted()
    gate, callers = admission(register)
    with callers.known(PORT, Caller("x", ours())):
        admitted = gate.admit(cast(Any, Call()), "a")
        assert gate.still(admitted) == ""
        register.now = 100.0
        assert "has expired" in gate.still(admitted)
        assert "has expired" in refused(gate, "a")[1]
        register.now, register.known = 0.0, Known(revoked=frozenset({"0f"}))
        assert "is revoked" in gate.still(admitted)
        assert "is revoked" in refused(gate, "a")[1]


def test_the_operators_certificates() -> None:
    """One that names a node is for that node; one that names none is for any that is not enrolled."""
    gate, callers = admission(Noted(Known(enrolled=frozenset({"mine"}))))
    named = Certificate("1", NodeName("a"), ours=False, not_after=0.0)
    with callers.known(PORT, Caller("x", named)):
        assert gate.admit(cast(Any, Call()), "a/3").labels is None
        assert refused(gate, "b")[0] is grpc.StatusCode.PERMISSION_DENIED
    with callers.known(PORT, Caller("x", Certificate("1", None, ours=False, not_after=0.0))):
        assert gate.admit(cast(Any, Call()), "b").serial == ""
        assert "is enrolled" in refused(gate, "mine/0")[1]


def test_the_shared_token() -> None:
    """Who bears it is any node, with the labels it claims, but none that is enrolled; without it there is no way in."""
    gate, callers = admission(Noted(Known(enrolled=frozenset({"mine"}))), token="secret")
    with callers.known(PORT, Caller("x")):
        assert gate.admit(cast(Any, Call("secret")), "a").labels is None
        assert refused(gate, "a", Call("other"))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert refused(gate, "a")[0] is grpc.StatusCode.UNAUTHENTICATED
        assert "is enrolled" in refused(gate, "mine", Call("secret"))[1]


def test_nothing_shown() -> None:
    """Over TLS that is not enough; without TLS and token, on a loopback port, it is."""
    gate, callers = admission()
    with callers.known(PORT, Caller("x")):
        assert "--enrol-token" in refused(gate, "a")[1]
    assert admission(tls=False)[0].admit(cast(Any, Call()), "a").address == PEER


def test_addresses_behind_the_listener() -> None:
    """Who calls is told by its own address, not by that of the listener; without TLS gRPC knows it itself."""
    callers = Callers(tls=True)
    with callers.known(PORT, Caller("ipv6:[2001:db8::1]:5")):
        assert address_alone(callers.peer(PEER)) == "2001:db8::1"
    assert address_alone(Callers(tls=False).peer("ipv6:%5B2001:db8::2%5D:5")) == "2001:db8::2"
    assert address_alone(Callers(tls=False).peer("ipv4:10.0.0.1:5")) == "10.0.0.1"


def test_nobody_comes_around_tls() -> None:
    """A connection that the TLS listener does not know is a stranger, token or not."""
    gate, _ = admission(token="secret")
    assert refused(gate, "a", Call("secret"))[0] is grpc.StatusCode.UNAUTHENTICATED
