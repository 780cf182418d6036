"""The walk from plain data to the canonical JSON form, along the model's descriptors.

A new field of the model needs nothing here; what operators may write instead of the canonical form stands in
`shared/shorthands.py`. Every fault is collected, and what is faulty is left out, so the checks go on with the rest.
"""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.descriptor import Descriptor

from shared.faults import Fault
from shared.field_path import child, item
from shared.shape import FieldShape, fields_of, shown, text
from shared.shorthands import ALIASES, EVERYTHING, OBJECTS, WORDINGS
from shared.suggestion import suggestion


class Walk:
    """One walk over one document. `path` is the canonical place, `source` the place that the operator wrote.

    Collects into `faults`, and into `origins` (canonical path -> written path) where the two differ.
    """

    def __init__(self, faults: list[Fault], origins: dict[str, str]) -> None:
        self._faults = faults
        self.origins = origins

    def fault(self, path: str, message: str, code: str) -> None:
        self._faults.append(Fault(path, message, code))

    def unknown(self, path: str, key: str, known: Collection[str]) -> None:
        self.fault(child(path, key), f"unknown key{suggestion(key, known)}", "unknown_key")

    def put(self, target: dict[str, object], shape: FieldShape, value: object, path: str, source: str) -> None:
        """Read a field's value and put it into `target`; leave it out where it is faulty."""
        if value is None:
            self.fault(source, "has no value; give one or remove the key", "type")
        elif shape.form == "list":
            target[shape.name] = self._list(shape, value, path, source)
        elif shape.form == "map":
            target[shape.name] = self._map(shape, value, path, source)
        elif shape.form == "free":
            target[shape.name] = self._free(value, source)
        else:
            read = self._one(shape, value, path, source)
            if read is not None:
                target[shape.name] = read

    def _one(self, shape: FieldShape, value: object, path: str, source: str) -> object:
        """A message or a scalar; None where it is faulty as a whole."""
        if shape.message is not None:
            return self.message(shape.message, value, path, source)
        wording = WORDINGS.get(shape.place)
        try:
            return shape.read(wording(value) if wording else value)
        except ValueError as error:
            self.fault(source, str(error), "type")
            return None

    def _list(self, shape: FieldShape, value: object, path: str, source: str) -> list[object]:
        if shape.message is None and isinstance(value, str | int | float) and not isinstance(value, bool):
            value = [value]  # one value may stand for a list of one
        if not isinstance(value, list):
            self.fault(source, f"expected a list, got {shown(value)}", "type")
            return []
        if shape.place in EVERYTHING and "*" in value:
            return []
        # A faulty scalar is dropped, a faulty message leaves an empty one: later elements keep their index.
        empty = None if shape.message is None else dict[str, object]()
        read = [self._one(shape, element, item(path, i), item(source, i)) for i, element in enumerate(value)]
        return [empty if element is None else element for element in read if element is not None or empty is not None]

    def _map(self, shape: FieldShape, value: object, path: str, source: str) -> dict[str, object]:
        if not isinstance(value, dict):
            self.fault(source, f"expected an object, got {shown(value)}", "type")
            return {}
        result: dict[str, object] = {}
        for key, element in value.items():
            try:
                text(key)
            except ValueError as error:
                self.fault(source, f"a key is no text: {error}", "type")
                continue
            read = self._one(shape, element, child(path, key), child(source, key))
            if read is not None:
                result[key] = read
        return result

    def _free(self, value: object, source: str) -> dict[str, object]:
        """Any JSON object, such as a JSON Schema."""
        if not isinstance(value, dict):
            self.fault(source, f"expected an object, got {shown(value)}", "type")
            return {}
        if not _is_json(value):
            self.fault(source, "holds what JSON cannot: an infinite or huge number, or half a surrogate pair", "type")
            return {}
        return value

    def message(self, descriptor: Descriptor, value: object, path: str, source: str) -> dict[str, object] | None:
        """Read a whole message; None where nothing of it could be read."""
        fields = fields_of(descriptor)
        if not isinstance(value, dict):
            stands_for = _plain_field(descriptor, value)
            if stands_for is None:
                self.fault(source, f"expected {_wanted(descriptor)}, got {shown(value)}", "type")
                return None
            self.origins[child(path, stands_for)] = source
            plain: dict[str, object] = {}
            self.put(plain, fields[stands_for], value, child(path, stands_for), source)
            return plain
        result: dict[str, object] = {}
        written: dict[str, str] = {}
        for key, element in value.items():
            alias = ALIASES.get(f"{descriptor.name}.{key}")
            name = alias(element) if alias else key
            shape = fields.get(name)
            if shape is None:
                self.unknown(source, key, [*fields, *_aliases(descriptor.name)])
            elif name in written:
                other = f"{key} and {written[name]} are two names of one thing; keep one"
                self.fault(child(source, key), other, "duplicate_key")
            else:
                written[name] = key
                if name != key:
                    self.origins[child(path, name)] = child(source, key)
                self.put(result, shape, element, child(path, name), child(source, key))
        return result


def _plain_field(descriptor: Descriptor, value: object) -> str | None:
    """The field that a plain value in the place of a message fills."""
    if isinstance(value, bool):
        return "enabled" if "enabled" in fields_of(descriptor) else None
    types, name = OBJECTS.get(descriptor.name, ((), ""))
    return name if isinstance(value, types) else None


def _wanted(descriptor: Descriptor) -> str:
    types, _ = OBJECTS.get(descriptor.name, ((), ""))
    plain = "text in quotes, or " if types is str else ""
    return f"{plain}an object with keys such as {', '.join(list(fields_of(descriptor))[:4])}"


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_json(key) and _is_json(element) for key, element in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, int | float):
        return abs(value) < 1e300  # neither infinite nor NaN, which compares false
    return value is None


def _aliases(message: str) -> list[str]:
    """The other names of a message's fields."""
    return [place.split(".")[1] for place in ALIASES if place.startswith(f"{message}.")]
