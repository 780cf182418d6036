"""Header fields through the gateway, against a model that reads the rules of RFC 9110 7.6.1 one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import GatewayError
from dataplane.headers import request_head
from dataplane.http1.fields import FIELDS, FieldTable, length_of
from dataplane.http1.request_head import examine
from dataplane.http1.response_head import ResponseHead
from tests.unit.engine_bench import Bench, bench, routed

Fields = list[tuple[str, str]]

HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"}
HOP_BY_HOP |= {"te", "transfer-encoding", "upgrade", "http2-settings"}
FRAMING = {"content-length"}
OF_THE_GATEWAY = {"host", "expect", "via", "forwarded", "x-real-ip", "x-correlation-id", "x-consumer-name"}
OF_THE_GATEWAY |= {f"x-forwarded-{what}" for what in ("for", "proto", "host", "port")} | {"max-forwards"}
ANSWERS_OWN = {"x-api-version", "x-config-version", "x-correlation-id"}

ORDINARY = ["Accept", "X-A", "x-a", "Cookie", "Trailer", "Range", "Authorization", "X_Under", "Set-Cookie", "ETag", "A"]
SPECIAL = ["Keep-Alive", "Proxy-Connection", "proxy-authorization", "HTTP2-Settings", "X-Real-IP", "Via", "TE"]
SPECIAL += ["X-Forwarded-For", "X-FORWARDED-PORT", "Forwarded", "X-Consumer-Name", "X-Correlation-ID", "Upgrade"]
SPECIAL += ["X-Api-Version", "X-Config-Version", "Max-Forwards", "Proxy-Authenticate"]
VALUES = st.sampled_from(["", "1", "a, b", "é", '"quoted"', "close", "x=y; z"]) | st.text("abc 019,;=", max_size=12)
NAMED = st.lists(st.sampled_from([*ORDINARY, *SPECIAL, "close", "keep-alive", "Host", "Content-Length", "", " "]))
CONNECTION = st.tuples(st.sampled_from(["Connection", "connection"]), NAMED.map(" , ".join))
FIELD = st.tuples(st.sampled_from(ORDINARY) | st.sampled_from(SPECIAL), VALUES.map(str.strip))
LISTS = st.lists(st.one_of(FIELD, FIELD, CONNECTION), max_size=12)


def named_in(fields: Fields) -> set[str]:
    """What Connection names, lower-case."""
    values = [value for name, value in fields if name.lower() == "connection"]
    return {token.strip(" \t").lower() for value in values for token in value.split(",")} - {""}


def text(lines: list[bytes]) -> list[str]:
    return [line.decode("latin-1") for line in lines]


@given(LISTS, st.booleans())
def test_requests_lose_what_is_not_end_to_end(fields: Fields, http11: bool) -> None:
    """Hop-by-hop fields, what Connection names, what the gateway says itself, names with `_`; the rest as it came."""
    gone = HOP_BY_HOP | FRAMING | OF_THE_GATEWAY | named_in(fields)
    with bench() as worker:
        x = worker.exchange(*fields, http11=http11)
        examine(x)
    expected = [f"{name}: {value}" for name, value in fields if name.lower() not in gone and "_" not in name]
    assert text(x.upstream_lines) == expected


@given(LISTS)
def test_answers_lose_what_is_not_end_to_end(fields: Fields) -> None:
    """The same on the way back; an upstream cannot say the gateway's own words."""
    gone = HOP_BY_HOP | FRAMING | ANSWERS_OWN | (named_in(fields) - {"close", "keep-alive"})
    raw = [(FIELDS.of(name.encode("latin-1")), value.encode("latin-1")) for name, value in fields]
    expected = [f"{name}: {value}" for name, value in fields if name.lower() not in gone]
    assert text(ResponseHead(raw).lines) == expected


@given(LISTS)
def test_a_client_cannot_take_away_what_the_gateway_says(fields: Fields) -> None:
    """Naming them in Connection or sending its own changes nothing: each stands once, with our value."""
    with bench() as worker:
        worker.serve(routed())
        head = sent(worker, *fields)
    assert head["x-real-ip"] == ["203.0.113.9"]
    assert head["x-forwarded-for"] == ["203.0.113.9"]
    assert head["x-forwarded-proto"] == ["http"]
    assert head["x-forwarded-host"] == ["x"]
    assert head["x-forwarded-port"] == ["3000"]
    assert head["forwarded"] == ['for=203.0.113.9;host="x";proto=http']
    assert head["host"] == ["127.0.0.1:9"]
    assert len(head["x-correlation-id"]) == len(head["via"]) == 1
    assert head["via"][0].endswith("1.1 flexgate")
    assert "x-consumer-name" not in head
    assert head.get("connection", []) in ([], ["te"], ["upgrade"])  # only what the gateway negotiates itself


def sent(worker: Bench, *fields: tuple[str, str], **request: Any) -> dict[str, list[str]]:
    """The fields that go to the upstream, by lower-case name."""
    x = worker.filter(*fields, **request)
    assert worker.compiled is not None
    assert x.route is not None
    endpoint = next(iter(worker.compiled.runtime.upstreams["origin"].balancer.endpoints.values()))
    head: dict[str, list[str]] = {}
    for line in request_head(x, endpoint, "/", x.route).split(b"\r\n")[1:-2]:
        name, _, value = line.decode("latin-1").partition(": ")
        head.setdefault(name.lower(), []).append(value)
    return head


# ---- who the client is

