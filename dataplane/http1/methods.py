"""Request methods beyond those that the parser knows: found in the bytes, read, and given a stand-in. Pure.

RFC 9110 9.1 lets a method be any token, and an intermediary forwards what it does not know. llhttp has a fixed list: at
any other method it stops, before it has taken anything else of the head, and does not say where. So the bytes that led
there are parsed once more to find the message's first one; the method is read here, and a new parser goes on after a
method that it knows. Only requests with such a method cost anything.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from dataplane.errors import BadRequest
from dataplane.http1 import parser as http
from shared.defaults import LONGEST_METHOD

KNOWN: Final = frozenset(
    """
    GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY PURGE SOURCE
    ACL BIND CHECKOUT COPY LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY PROPFIND PROPPATCH REBIND
    REPORT SEARCH SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE
    """.split()  # noqa: SIM905  # a list of 35 quoted strings would be one per line
)
"""What the parser takes as a method of HTTP."""
OTHER: Final = "_OTHER"
"""Stands for every other method where their number must be bounded: in metrics. OpenTelemetry has the same word."""
STAND_IN: Final = b"PATCH"
"""A method of HTTP alone: the parser would take some others with RTSP too."""

_METHOD: Final = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]*)(.?)", re.DOTALL)
_PREFACE: Final = "PRI"  # RFC 9113 3.4: it begins a connection of HTTP/2, and so every one of gRPC
_STEPS: Final = (4096, 64, 1)


def unknown_method(text: bytes) -> bytes | None:
    """The method at the beginning of a request that the parser refused; None: its end is not here yet.

    b"": there is none, or the parser knows it and refused something else. Raises BadRequest.
    """
    token, end = _METHOD.match(text).groups()  # type: ignore[union-attr]  # it matches anything
    if len(token) > LONGEST_METHOD:
        raise BadRequest(f"The request method may have at most {LONGEST_METHOD} characters")
    if not end and token:
        return None
    name = token.decode("ascii")
    if end != b" " or not token or name in KNOWN:
        return b""
    # Methods are case-sensitive, but not every origin knows: `delete` must not get around the rules for DELETE.
    if name == _PREFACE:
        raise BadRequest("HTTP/2 was spoken on a port that expects HTTP/1.1")
    if name.upper() in KNOWN or name.upper() == _PREFACE:
        raise BadRequest("The request method is not one in this spelling: write it in capitals")
    return token


def start_of_last(data: bytes) -> int:
    """Where the last message in these bytes begins; they are those that a parser was given from its first on."""
    last = _Begun(data).count
    start = 0
    for step in _STEPS:
        begun = _Begun(data[:start])
        while begun.count < last:
            begun.feed(data[start : start + step])
            start += step
        start -= step
    return start


class _Begun:
    """Counts the messages that a parser sees begin. It tells of one with its first byte."""

    def __init__(self, data: bytes) -> None:
        self.count = 0
        self._parser = http.HttpRequestParser(self)
        self.feed(data)

    def feed(self, data: bytes) -> None:
        with suppress(http.HttpParserError):  # the last message is one that it refuses
            self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.count += 1
