"""What the language accepts and the data plane does not do yet: the table, and the warnings where it is used.

An entry goes when its work lands. A warning is given only where the operator asked for something: `enabled: false`,
`retries: 0` or `policy: round-robin` are honoured by doing nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from shared.faults import Fault
from shared.field_path import child, item
from shared.pb.resources_pb2 import Config

CODE = "not_enforced"


@dataclass(frozen=True, slots=True)
class Later:
    """`work` brings it; `instead` is what happens until then; `matters` tells whether a value asks for it."""

    work: str
    instead: str
    matters: Callable[[Any], bool] = bool


def _enabled(message: Any) -> bool:
    """A section that is not switched off."""
    return not message.HasField("enabled") or bool(message.enabled)


def _other_than(*words: str) -> Callable[[Any], bool]:
    return lambda value: value not in words


def _some(message: Any) -> bool:
    return bool(message.ListFields())


_CORS = Later("CORS", "no CORS headers are added; the upstream's own pass through", _some)
_AUTH = Later("identity", "routes that need it answer 503", _other_than("apiKey", "jwt"))

LATER: dict[str, Later] = {
    "Security.ipFilter": Later("client filters", "clients from every address are served", _some),
    "Security.cors": _CORS,
    "Auth.type": _AUTH,
    "Credential.type": Later("identity", "the credential authenticates nobody", _other_than("apiKey")),
    "Upstream.http2": Later("HTTP/2", "HTTP/1.1 is spoken to the upstream"),
    "Route.split": Later("traffic splitting", "all requests go to the first of them"),
    "Route.cors": _CORS,
    "Route.bodySchema": Later("request validation", "bodies are not validated", lambda schema: bool(schema.fields)),
    "Route.cache": Later("caching", "nothing is cached", _enabled),
    "Route.mirror": Later("mirroring", "no copies are sent", _some),
    "Route.fault": Later("fault injection", "no faults are injected", _some),
    "Settings.tracing": Later("tracing", "no spans are made; trace headers pass through", _enabled),
}
"""By "Message.field"."""


def unenforced(config: Config) -> list[Fault]:
    """A warning for everything in a configuration that is accepted and not enforced yet."""
    return list(_within(config, ""))


def _within(message: Message, path: str) -> Iterator[Fault]:
    plan = _plan(message.DESCRIPTOR)
    for field, value in message.ListFields():
        later, inner = plan.get(field.number, (None, False))
        name = field.json_name
        where = path if message.DESCRIPTOR is Config.DESCRIPTOR and name == "settings" else child(path, name)
        if later is not None and later.matters(value):
            yield Fault(where, f"accepted, not enforced yet: {later.instead} (comes with {later.work})", CODE)
        elif inner and field.is_repeated:
            for index, element in enumerate(value):
                yield from _within(element, item(where, index))
        elif inner:
            yield from _within(value, where)


@cache
def _plan(descriptor: Descriptor) -> dict[int, tuple[Later | None, bool]]:
    """(its entry, whether entries lie below it) for each field that has either."""
    plan: dict[int, tuple[Later | None, bool]] = {}
    for field in descriptor.fields:
        later = LATER.get(f"{descriptor.name}.{field.json_name}")
        message = field.message_type
        known = message is not None and message.file is descriptor.file and not message.GetOptions().map_entry
        inner = known and bool(_plan(message))
        if later or inner:
            plan[field.number] = later, inner
    return plan
