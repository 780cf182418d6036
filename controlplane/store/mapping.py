"""A resource as the JSON mapping of its message, which is how the database keeps it, and back."""

from __future__ import annotations

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from controlplane.changes import Json
from shared.faults import ConfigError, Fault
from shared.pb.resources_pb2 import Resource
from shared.redact import redacted
from shared.table import KINDS, Table, config_of, pack, unpack


def to_json(resource: Resource) -> Json:
    """What is kept."""
    return MessageToDict(unpack(resource))


def from_json(kind: str, name: str, body: Json) -> Resource:
    """The resource; ConfigError where a newer version kept it, with words that this one does not know."""
    message_type = KINDS.get(kind)
    try:
        if message_type is None:
            raise ParseError(f"the kind {kind!r} is not known")
        return pack(kind, name, ParseDict(body, message_type()))
    except ParseError as error:
        fault = Fault("", f"the database holds what this version cannot read: {error}", "undecodable", kind, name)
        raise ConfigError([fault]) from error


def shown_message(resource: Resource) -> Message:
    """The message with its secrets redacted."""
    config = redacted(config_of(Table([resource])))
    if resource.kind == "settings":
        return config.settings
    lists = (config.upstreams, config.routes, config.consumers, config.credentials)
    return next(messages[0] for messages in lists if messages)


def shown_json(resource: Resource) -> Json:
    """The same as JSON, for logs and for people."""
    return MessageToDict(shown_message(resource))
