"""Every single value against the table of rules, wherever its message stands in the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from shared.check.rules import KEY_RULES, RULES
from shared.faults import Fault
from shared.field_path import child, item

Visit = Callable[[Any, str], Iterator[Fault]]


def faults(message: Message, path: str = "") -> Iterator[Fault]:
    """The faults of all values within a message that stands at `path`."""
    visits = _visits(message.DESCRIPTOR)
    for field, value in message.ListFields():
        visit = visits.get(field.number)
        if visit is not None:
            yield from visit(value, child(path, field.json_name) if path else _root(field))


def _root(field: FieldDescriptor) -> str:
    """The settings are no level of their own in documents: "proxy.port", not "settings.proxy.port"."""
    return "" if field.json_name == "settings" else field.json_name


@cache
def _visits(descriptor: Descriptor) -> dict[int, Visit]:
    """What to do with each field, by its number; fields without rules below them are not among them."""
    visits = {}
    for field in descriptor.fields:
        visit = _visit(field, f"{descriptor.name}.{field.json_name}")
        if visit is not None:
            visits[field.number] = visit
    return visits


def _visit(field: FieldDescriptor, place: str) -> Visit | None:
    message = field.message_type
    if message is None:
        return _scalar(field, place)
    if message.full_name == "google.protobuf.Struct":
        return None
    if message.GetOptions().map_entry:
        nested = message.fields_by_name["value"].message_type is not None
        return _map(place, nested) if nested or place in RULES or place in KEY_RULES else None
    if field.is_repeated:
        return lambda values, path: (f for i, v in enumerate(values) for f in faults(v, item(path, i)))
    return faults


def _scalar(field: FieldDescriptor, place: str) -> Visit | None:
    rule = RULES.get(place)
    if rule is None:
        return None

    def one(value: Any, path: str) -> Iterator[Fault]:
        if problem := rule(value):
            yield Fault(path, problem)

    def each(values: Any, path: str) -> Iterator[Fault]:
        for index, value in enumerate(values):
            if problem := rule(value):
                yield Fault(item(path, index), problem)

    return each if field.is_repeated else one


def _map(place: str, nested: bool) -> Visit:
    key_rule, rule = KEY_RULES.get(place), RULES.get(place)

    def visit(values: Any, path: str) -> Iterator[Fault]:
        for key in sorted(values):
            where = child(path, key)
            if key_rule and (problem := key_rule(key)):
                yield Fault(where, problem)
            if nested:
                yield from faults(values[key], where)
            elif rule and (problem := rule(values[key])):
                yield Fault(where, problem)

    return visit
