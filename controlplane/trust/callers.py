"""Who is at the other end of a gRPC connection: its address, and what its certificate says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from shared.node_uri import NodeName, parse


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate whose signature was verified. `serial` is hexadecimal; `node` is None where it names none.

    `ours`: our own authority signed it. `not_after` is in epoch seconds.
    """

    serial: str
    node: NodeName | None
    ours: bool
    not_after: float


@dataclass(frozen=True, slots=True)
class Caller:
    """`address` as gRPC writes peers: `ipv4:10.0.0.1:1234`, `ipv6:[::1]:1234`. `certificate` None: it showed none."""

    address: str
    certificate: Certificate | None = None


class Callers:
    """The connections that the TLS listener has open, by the name that gRPC knows them by."""

    def __init__(self, *, tls: bool) -> None:
        self.tls = tls
        self._callers: dict[str, Caller] = {}

    def __repr__(self) -> str:
        return f"<Callers {len(self._callers)}>"

    def peer(self, peer: str) -> str:
        """The peer behind `context.peer()`, written like that; the same where there is no TLS."""
        caller = self.of(peer)
        return caller.address if caller is not None else peer

    def of(self, peer: str) -> Caller | None:
        """The caller behind `context.peer()`; None where the port needs TLS and this came around it."""
        return self._callers.get(peer) if self.tls else Caller(peer)

    @contextmanager
    def known(self, port: int, caller: Caller) -> Iterator[None]:
        """Within the block this caller is the one who comes from this port of ours."""
        peer = f"ipv4:127.0.0.1:{port}"
        self._callers[peer] = caller
        try:
            yield
        finally:
            del self._callers[peer]


def address_alone(peer: str) -> str:
    """`ipv4:10.0.0.1:1234` or `ipv6:%5B::1%5D:1234` as an address alone."""
    address = peer.partition(":")[2].rpartition(":")[0]
    return address.replace("%5B", "").replace("%5D", "").strip("[]")


def read(der: bytes, authority: x509.Certificate | None) -> Certificate:
    """A certificate as TLS has verified it."""
    certificate = x509.load_der_x509_certificate(der)
    return Certificate(
        serial=f"{certificate.serial_number:x}",
        node=_node(certificate),
        ours=authority is not None and _signed_by(certificate, authority),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def _node(certificate: x509.Certificate) -> NodeName | None:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    found = [node for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if (node := parse(uri))]
    return found[0] if len(found) == 1 else None


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
