"""Methods beyond the parser's own: its list, how one is read, and where the message that it stands in begins."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import BadRequest
from dataplane.http1 import parser as http
from dataplane.http1.methods import KNOWN, STAND_IN, start_of_last, unknown_method
from shared.defaults import LONGEST_METHOD

TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}")


class Deaf:
    """Receives nothing from a parser."""


def taken(method: str, protocol: str = "HTTP/1.1") -> bool:
    """Whether the parser takes a request with this method."""
    try:
        http.HttpRequestParser(Deaf()).feed_data(f"{method} / {protocol}\r\nHost: x\r\n\r\n".encode())
    except http.HttpParserUpgrade:
        return method == "CONNECT"
    except http.HttpParserError:
        return method == "CONNECT"  # which has no path
    return True


def test_the_list_is_the_parser_s() -> None:
    """It takes every method of the list, and none in lower case or with a letter more."""
    assert [method for method in sorted(KNOWN) if not taken(method)] == []
    assert [method for method in sorted(KNOWN - {"CONNECT"}) if taken(method.lower()) or taken(method + "X")] == []


@pytest.mark.parametrize("method", ["PLAY", "DESCRIBE", "GET_PARAMETER", "FLUSH", "RECORD", "SETUP", "PRI", "FOO", "A"])
def test_what_is_not_in_it_the_parser_refuses(method: str) -> None:
    """Methods of other protocols too: a stand-in is found for them."""
    assert not taken(method)


def test_the_stand_in_is_of_http_alone() -> None:
    """Else a line of another protocol would pass as HTTP."""
    assert STAND_IN.decode() in KNOWN
    assert [protocol for protocol in ("RTSP/1.0", "ICE/1.0") if taken(STAND_IN.decode(), protocol)] == []


@given(st.binary(max_size=40), st.binary(max_size=5))
def test_a_method_is_a_bounded_token_before_a_space(start: bytes, rest: bytes) -> None:
    """Read whole or not at all; one that the parser knows, in any spelling, is never read as unknown."""
    text = start + b" " + rest
    token = text.partition(b" ")[0]
    try:
        method = unknown_method(text)
    except BadRequest:
        assert len(token) > LONGEST_METHOD or token.decode().upper() in KNOWN | {"PRI"}
        return
    if TOKEN.fullmatch(token) and token.decode() not in KNOWN:
        assert method == token
    else:
        assert method == b""


@given(st.from_regex(TOKEN, fullmatch=True))
def test_a_method_is_waited_for(token: bytes) -> None:
    """While it may go on, nothing is said about it."""
    assert unknown_method(token) is None


@given(
    st.lists(
        st.sampled_from(
            [
                b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
                b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nFOO / HTTP/1.1\r\n\r\nXX",
                b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nFOO /\r\n0\r\nA: b\r\n\r\n",
                b"\r\n\r\n",
                b"PUT /d HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
                + b"FOO / HTTP/1.1\r\n\r\n" * 277
                + bytes(14),
            ]
        ),
        max_size=6,
    ),
    st.sampled_from([b"FOO", b"F", b"GETX / HTTP/1.1", b"PLAY / HTTP/1.1\r\n", b"@", b" GET /", b"G", b"POST /"]),
)
def test_the_last_message_is_found(before: list[bytes], last: bytes) -> None:
    """To the byte, behind any row of messages, though their bodies hold what looks like one."""
    data = b"".join(before)
    assert start_of_last(data + last) == len(data)
