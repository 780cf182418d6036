"""Secrets that came back as they were shown, "[redacted]", are taken from what is there: so PUT(GET(x)) keeps them.

Elements of a list are found again by their name or key id, else by their place. A secret that was not there before
cannot be kept: that is a fault, so that the word itself never becomes somebody's key. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from controlplane.store import Committed
from controlplane.store.mapping import shown_json
from shared.faults import Fault
from shared.field_path import child, item
from shared.pb.resources_pb2 import Config, Resource
from shared.redact import HIDDEN, redacted
from shared.table import unpack

IDENTITIES = ("name", "kid")
"""What tells an element of a list from the others."""
M = TypeVar("M", bound=Message)


def unredacted(message: M, before: Resource | None) -> tuple[M, list[Fault]]:
    """The message with the secrets that a resource had before, and a fault for each that it did not have."""
    data = MessageToDict(message)
    if not _hidden(data):
        return message, []
    full: Any = MessageToDict(unpack(before)) if before is not None else None
    shown: Any = shown_json(before) if before is not None else None
    faults: list[Fault] = []
    return ParseDict(_kept(data, full, shown, "", faults), type(message)()), faults


def expected(text: str, before: Committed | None, if_match: Sequence[str]) -> Sequence[str]:
    """The etags that a write of this document is for: what stands for "[redacted]" must still be what it was."""
    if if_match or before is None or HIDDEN not in text:
        return if_match
    return (before.etag,)


def fill(config: Config, before: Config) -> list[Fault]:
    """The same for a whole document, in place."""
    data = MessageToDict(config)
    if not _hidden(data):
        return []
    faults: list[Fault] = []
    settings = data.pop("settings", {})
    full, shown = MessageToDict(before), MessageToDict(redacted(before))
    kept = _kept(data, full, shown, "", faults)
    # In a document the sections of the settings stand at the top.
    kept["settings"] = _kept(settings, full.get("settings"), shown.get("settings"), "", faults)
    config.Clear()
    ParseDict(kept, config)
    return faults


def _hidden(data: Any) -> bool:
    if isinstance(data, dict):
        return any(map(_hidden, data.values()))
    if isinstance(data, list):
        return any(map(_hidden, data))
    return isinstance(data, str) and HIDDEN in data


def _kept(data: Any, full: Any, shown: Any, path: str, faults: list[Fault]) -> Any:
    if isinstance(data, dict):
        before = (full, shown) if isinstance(full, dict) and isinstance(shown, dict) else ({}, {})
        return {
            key: _kept(value, before[0].get(key), before[1].get(key), child(path, key), faults)
            for key, value in data.items()
        }
    if isinstance(data, list):
        both = list(zip(full, shown, strict=True)) if isinstance(full, list) and isinstance(shown, list) else []
        return [
            _kept(value, *_partner(value, index, both), item(path, index), faults) for index, value in enumerate(data)
        ]
    if not _hidden(data):
        return data
    if data == shown:
        return full
    message = f"{HIDDEN} stands for a secret, and there is none here to keep; write the value"
    faults.append(Fault(path, message, "redacted"))
    return ""


def _partner(value: Any, index: int, before: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """What an element of a list was before."""
    for identity in IDENTITIES:
        if isinstance(value, dict) and value.get(identity):
            named = [pair for pair in before if isinstance(pair[1], dict) and pair[1].get(identity) == value[identity]]
            return named[0] if len(named) == 1 else _at(before, index) if named else (None, None)
    return _at(before, index)


def _at(before: list[tuple[Any, Any]], index: int) -> tuple[Any, Any]:
    return before[index] if index < len(before) else (None, None)
