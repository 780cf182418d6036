"""The PROXY protocol as bytes: what is read, what is waited for, and that all else is refused."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy_protocol import LONGEST, Header, Malformed, read

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PORTS = st.integers(min_value=0, max_value=65535)
ENDS = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))


def line(source: str, destination: str, from_port: int, port: int) -> bytes:
    """Version 1."""
    return f"PROXY TCP{ip_address(source).version} {source} {destination} {from_port} {port}\r\n".encode()


def binary(command: int, family: int, rest: bytes) -> bytes:
    """Version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def packed(ends: tuple[IPv4Address | IPv6Address, ...], from_port: int, port: int) -> tuple[int, bytes]:
    """(family, addresses) for version 2."""
    source, destination = ends
    return (0x11 if source.version == 4 else 0x21), source.packed + destination.packed + struct.pack(
        "!HH", from_port, port
    )


def plain(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def check_cuts(data: bytes, expected: Header) -> None:
    """Whole and with more behind it: the header; cut anywhere: more is waited for."""
    assert read(data) == expected
    assert read(data + b"GET / HTTP/1.1") == expected
    assert {read(data[:cut]) for cut in range(len(data))} == {None}


@given(ENDS, PORTS, PORTS)
def test_a_line_is_read_wherever_it_is_cut(
    ends: tuple[IPv4Address | IPv6Address, ...], from_port: int, port: int
) -> None:
    """Version 1: the source address, the destination port, and where the connection's own bytes begin."""
    source, destination = ends
    data = line(str(source), str(destination), from_port, port)
    check_cuts(data, Header(len(data), plain(source), port))


@given(ENDS, PORTS, PORTS, st.binary(max_size=300))
def test_a_binary_header_is_read_wherever_it_is_cut(
    ends: tuple[IPv4Address | IPv6Address, ...], from_port: int, port: int, extensions: bytes
) -> None:
    """Version 2: the same; extensions are skipped whatever is in them."""
    family, addresses = packed(ends, from_port, port)
    data = binary(0x21, family, addresses + extensions)
    check_cuts(data, Header(len(data), plain(ends[0]), port))


OWN = {
    "unknown": b"PROXY UNKNOWN\r\n",
    "unknown with addresses": b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
    "unknown with anything": b"PROXY UNKNOWN \0\xff\r\n",
    "local": binary(0x20, 0x00, b""),
    "local with a family": binary(0x20, 0x11, bytes(12)),
    "local with an unknown family": binary(0x20, 0xFF, bytes(5)),
    "local with too little for its family": binary(0x20, 0x21, bytes(3)),
    "unspecified": binary(0x21, 0x00, b""),
    "unspecified with extensions": binary(0x21, 0x00, bytes(40)),
    "the longest": binary(0x20, 0x00, bytes(LONGEST - 16)),
}


@pytest.mark.parametrize("data", OWN.values(), ids=OWN)
def test_a_connection_may_be_the_proxy_s_own(data: bytes) -> None:
    """LOCAL, UNSPEC and UNKNOWN announce nobody: the addresses are those of the connection."""
    check_cuts(data, Header(len(data)))


BAD = {
    "a request": b"GET / HTTP/1.1\r\n",
    "a POST": b"POST / HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01\0\xc8",
    "lower case": b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "another word": b"PROXIES TCP4",
    "no family": b"PROXY \r\n",
    "another family": b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "unknown, run together": b"PROXY UNKNOWNX\r\n",
    "addresses of the other family": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "addresses of two families": b"PROXY TCP6 ::1 1.2.3.4 1 2\r\n",
    "a name": b"PROXY TCP4 localhost 1.2.3.4 1 2\r\n",
    "leading zeros": b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
    "no ASCII": b"PROXY TCP4 1.2.3.\xd9\xa4 1.2.3.4 1 2\r\n",
    "a network": b"PROXY TCP4 1.2.3.4/8 1.2.3.4 1 2\r\n",
    "a port too many": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
    "a port too few": b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
    "a port too high": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
    "a port with a sign": b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
    "a port with a zero before": b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
    "two spaces": b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
    "a bare LF": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + bytes(107),
    "no end": b"PROXY TCP4 " + b"1" * 96,
    "a signature with a fault": SIGNATURE[:-1] + b"\r",
    "version 1 in binary": binary(0x11, 0x11, bytes(12)),
    "version 3": binary(0x31, 0x11, bytes(12)),
    "another command": binary(0x22, 0x11, bytes(12)),
    "UDP": binary(0x21, 0x12, bytes(12)),
    "a Unix socket": binary(0x21, 0x31, bytes(216)),
    "another address family": binary(0x21, 0x41, bytes(216)),
    "too short for IPv4": binary(0x21, 0x11, bytes(11)),
    "too short for IPv6": binary(0x21, 0x21, bytes(35)),
    "too long": binary(0x21, 0x11, bytes(LONGEST - 15)),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    """Never guessed, never skipped."""
    with pytest.raises(Malformed):
        read(data)


@given(st.sampled_from([b"", b"P", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(max_size=5000))
def test_whatever_comes_is_read_refused_or_waited_for_in_bounds(start: bytes, rest: bytes) -> None:
    """Nothing else is raised, and no more than the longest header is ever waited for."""
    data = start + rest
    try:
        header = read(data)
    except Malformed:
        return
    assert header is not None or len(data) < LONGEST
    assert header is None or header.size <= len(data)