TRUSTED = ["10.0.0.0/8", "fd00::/8"]
ADDRESSES = ["10.0.0.1", "10.9.9.9", "fd00::1", "203.0.113.7", "198.51.100.1", "2001:db8::1", "unknown", "10.0.0.1:80"]
CHAINS = st.lists(st.sampled_from(ADDRESSES), max_size=5)


def is_trusted(address: str) -> bool:
    return address.startswith(("10.", "fd00:")) and address != "10.0.0.1:80"


def client_of(peer: str, chain: list[str]) -> str:
    """The model: walk from the peer towards the client for as long as who speaks is trusted."""
    at = peer
    for address in reversed(chain):
        if not is_trusted(at) or address in {"unknown", "10.0.0.1:80"}:
            break
        at = address
    return at


@given(st.sampled_from(["10.0.0.1", "203.0.113.9", "fd00::9"]), CHAINS, st.integers(0, 3))
def test_a_chain_is_believed_as_far_as_it_is_trusted(peer: str, chain: list[str], split: int) -> None:
    """However the list is spread over fields; who is not trusted starts it anew, who is gets appended."""
    fields = [("X-Forwarded-For", ", ".join(part)) for part in (chain[:split], chain[split:]) if part]
    fields += [("X-Forwarded-Proto", "HTTPS"), ("X-Forwarded-Host", "shop.example"), ("Forwarded", "for=a")]
    with bench() as worker:
        worker.serve(routed() | {"proxy": {"trustedProxies": TRUSTED}})
        x = worker.filter(*fields, ip=peer)
        head = sent(worker, *fields, ip=peer)
    assert x.client_ip == client_of(peer, chain)
    assert head["x-real-ip"] == [x.client_ip]
    believed = is_trusted(peer)
    assert head["x-forwarded-for"] == [", ".join([*(chain if believed else []), peer])]
    assert head["x-forwarded-proto"] == ["https" if believed else "http"]
    assert head["x-forwarded-host"] == ["shop.example" if believed else "x"]
    node = f'"[{peer}]"' if ":" in peer else peer
    own = f'for={node};host="{"shop.example" if believed else "x"}";proto={"https" if believed else "http"}'
    assert head["forwarded"] == [f"for=a, {own}" if believed else own]


@given(CHAINS)
def test_without_trusted_proxies_nobody_is_believed(chain: list[str]) -> None:
    """The default: the peer is the client."""
    with bench() as worker:
        worker.serve(routed())
        x = worker.filter(("X-Forwarded-For", ", ".join(chain)), ip="10.0.0.1")
    assert x.client_ip == "10.0.0.1"


# ---- names and words


@given(st.lists(st.text("abcXYZ-_", min_size=1, max_size=70), max_size=30))
def test_invented_names_cannot_fill_memory(names: list[str]) -> None:
    """The table of spellings stops growing; what is beyond it is computed, with the same answer."""
    table = FieldTable()
    for number in range(5000):
        table.of(b"x-invented-%d" % number)
    size = len(table)
    assert size <= 4096
    for name in names:
        spelled = name.encode()
        assert (table.of(spelled).name, table.of(spelled).prefix) == (spelled.lower(), spelled + b": ")
        assert table.of(spelled).request_role == FIELDS.of(spelled).request_role
    assert len(table) == size
    fresh = FieldTable()
    fresh.of(b"y" * 65)
    assert len(fresh) == 0


@given(st.lists(st.lists(st.sampled_from([b"A", b"a", b"B", b"x_y", b"y" * 65, b"Via"]), max_size=6), max_size=8))
def test_what_stood_behind_a_field_before_changes_nothing(heads: list[list[bytes]]) -> None:
    """A guess is only ever the field of the very spelling that was asked for, and no invented name is kept by it."""
    table = FieldTable()
    first = table.of(b"(first)")
    for head in heads:
        before = first
        for spelling in head:
            field = table.behind(before, spelling)
            assert (field.spelling, field.prefix) == (spelling, spelling + b": ")
            assert before.follower is None or len(before.follower.spelling) <= 64
            before = field


@given(
    st.integers(0, 10**18) | st.integers(0, 3),
    st.sampled_from([b"", b" ", b"\t ", b"00"]),
    st.sampled_from([b"", b" "]),
)
def test_a_length_is_read_as_a_number(length: int, before: bytes, after: bytes) -> None:
    """As `int` reads it, with blanks around it and zeros before it."""
    assert length_of(before + b"%d" % length + after) == length


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=140))
def test_a_correlation_id_is_taken_or_replaced_whole(word: str) -> None:
    """The client's where every character is harmless and there are 1 to 128 of them; never a part of it."""
    good = 0 < len(word.strip(" ")) <= 128 and all(c.isalnum() or c in "._:/+=@-" for c in word.strip(" "))
    with bench() as worker:
        x = worker.exchange(("X-Correlation-ID", word))
        examine(x)
    assert x.correlation_id == (word.strip(" ").encode() if good else b"")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=12))
def test_a_host_is_plain_or_refused(host: str) -> None:
    """No user, path, list, space or control character gets through, whatever else a Host may be."""
    with bench() as worker:
        x = worker.exchange(("Host", host))
        try:
            examine(x)
        except GatewayError as error:
            assert error.status == 400
            return
    assert x.host.decode("latin-1") == host.strip(" ")
    assert not set(host.strip(" ")) & set('@/\\?#, "<>^`{|}')
    assert x.host.isascii()
