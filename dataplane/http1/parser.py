"""The seam around the HTTP/1 parser: strict llhttp by httptools, on both sides (docs/decisions/0001).

A protocol hands itself in and receives `on_message_begin`, `on_url`, `on_header`, `on_headers_complete`, `on_body`,
`on_message_complete`. Nothing outside this folder knows the library.
"""

from __future__ import annotations

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

__all__ = [
    "HttpParserCallbackError",
    "HttpParserError",
    "HttpParserInvalidMethodError",
    "HttpParserUpgrade",
    "HttpRequestParser",
    "HttpResponseParser",
    "raised_by_callback",
]


def raised_by_callback(error: HttpParserError) -> BaseException | None:
    """The exception that one of our own callbacks raised, where that is what stopped the parser."""
    return error.__context__ if isinstance(error, HttpParserCallbackError) else None
