"""JSON Schemas of the model's messages, made of their descriptors: what REST takes and shows, fields and types.

Quantities may be written as text ("30s", "10mb", "50%"), and a plain value may stand for some objects, as in documents:
both come from the tables that read them (shared/shorthands.py). What a value may be beyond its type, the checks say.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from shared.shorthands import ALIASES, OBJECTS, UNITS

Json = dict[str, Any]
BOUNDS = {
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}
ANY_OBJECT: Json = {"type": "object", "additionalProperties": True}


class Schemas:
    """Collects the schemas that are referred to, by the name of their message."""

    def __init__(self) -> None:
        self.components: dict[str, Json] = {}

    def message(self, descriptor: Descriptor, *, written: bool) -> Json:
        """A reference to the schema of a message; `written`: with all the ways to write it."""
        name = f"{descriptor.name}{'Input' if written else ''}"
        if name not in self.components:
            self.components[name] = {}
            self.components[name] = _object(self, descriptor, written)
        return {"$ref": f"#/components/schemas/{name}"}

    def add(self, name: str, schema: Json) -> Json:
        """A reference to a schema of our own."""
        self.components[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}


def _object(schemas: Schemas, descriptor: Descriptor, written: bool) -> Json:
    properties: Json = {}
    for field in descriptor.fields:
        properties[field.json_name] = _field(schemas, descriptor, field, written)
    if written:
        for place, alias in ALIASES.items():
            message, name = place.split(".")
            meant = alias("") if name != "id" else ""
            if message == descriptor.name and name not in properties and meant in properties:
                properties[name] = properties[meant]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    plain, stands_for = OBJECTS.get(descriptor.name, ((), ""))
    if not written or not (plain or "enabled" in properties):
        return schema
    kinds = ["string"] if plain is str else ["number", "string"] if plain else []
    kinds += ["boolean"] if "enabled" in properties else []
    return {"anyOf": [schema, {"type": kinds, "description": f"a plain value is `{stands_for or 'enabled'}`"}]}


def _field(schemas: Schemas, descriptor: Descriptor, field: FieldDescriptor, written: bool) -> Json:
    place = f"{descriptor.name}.{field.json_name}"
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        value = message.fields_by_name["value"]
        inner = schemas.message(value.message_type, written=written) if value.message_type else _scalar(value)
        return {"type": "object", "additionalProperties": inner}
    if message is not None and message.full_name == "google.protobuf.Struct":
        return ANY_OBJECT
    one = schemas.message(message, written=written) if message is not None else _scalar(field)
    if written and place in UNITS:
        one = {"anyOf": [one, {"type": "string", "description": UNITS[place].__doc__}]}
    if not field.is_repeated:
        return one
    many: Json = {"type": "array", "items": one}
    return {"anyOf": [many, one]} if written and message is None else many


def _scalar(field: FieldDescriptor) -> Json:
    if field.cpp_type in BOUNDS:
        low, high = BOUNDS[field.cpp_type]
        return {"type": "integer", "minimum": low, "maximum": high}
    if field.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        return {"type": "number"}
    return {"type": "boolean"} if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else {"type": "string"}
