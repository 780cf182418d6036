"""The heads the gateway sends: a request's towards its upstream, an answer's towards its client. Pure.

What came in is forwarded as raw lines; what the gateway says itself is added after, so that nothing a peer sent or
named in Connection can take it away.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from dataplane.http1.response_head import Framing, ResponseHead

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.downstream import DownstreamConnection
    from dataplane.runtime import Endpoint, HeaderEdits, Networks, Route

CRLF: Final = b"\r\n"
_SENDS_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


# ---- towards the upstream


def request_head(x: Exchange, endpoint: Endpoint, target: str, route: Route) -> bytes:
    """The whole head of the request to send: start line, forwarded lines, the gateway's own."""
    lines, edits = x.upstream_lines, route.request_edits
    if edits is not None or x.hidden:
        lines = _edited(x, edits)
    own = [
        f"{x.method} {target} HTTP/1.1".encode(),
        route.host_line or endpoint.host_line,
        *lines,
        _identity(x) + x.correlation_id,
    ]
    body = x.body
    if body.length is None:
        own.append(b"Transfer-Encoding: chunked")
    elif body.length or x.method in _SENDS_BODY:
        own.append(b"Content-Length: %d" % body.length)
    if x.upgrade is not None:
        own.append(b"Connection: upgrade\r\nUpgrade: " + x.upgrade)
    elif x.te_trailers:
        own.append(b"TE: trailers\r\nConnection: te")
    if x.consumer is not None:
        own.append(b"X-Consumer-Name: " + x.consumer.encode())
        own += x.identity_lines
    if edits is not None:
        own += edits.added
    if x.max_forwards is not None:
        own.append(b"Max-Forwards: %d" % (x.max_forwards - 1 if x.method == "OPTIONS" else x.max_forwards))
    own.append(b"\r\n")
    return CRLF.join(own)


def _edited(x: Exchange, edits: HeaderEdits | None) -> list[bytes]:
    """The forwarded lines without what the route removes or sets, and without what is hidden."""
    gone = x.hidden if edits is None else x.hidden | edits.removed
    return [line for line in x.upstream_lines if line.partition(b":")[0].lower() not in gone]


def _identity(x: Exchange) -> bytes:
    """X-Forwarded-…, Forwarded, Via, and the name of the correlation id.

    Kept on the connection for as long as Host and the trusted networks stay the same. What a client says about who it
    forwards for counts only when its own address is trusted.
    """
    connection = x.connection
    networks = x.runtime.trusted if x.runtime is not None else ()
    known = connection.identity
    if known is not None and known[0] == x.host and known[1] is networks and not x.via:
        return known[2]
    trusted = bool(networks) and is_in(connection.ip, networks)
    lines = _identity_lines(x, connection, networks if trusted else ())
    if not trusted and not x.via:
        connection.identity = (x.host, networks, lines)
    return lines


def _identity_lines(x: Exchange, connection: DownstreamConnection, trusted: Networks) -> bytes:
    ip, proto, host, port = connection.ip, connection.scheme, x.host, connection.port
    chain, forwarded = b"", b""
    if trusted:
        chain = x.forwarded_for + b", " if x.forwarded_for else b""
        forwarded = x.forwarded + b", " if x.forwarded else b""
        proto = x.forwarded_proto.lower() if x.forwarded_proto.lower() in {b"http", b"https"} else proto
        host = x.forwarded_host or host
    node = f'"[{ip}]"' if ":" in ip else ip
    return b"".join(
        (
            b"X-Forwarded-For: %b%b\r\n" % (chain, ip.encode()),
            b"X-Real-IP: %b\r\n" % x.client_ip.encode(),
            b"X-Forwarded-Proto: %b\r\n" % proto,
            b"X-Forwarded-Host: %b\r\n" % host,
            b"X-Forwarded-Port: %d\r\n" % port,
            b'Forwarded: %bfor=%b;host="%b";proto=%b\r\n' % (forwarded, node.encode(), host, proto),
            b"Via: %b1.%d flexgate\r\n" % (x.via + b", " if x.via else b"", 1 if x.http11 else 0),
            b"X-Correlation-ID: ",
        )
    )


def client_ip(x: Exchange, trusted: Networks) -> str:
    """Who the request comes from: the peer, or whom a trusted peer names."""
    peer = x.connection.ip
    return client_behind(x.forwarded_for, peer, trusted) if trusted and is_in(peer, trusted) else peer


def client_behind(forwarded_for: bytes, peer: str, trusted: Networks) -> str:
    """The nearest address, from the right, that is not a trusted proxy's; the peer where there is no list."""
    client = peer
    for item in reversed(forwarded_for.decode("latin-1").split(",")):
        candidate = item.strip()
        try:
            ip_address(candidate)
        except ValueError:
            return client
        client = candidate
        if not is_in(candidate, trusted):
            return client
    return client


def is_in(address: str, networks: Networks) -> bool:
    """Whether an address (text) lies in one of the networks; False for what is no address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip.version == network.version and ip in network for network in networks)


# ---- towards the client


def edited_lines(lines: list[bytes], edits: HeaderEdits) -> list[bytes]:
    """The lines of an answer after the route's edits."""
    return [line for line in lines if line.partition(b":")[0].lower() not in edits.removed] + list(edits.added)


def interim_head(status: int, reason: bytes, lines: list[bytes]) -> bytes:
    """A 1xx answer other than 100 and 101 (RFC 9110 15.2)."""
    return CRLF.join((b"HTTP/1.1 %d %b" % (status, reason), *lines, b"", b""))


def framing_for(x: Exchange, status: int, head: ResponseHead, framing: Framing) -> tuple[bytes, Framing]:
    """How an answer is framed for this client: the header line, empty for none, and the framing to write."""
    if framing is Framing.LENGTH:
        return head.length_line, framing
    if framing is Framing.NONE:
        if status == 204 or status < 200:  # RFC 9110 8.6: these must not have a length
            return b"", framing
        if head.chunked and x.http11 and x.method == "HEAD":
            return b"Transfer-Encoding: chunked", framing
        return head.length_line, framing  # HEAD and 304 tell what GET would have
    if x.http11:
        return b"Transfer-Encoding: chunked", Framing.CHUNKED
    return b"", Framing.UNTIL_CLOSE  # RFC 9112 7: no chunked to HTTP/1.0
