"""The sample request as JSON, and the explanation as JSON: unlike the mapping's default, numbers stay numbers."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from shared.pb.explain_pb2 import SampleRequest

_FIELDS: Final[dict[str, type]] = {
    "method": str,
    "path": str,
    "host": str,
    "headers": dict,
    "query": str,
    "clientIp": str,
}

_ALWAYS: Final[dict[str, Any]] = {"revision": 0, "matched": False, "available": False}
"""Told also where they are nothing."""


class BadQuestion(ValueError):
    """The sample request cannot be read; the text says what to change."""


def read(question: Any) -> SampleRequest:
    """{method, path (with query), host, headers {name: value}, query, clientIp}; raises BadQuestion."""
    if not isinstance(question, dict):
        raise BadQuestion('send an object such as {"method": "GET", "path": "/api/users/1", "host": "api.example.com"}')
    for name, value in question.items():
        if name not in _FIELDS:
            raise BadQuestion(f"unknown field {name!r}; there are {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[name]):
            raise BadQuestion(f"{name} must be {'an object' if name == 'headers' else 'a string'}")
    headers = question.get("headers", {})
    if not all(isinstance(word, str) for header in headers.items() for word in header):
        raise BadQuestion("the values of headers must be strings")
    if question.get("query") and "?" in question.get("path", ""):
        raise BadQuestion("the path has a query already; give it there or as query")
    try:
        return SampleRequest(
            method=question.get("method", ""),
            path=question.get("path", ""),
            host=question.get("host", ""),
            headers=headers,
            query=question.get("query", ""),
            client_ip=question.get("clientIp", ""),
        )
    except UnicodeEncodeError as error:
        raise BadQuestion(f"there is half a surrogate pair in it: {error.reason}") from error


def as_json(message: Message) -> dict[str, Any]:
    """An explanation, or a part of one, as people read it: numbers are numbers, what does not apply is left out."""
    known = message.DESCRIPTOR.fields_by_name
    told = {name: nothing for name, nothing in _ALWAYS.items() if name in known}
    return told | {field.json_name: _value(field, value) for field, value in message.ListFields()}


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is None:
        return list(value) if field.is_repeated else value
    if field.message_type.GetOptions().map_entry:
        return dict(value)
    return [as_json(item) for item in value] if field.is_repeated else as_json(value)
