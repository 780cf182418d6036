"""JSON bodies and the messages of access.proto: every fault of a body at once, each with its field."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from aiohttp import web
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from controlplane.auth.errors import AccessError, invalid

LARGEST = 64 * 1024
"""Bytes of a body."""
_WANTED = {FieldDescriptor.CPPTYPE_STRING: "text", FieldDescriptor.CPPTYPE_BOOL: "true or false"}

M = TypeVar("M", bound=Message)


async def parsed(request: web.Request, message: M, *fixed: str) -> M:
    """The message with what the body says; AccessError(400) with all that is wrong. `fixed` fields are the path's.

    The body must say that it is JSON: a form of another site cannot, so that it never gets here.
    """
    if request.content_type not in {"application/json", "application/merge-patch+json"}:
        raise AccessError(415, "the body must be JSON, with Content-Type: application/json")
    if (request.content_length or 0) > LARGEST:
        raise AccessError(413, f"a body of at most {LARGEST} bytes is enough for this")
    content = await request.read()
    if len(content) > LARGEST:
        raise AccessError(413, f"a body of at most {LARGEST} bytes is enough for this")
    try:
        body = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError as error:
        raise AccessError(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise AccessError(400, "the body must be a JSON object")
    return filled(message, body, *fixed)


def filled(message: M, body: dict[str, Any], *fixed: str) -> M:
    """The message with these fields set."""
    known = {field.json_name: field for field in message.DESCRIPTOR.fields if field.name not in fixed}
    faults = {}
    for name, value in body.items():
        if name not in known:
            faults[name[:128]] = f"is not known; there are {', '.join(known)}"
            continue
        try:
            ParseDict({name: value}, message)
        except (ParseError, ValueError, TypeError):
            faults[name] = f"must be {_WANTED.get(known[name].cpp_type, 'a number')}"
    if faults:
        raise invalid(**faults)
    return message


def shown(message: Message) -> dict[str, Any]:
    """A message as JSON; what is empty is shown too, but for messages that are not there."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)
