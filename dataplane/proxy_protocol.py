"""Reading the PROXY protocol, versions 1 and 2 (haproxy.org: proxy-protocol.txt). Pure.

It stands before the first byte of a connection and says who is at the other side of the proxy that opened it. What the
receiver does not know of it must not be guessed: anything out of order is an error, and the connection ends.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

LONGEST: Final = 4096
"""Bytes of a header with all its extensions; as nginx has it."""
_LONGEST_LINE: Final = 107  # of version 1, with its end
_LINE_START: Final = b"PROXY "
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = struct.Struct("!12sBBH")  # signature, version and command, family and protocol, length of the rest
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED: Final = 0x00
_FAMILIES: Final[dict[int, tuple[type[IPv4Address | IPv6Address], struct.Struct]]] = {
    0x11: (IPv4Address, struct.Struct("!4s4sHH")),
    0x21: (IPv6Address, struct.Struct("!16s16sHH")),
}
"""Streams over IPv4 and IPv6: source and destination address, source and destination port."""


class Malformed(Exception):
    """This is no header of the PROXY protocol, or none that can be taken."""


@dataclass(frozen=True, slots=True)
class Header:
    """`size` bytes that say: the client is `ip`, and reached `port`. "" and 0: the connection is the proxy's own."""

    size: int
    ip: str = ""
    port: int = 0


def read(data: bytes) -> Header | None:
    """The header that these bytes begin with; None: its end is not here yet. Raises Malformed."""
    if data[:1] == b"P":
        return _line(data)
    return _binary(data) if data else None


def _line(data: bytes) -> Header | None:
    """Version 1: one line of words."""
    if data[: len(_LINE_START)] != _LINE_START[: len(data)]:
        raise Malformed("not a PROXY line")
    end = data.find(b"\r\n", 0, _LONGEST_LINE)
    if end < 0:
        if len(data) >= _LONGEST_LINE:
            raise Malformed("a PROXY line without end")
        return None
    size, words = end + 2, data[:end].split(b" ")
    if words[1] == b"UNKNOWN":  # and whatever follows is to be ignored
        return Header(size)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise Malformed("not a PROXY line")
    kind = IPv4Address if words[1] == b"TCP4" else IPv6Address
    try:
        source, destination = (ip_address(word.decode("ascii")) for word in words[2:4])
    except ValueError:
        raise Malformed("no address in the PROXY line") from None
    ports = words[4:]
    if not isinstance(source, kind) or not isinstance(destination, kind):
        raise Malformed("an address of the other family in the PROXY line")
    if not all(_PORT.fullmatch(port) and int(port) <= 65535 for port in ports):
        raise Malformed("no port in the PROXY line")
    return Header(size, _text(source), int(ports[1]))


def _binary(data: bytes) -> Header | None:
    """Version 2: a signature, four bytes of what follows, addresses, extensions."""
    if data[: len(_SIGNATURE)] != _SIGNATURE[: len(data)]:
        raise Malformed("no PROXY header")
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    size = _FIXED.size + length
    if command not in (_LOCAL, _PROXY):
        raise Malformed("another version or command than those of PROXY version 2")
    if size > LONGEST:
        raise Malformed(f"a PROXY header of more than {LONGEST} bytes")
    known = _FAMILIES.get(family)
    if command == _PROXY and known is None and family != _UNSPECIFIED:
        raise Malformed("neither TCP over IPv4 nor over IPv6 in the PROXY header")
    if command == _PROXY and known is not None and length < known[1].size:
        raise Malformed("a PROXY header too short for its addresses")
    if len(data) < size:
        return None
    if command == _LOCAL or known is None:  # of the proxy itself, such as its health check
        return Header(size)
    source, _, _, port = known[1].unpack_from(data, _FIXED.size)
    return Header(size, _text(known[0](source)), port)


def _text(address: IPv4Address | IPv6Address) -> str:
    """As the rest of the gateway writes it: an IPv4 address that is wrapped in IPv6 is the same client."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address).partition("%")[0]
