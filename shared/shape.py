"""The shape of every message, read once from the model's descriptors: its JSON field names and what each may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from shared.shorthands import UNITS, Scalar

Read = Callable[[object], Scalar]

_WHOLE = {
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One field: `message` tells what stands there (or in each element or value); without it `read` checks a scalar."""

    name: str
    place: str  # "Message.field", the key of the tables of shorthands and rules
    form: Literal["one", "list", "map", "free"]  # free: any JSON object
    message: Descriptor | None
    read: Read


@cache
def fields_of(descriptor: Descriptor) -> Mapping[str, FieldShape]:
    """The fields of a message by JSON name."""
    return {field.json_name: _shape(descriptor, field) for field in descriptor.fields}


def _shape(descriptor: Descriptor, field: FieldDescriptor) -> FieldShape:
    place = f"{descriptor.name}.{field.json_name}"
    message: Descriptor | None = field.message_type
    if message is not None and message.GetOptions().map_entry:
        value = message.fields_by_name["value"]
        return FieldShape(field.json_name, place, "map", value.message_type, _reader(value, place))
    if message is not None and message.full_name == "google.protobuf.Struct":
        return FieldShape(field.json_name, place, "free", None, text)
    form: Literal["one", "list"] = "list" if field.is_repeated else "one"
    return FieldShape(field.json_name, place, form, message, _reader(field, place))


def _reader(field: FieldDescriptor, place: str) -> Read:
    if field.type in _WHOLE:
        low, high = _WHOLE[field.type]
        return _bounded(UNITS.get(place, whole), low, high)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return UNITS.get(place, number)
    return boolean if field.type == FieldDescriptor.TYPE_BOOL else text


def _bounded(read: Read, low: int, high: int) -> Read:
    def bounded(value: object) -> Scalar:
        result = read(value)
        if not low <= int(result) <= high:
            raise ValueError(f"{shown(value)} is outside of what fits here: {low} to {high}")
        return result

    return bounded


def text(value: object) -> str:
    """A string as it stands; numbers and booleans are refused, for YAML may have changed them ("1.10" is not 1.1)."""
    if not isinstance(value, str):
        hint = f'; write it in quotes: "{value}"' if isinstance(value, int | float) else ""
        raise ValueError(f"expected text, got {shown(value)}{hint}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("expected text, got a half of a surrogate pair") from error
    return value


def boolean(value: object) -> bool:
    """True or false; YAML 1.1's yes, no, on and off are words like any other."""
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {shown(value)}")
    return value


def whole(value: object) -> int:
    """A whole number; JSON may write it as 5.0, and a 64-bit one as "5"."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {shown(value)}")
    return value


def number(value: object) -> float:
    """A number that is neither infinite nor NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {shown(value)}")
    if not abs(value) < 1e300:  # NaN compares false
        raise ValueError(f"{shown(value)} is too large")
    return float(value)


def shown(value: object) -> str:
    """A value as a message shows it: short, and in the operator's words."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    return written if len(written) <= 60 else written[:57] + "..."
