"""One resource of plain data, as REST and the command line take it: the message, and every fault of its form.

The same words and shorthands as in a document (`shared/normalise.py`); what it may refer to is checked by who knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from shared.canonical import Walk
from shared.faults import Fault
from shared.shape import fields_of
from shared.shorthands import ALIASES
from shared.table import KINDS

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read. `origins` leads from canonical paths to those that were written, where they differ."""

    message: Message
    faults: list[Fault]
    origins: Mapping[str, str]


def read_resource(kind: str, data: Json) -> Reading:
    """The message of a resource; what is faulty is left out of it, and told."""
    faults: list[Fault] = []
    origins: dict[str, str] = {}
    message_type = KINDS[kind]
    canonical = Walk(faults, origins).message(_descriptor(kind), data, "", "")
    message = message_type()
    try:
        ParseDict(canonical or {}, message)
    except ParseError as error:  # the walk leaves nothing that the model refuses; should they ever disagree, say so
        faults.append(Fault("", str(error), "type"))
    return Reading(message, faults, origins)


def canonical_names(kind: str, data: Json) -> Json:
    """The same with every field under its own name in the place of an alias; values stay as they are, null too."""
    named: Json = _named(_descriptor(kind), data)
    return named


def _descriptor(kind: str) -> Descriptor:
    return cast(Descriptor, KINDS[kind].DESCRIPTOR)


def _named(descriptor: Descriptor, data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    shapes = fields_of(descriptor)
    named: Json = {}
    for key, value in data.items():
        alias = ALIASES.get(f"{descriptor.name}.{key}")
        name = alias(value) if alias else key
        # Two names of one thing both stay, so that reading the whole finds that.
        place = key if name in named or (name != key and name in data) else name
        shape = shapes.get(name)
        named[place] = _named(shape.message, value) if shape and shape.message and shape.form == "one" else value
    return named
