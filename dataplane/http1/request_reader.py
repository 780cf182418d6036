"""A client's bytes -> exchanges: the parser, and everything that is checked while a request comes in.

A complete head makes an exchange, which goes to the connection's queue; its body follows as it comes. Once something
cannot be understood, or the protocol is to switch, the reader has ended: it will make no more exchanges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataplane.errors import BadRequest, BodyTooLarge, GatewayError, MethodUnknown
from dataplane.exchange import Exchange
from dataplane.http1 import parser as http
from dataplane.http1.body import Body
from dataplane.http1.fields import FIELDS, FIRST_OF_REQUEST, Headers
from dataplane.http1.methods import KNOWN, STAND_IN, start_of_last, unknown_method
from dataplane.http1.request_head import MOST_FIELDS, check_sizes, check_version, examine
from dataplane.http1.request_limits import framing_error, partial_head_error, refusal_of

if TYPE_CHECKING:
    from dataplane.http1.downstream import DownstreamConnection

_VERSION: Final = b" HTTP/1.1\r\n"
_MOST_PIPELINED_AT_ONCE: Final = 512
"""In one read: each costs about a kilobyte, so this bounds what a connection can cost before it is held."""
_MOST_KEPT: Final = 16 * 1024
"""Bytes of a message in several reads that are kept, to find where the next one begins."""


class RequestReader:
    """One connection's incoming side. The parser calls the `on_…` methods."""

    def __init__(self, connection: DownstreamConnection) -> None:
        # connection
        self.connection = connection
        self.ended = False
        self.tail = b""  # what came after the last request that was read
        self._parser = http.HttpRequestParser(self)
        self._limits = connection.limits
        # request being read
        self.reading: Exchange | None = None
        self.in_head = False
        self._headers: Headers = []
        self._field = FIRST_OF_REQUEST  # the last one read
        self._trailers: Headers = []
        self._url = b""
        self._measure = self._priming = False
        self._first = b""  # what may begin with its first line
        self._head_bytes = self._accounted = 0
        self._skipped: int | None = None
        self._kept: bytes | None = b""  # brings a new parser to where this one was before the read; None: too much
        self._unread = b""  # the beginning of a method that the parser does not know
        self._method = ""  # such a method, for which another stands in

    def feed(self, data: bytes) -> None:
        """Read on."""
        while data:
            data = self._read(data)

    def _read(self, data: bytes) -> bytes:
        """Give the parser these bytes; returns those that are left for another one."""
        before = self.reading
        was_in_head = self.in_head
        if was_in_head or len(data) > self._limits.smallest:
            if self._unread:
                return self._read_method(self._unread + data)
            self._measure = True
            self._accounted = 0
        elif before is None:
            self._first = data
        try:
            self._parser.feed_data(data)
        except http.HttpParserUpgrade as pause:
            return self._leave_parser(data[pause.args[0] :])
        except http.HttpParserError as error:
            return self._stopped(error, data, b"" if before is None else self._kept)
        if self.reading is not None:
            self._keep(data, b"" if before is None else self._kept)
            if self.in_head:
                self._count_head(len(data) if was_in_head else 0)
                return b""
            self.connection.set_deadline()
        if self._measure:
            self._count_framing(len(data))
        return b""

    def _keep(self, data: bytes, kept: bytes | None) -> None:
        """A message is not whole yet."""
        self._kept = kept + data if kept is not None and len(kept) + len(data) <= _MOST_KEPT else None

    def refuse(self, error: GatewayError) -> None:
        """Nothing more on this connection can be understood: answer what can be answered, then close."""
        self.ended = True
        x, self.reading = self.reading, None
        if x is None or self.in_head:
            x = x or Exchange(self.connection, self.connection.clock())
            x.raw_target = x.raw_target or self._url
            x.refusal = error
            self.in_head = False
            self.connection.enqueue(x)
        else:
            x.body.fail(error)
            self.connection.give_up(x, error)

    def start_again(self) -> None:
        """The upstream did not switch protocols: what the client sent since is HTTP again."""
        self._parser = http.HttpRequestParser(self)
        self.ended = False
        tail, self.tail = self.tail, b""
        if tail:
            self.connection.data_received(tail)

    # ---- the parser's side

    def on_message_begin(self) -> None:
        connection = self.connection
        if self._priming:
            self._headers = []
            return
        if len(connection.queue) >= _MOST_PIPELINED_AT_ONCE:
            raise BadRequest("Too many requests were pipelined")
        now = connection.clock()
        self.reading = x = Exchange(connection, now)
        self._headers = x.headers
        self._field = FIRST_OF_REQUEST
        self.in_head = True
        self._head_bytes = 0
        self._url = b""
        if connection.current is None and not connection.queue:
            connection.deadline = now + self._limits.header

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field = field = FIELDS.behind(self._field, name)
        self._headers.append((field, value))

    def on_headers_complete(self) -> None:
        x, parser = self.reading, self._parser
        if self._priming or x is None:
            return
        self.in_head = False
        x.raw_target = self._url
        x.method = parser.get_method().decode()
        length: int | None = None
        try:
            plain = self._is_plain_1_1(x)
            if self._method:
                x.method, self._method = self._method, ""
            elif not plain and x.method not in KNOWN:  # the parser takes these with another protocol
                raise BadRequest("The protocol is not HTTP")
            if not plain:
                x.http11 = check_version(parser.get_http_version())
            if self._measure or len(x.headers) > MOST_FIELDS:
                self._accounted += check_sizes(x, self._limits)
            length = examine(x)
        except GatewayError as refusal:
            x.refusal = refusal
        if length:
            x.body = Body(self.connection, length if length > 0 else None)
            self._headers = self._trailers = []
            if x.upgrade is None and parser.should_upgrade():
                self._skipped = length  # the parser is about to leave out a body that we want
        self.connection.queue.append(x)

    def _is_plain_1_1(self, x: Exchange) -> bool:
        """Whether the read began with this request, and its version follows its target, which the parser found valid.

        The parser would format the version for every one. A target holds no space, so no other place can match.
        """
        read, self._first = self._first, b""
        start = len(x.method) + 1 + len(self._url)
        return read[start : start + len(_VERSION)] == _VERSION

    def on_body(self, data: bytes) -> None:
        x = self.reading
        if x is not None:
            self._accounted += len(data)
            x.body.feed(data)
            if x.body.limit is not None and x.body.received > x.body.limit:
                x.body.discard()
                x.cancel(BodyTooLarge())

    def on_message_complete(self) -> None:
        x = self.reading
        if x is None or self._skipped is not None:
            return
        self.reading = None
        if not x.body.complete:
            x.body.finish(self._trailers)
            self.connection.set_deadline()

    # ---- when parsing ends, goes wrong, or goes on elsewhere

    def _stopped(self, error: http.HttpParserError, data: bytes, kept: bytes | None) -> bytes:
        """The parser takes no more: for a method that it does not know, or because this is not HTTP."""
        in_line = self.in_head and not self._headers and http.raised_by_callback(error) is None
        if in_line and not self._method and kept is not None:
            text = kept + data
            return self._read_method(text[start_of_last(text) :], error)
        unfound = kept is None and isinstance(error, http.HttpParserInvalidMethodError)
        self.refuse(MethodUnknown() if unfound else refusal_of(error, data))
        return b""

    def _read_method(self, text: bytes, error: http.HttpParserError | None = None) -> bytes:
        """A request begins here with a method that the parser does not know: another one stands in for it."""
        try:
            method = unknown_method(text)
        except BadRequest as refusal:
            self.refuse(refusal)
            return b""
        if method is None:
            self._unread = text
            return b""
        if not method:
            self.refuse(refusal_of(error, text) if error is not None else BadRequest())
            return b""
        self._unread = self._url = self._first = b""
        self._method = method.decode()
        self._parser = parser = http.HttpRequestParser(self)
        self._priming = True
        parser.feed_data(STAND_IN)
        self._priming = False
        self._kept = STAND_IN
        if self.reading is not None:
            self._headers = self.reading.headers
        return text[len(method) :]

    def _leave_parser(self, rest: bytes) -> bytes:
        """llhttp stops at every message with Upgrade or CONNECT: go on raw, or as HTTP when we do not switch."""
        x = self.connection.queue[-1]
        if x.upgrade is not None or x.method == "CONNECT":
            self.ended = True
            self.tail = rest
            return b""
        self._parser = parser = http.HttpRequestParser(self)
        if self._skipped is not None:
            # Prime the new parser with the framing that the old one left out; its head is thrown away.
            framing = b"content-length: %d" % self._skipped if self._skipped > 0 else b"transfer-encoding: chunked"
            self._kept = b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n"
            self._priming = True
            parser.feed_data(self._kept)
            self._priming = False
            self._skipped = None
            self._headers = self._trailers
        return rest

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        error = partial_head_error(self._head_bytes, self._url, self._limits)
        if error is not None:
            self.refuse(error)

    def _count_framing(self, size: int) -> None:
        """Of a large read, what was neither head nor content: chunk sizes, extensions, trailers."""
        self._measure = False
        error = framing_error(size - self._accounted, self._accounted)
        if error is not None:
            queue = self.connection.queue
            if self.reading is None and queue:
                self.ended = True
                queue[-1].cancel(error)
            else:
                self.refuse(error)
