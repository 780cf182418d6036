"""Framing against a second parser: what the gateway lets through means to h11 what it meant to the gateway.

Whole requests arrive as they were sent wherever the network cuts them. Damaged ones, and damaged answers, are refused
or understood alike by both: an origin never sees a request that the client's bytes do not hold, nor a client an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from dataclasses import dataclass, field

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.http1.methods import KNOWN
from dataplane.paths import BadTarget, normalise
from tests.support.client import RawClient, chunked, connected, get
from tests.support.gateway import proxied
from tests.support.origin import Peer, Received, answering, echo
from tests.support.wire import Fields

QUICK = {"timeout": {"request": 1000, "header": 100, "response": 200, "idle": 100}}
STOPS = (h11.NEED_DATA, h11.PAUSED, h11.ConnectionClosed)
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as a test means it; `chunks` of None: no body."""

    method: str
    target: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] | None = None
    is_chunked: bool = False
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def wire(self) -> bytes:
        lines = [f"{name}: {value}" for name, value in self.fields]
        body = b"".join(self.chunks or [])
        if self.chunks is not None and self.is_chunked:
            lines.append("Transfer-Encoding: chunked")
            body = chunked(*self.chunks, trailers=tuple(f"{name}: {value}" for name, value in self.trailers))
        elif self.chunks is not None:
            lines.append(f"Content-Length: {len(body)}")
        return get(self.target, *lines, method=self.method) + body


NAMES = st.from_regex(r"X-[A-Z][A-Za-z0-9!#$%&'*+.^`|~-]{0,10}", fullmatch=True).filter(
    lambda name: not name.lower().startswith(("x-forwarded", "x-real", "x-correlation", "x-consumer"))
)
TAKEN = KNOWN | {"PRI"}
VALUES = st.from_regex(r"([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
REQUESTS = st.builds(
    Sent,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE2", "PLAY", "F"])
    | st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}", fullmatch=True).filter(lambda name: name.upper() not in TAKEN),
    target=st.from_regex(r"(/[a-z0-9]{1,5}){1,3}(\?[a-z=&%2F]{0,8})?", fullmatch=True),
    fields=FIELDS,
    chunks=st.none() | st.lists(st.binary(min_size=1, max_size=300), max_size=4),
    is_chunked=st.booleans(),
    trailers=FIELDS,
)


