"""What a program can do with a configuration, in words that both planes compare: "Message.field" of each field.

A node announces the kinds of resources and the fields that it knows, and, with "!" before them, the fields that it
accepts and does not act on yet (shared/unenforced.py). So a newer control plane can tell what an older node would
ignore.
Derived from the model: a field that is added is a capability at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from google.protobuf.message import Message

from shared.field_path import child, item
from shared.table import KINDS
from shared.unenforced import LATER

NOT_YET = "!"


def _fields(descriptor: Any, seen: set[str]) -> Iterator[str]:
    if descriptor.full_name in seen or descriptor.full_name.startswith("google."):
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        if not descriptor.GetOptions().map_entry:
            yield f"{descriptor.name}.{field.json_name}"
        if field.message_type is not None:
            yield from _fields(field.message_type, seen)


_SEEN: set[str] = set()
KNOWN = frozenset(name for kind in KINDS.values() for name in _fields(kind.DESCRIPTOR, _SEEN))
"""Every field of every resource that this program knows."""
ANNOUNCED = (*sorted(KINDS), *sorted(KNOWN), *(NOT_YET + name for name in sorted(LATER)))
"""What a node says of itself."""


def lacks(capabilities: Collection[str]) -> frozenset[str]:
    """The fields that this program acts on, and one with these capabilities does not.

    Nothing is told of a program that does not announce fields.
    """
    if not any("." in name for name in capabilities):
        return frozenset()
    idle = {name.removeprefix(NOT_YET) for name in capabilities if name.startswith(NOT_YET)}
    return frozenset(name for name in KNOWN if name not in capabilities or name in idle) - LATER.keys()


def used(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """("Message.field", path) of every field that a resource uses; a list's elements count each by itself."""
    for field, value in message.ListFields():
        where = child(path, field.json_name)
        yield f"{message.DESCRIPTOR.name}.{field.json_name}", where
        inner = field.message_type
        if inner is None or inner.full_name.startswith("google."):
            continue
        if inner.GetOptions().map_entry:
            if inner.fields_by_name["value"].message_type is not None:
                for key in sorted(value):
                    yield from used(value[key], child(where, key))
        elif field.is_repeated:
            for index, element in enumerate(value):
                yield from used(element, item(where, index))
        else:
            yield from used(value, where)