async def send_in_pieces(client: RawClient, data: bytes, cuts: list[int]) -> None:
    """One write for each piece, with room for the gateway to read it before the next."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        client.writer.write(data[start:end])
        for _ in range(3):
            await asyncio.sleep(0)


def extensions(fields: Fields) -> Fields:
    """The X- fields that belong to the test, in order."""
    mine = re.compile(rb"x-(?!forwarded|real-ip|correlation|consumer)", re.IGNORECASE)
    return [(name, value) for name, value in fields if mine.match(name)]


def encoded(fields: list[tuple[str, str]]) -> Fields:
    return [(name.encode(), value.encode("latin-1")) for name, value in fields]


@settings(max_examples=60)
@given(st.lists(REQUESTS, min_size=1, max_size=4), st.lists(st.integers(min_value=0, max_value=1 << 16), max_size=12))
async def test_requests_arrive_as_they_were_sent_wherever_they_are_cut(sent: list[Sent], cuts: list[int]) -> None:
    """Method, target, fields in order, body and trailers; as many as were sent, answered in order."""
    async with proxied(echo) as (origin, gateway), connected(gateway.port) as client:
        await send_in_pieces(client, b"".join(request.wire() for request in sent), cuts)
        for request in sent:
            answer = await client.response(request.method)
            assert (answer.status, answer.json["target"]) == (200, request.target)
        assert len(origin.received) == len(sent)
    for request, received in zip(sent, origin.received, strict=True):
        assert (received.method, received.target) == (request.method, request.target)
        assert extensions(received.head.fields) == encoded(request.fields)
        assert received.body == b"".join(request.chunks or [])
        if request.chunks is not None and request.is_chunked:
            assert received.trailers == encoded(request.trailers)


PIECES = [
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r\n ", b" ", b"\t", b"\x0b", b"\0", b"\xff"),
    *(b":", b",", b";", b"0", b"1", b"5", b"a", b"+", b"-", b"_", b"0x", b"chunked", b"gzip, ", b"HTTP/1.0"),
    *(b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\nHost: y", b"0\r\n\r\n"),
    b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
]
DAMAGE = st.tuples(
    st.sampled_from(["insert", "replace", "delete", "double"]),
    st.integers(min_value=0, max_value=1 << 16),
    st.sampled_from(PIECES),
)


def damaged(data: bytes, damages: list[tuple[str, int, bytes]]) -> bytes:
    """The bytes after each damage in turn: (what, where, with what)."""
    for what, where, given_bytes in damages:
        at = where % (len(data) + 1)
        if what == "insert":
            data = data[:at] + given_bytes + data[at:]
        elif what == "replace":
            data = data[:at] + given_bytes + data[at + len(given_bytes) :]
        elif what == "delete":
            data = data[:at] + data[at + 1 :]
        else:
            start, end = data.rfind(b"\r\n", 0, at), data.find(b"\r\n", at)
            data = data[:end] + data[max(start, 0) : end] + data[end:]
    return data


@dataclass(frozen=True, slots=True)
class Understood:
    """A request or an answer as h11 reads it: what it asks or says, its X- fields, its body."""

    says: tuple[str, ...]
    fields: Fields
    body: bytes


def next_request(data: bytes) -> tuple[Understood, bytes] | None:
    """The first whole request in these bytes and what follows it; None where h11 sees none."""
    # The gateway skips line ends before a request line and several spaces within it; h11 takes neither.
    plain = re.sub(rb"\A[\r\n]*([!-~]+) +(?=[!-~])", rb"\1 ", data)
    reader = h11.Connection(h11.SERVER)
    body, head = b"", None
    try:
        reader.receive_data(plain)
        while not isinstance(event := reader.next_event(), STOPS):
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                says = (head.method.decode(), head.target.decode("latin-1"))
                found = Understood(says, extensions(list(head.headers.raw_items())), body)
                return found, bytes(reader.trailing_data[0])
    except h11.ProtocolError:
        pass
    return None


def all_requests(data: bytes) -> list[Understood]:
    found = []
    while (one := next_request(data)) is not None:
        found.append(one[0])
        data = one[1]
    return found


def same(received: Received, understood: Understood) -> bool:
    """Whether an origin got what h11 understood; paths in the one form in which the gateway forwards them."""
    method, target = understood.says
    try:
        form = normalise(target.encode("latin-1"))
    except BadTarget:
        return False
    spelled = form.path if form.query is None else f"{form.path}?{form.query}"
    said = (received.method, received.target, received.body) == (method, spelled, understood.body)
    # What Connection names is dropped, so the origin's fields are some of those that were sent, in order.
    left = iter(understood.fields)
    return said and all(pair in left for pair in extensions(received.head.fields))


@settings(max_examples=200)
@given(
    REQUESTS, st.lists(DAMAGE, min_size=1, max_size=3), st.lists(st.integers(min_value=0, max_value=999), max_size=3)
)
async def test_damaged_requests_are_refused_or_mean_one_thing(
    request: Sent, damages: list[tuple[str, int, bytes]], cuts: list[int]
) -> None:
    """Every request that reached the origin whole is one that h11 finds in the client's bytes, in order."""
    data = damaged(request.wire(), damages) + get("/last", "Connection: close")
    async with proxied(answering(PLAIN), proxy=QUICK) as (origin, gateway), connected(gateway.port) as client:
        await send_in_pieces(client, data, cuts)
        with contextlib.suppress(ConnectionError):
            await client.until_eof()
    understood = iter(all_requests(data))
    for received in origin.received:
        if received.complete:
            assert any(same(received, one) for one in understood), (received, all_requests(data))


def answer_in(data: bytes) -> Understood | None:
    """The final answer in what an origin sent before it closed; None where h11 sees no whole one."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    reader.send(h11.EndOfMessage())
    body, head = b"", None
    try:
        reader.receive_data(data.lstrip(b"\r\n"))  # the gateway skips line ends before an answer too
        reader.receive_data(b"")
        while not isinstance(event := reader.next_event(), STOPS):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Understood((str(head.status_code),), extensions(list(head.headers.raw_items())), body)
    except h11.ProtocolError:
        pass
    return None


ANSWERS = st.builds(
    lambda status, fields, chunks, framing: b"".join(
        [
            f"HTTP/1.1 {status} Fine\r\n".encode(),
            *(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields),
            b"Transfer-Encoding: chunked\r\n" if framing == "chunked" else b"",
            b"Content-Length: %d\r\n" % sum(map(len, chunks)) if framing == "length" else b"",
            b"\r\n",
            chunked(*chunks) if framing == "chunked" else b"".join(chunks),
        ]
    ),
    st.sampled_from([200, 201, 404, 500]),
    FIELDS,
    st.lists(st.binary(min_size=1, max_size=100), max_size=3),
    st.sampled_from(["length", "chunked", "close"]),
)


@settings(max_examples=200)
@given(ANSWERS, st.lists(DAMAGE, max_size=2))
async def test_damaged_answers_are_refused_or_mean_one_thing(
    answer: bytes, damages: list[tuple[str, int, bytes]]
) -> None:
    """A client gets the answer that h11 reads in the origin's bytes, or 502, or one that is visibly cut."""
    data = damaged(answer, damages)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        peer.close()

    async with proxied(script, proxy=QUICK) as (_, gateway), connected(gateway.port) as client:
        got = await client.whole(get())
    if not damages:
        assert got is not None
        assert got.status != 502
    if got is not None and not (got.status in (502, 504) and b"correlationId" in got.body):
        understood = answer_in(data)
        assert understood is not None, (got, data)
        assert (str(got.status), got.body) == (*understood.says, understood.body)
        left = iter(understood.fields)
        assert all(
            pair in left for pair in extensions(got.fields) if not pair[0].lower().startswith((b"x-api", b"x-conf"))
        )
