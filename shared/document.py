"""A configuration document: YAML text in, a checked Config out, or every fault with its path and line.

text -> data and lines (yaml_lines) -> canonical form (normalise) -> Config -> names (route_names) -> check.
Docs: docs/reference/configuration.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf import json_format

from shared.check import check, owned
from shared.check.advice import advice
from shared.faults import ConfigError, Fault
from shared.field_path import enclosing
from shared.normalise import Normalised, normalise
from shared.pb.resources_pb2 import Config
from shared.route_names import name_routes
from shared.unenforced import unenforced
from shared.yaml_dump import dump
from shared.yaml_lines import Source, load

CONSEQUENCES = {"required", "unknown_reference"}
"""Faults that may only follow from another: what was left out as faulty is missing elsewhere."""


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration that may be applied. `warnings` are what to tell the operator all the same."""

    config: Config
    warnings: list[Fault]


Fill = Callable[[Config], list[Fault]]
"""Puts in, in place, what a document leaves to be filled in (secrets that it was shown redacted)."""


def read(text: str, fill: Fill | None = None) -> Document:
    """Read a YAML document; raises ConfigError with all faults, in the order of their lines."""
    source = load(text)
    result = normalise(source.data)
    config = _message(result)
    result.faults += fill(config) if fill else ()
    name_routes(config.routes)
    unread = source.faults + result.faults
    found = check(config)
    if unread:
        found = [fault for fault in found if fault.code not in CONSEQUENCES]
    faults = _placed(unread, source, config) + _placed(_translated(found, result), source, config)
    if faults:
        raise ConfigError(sorted(_once(faults), key=lambda fault: fault.line))
    warnings = _translated(result.warnings + advice(config) + unenforced(config), result)
    return Document(config, sorted(_placed(warnings, source, config), key=lambda fault: fault.line))


def read_file(path: Path) -> Document:
    """Read a YAML file. A file that is missing, unreadable or no text is one fault of a ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([Fault("", f"cannot read {path}: {reason}", "unreadable")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            [Fault("", f"{path} is not UTF-8 text: byte {error.start} is wrong", "unreadable")]
        ) from error
    return read(text)


def export(config: Config) -> dict[str, object]:
    """The document, as plain data in the canonical form, that reads back as this very configuration."""
    data: dict[str, object] = json_format.MessageToDict(config)
    settings = data.pop("settings", {})
    assert isinstance(settings, dict)
    head = {"version": data.pop("version")} if "version" in data else {}
    return {**head, **settings, **data}


def write(config: Config) -> str:
    """The same as YAML text."""
    return dump(export(config))


def _message(result: Normalised) -> Config:
    try:
        return json_format.ParseDict(result.data, Config())
    except json_format.ParseError as error:
        # The walk leaves nothing that the model refuses; should they ever disagree, the operator hears of it.
        raise ConfigError([*result.faults, Fault("", str(error), "type")]) from error


def _translated(faults: Iterable[Fault], result: Normalised) -> list[Fault]:
    """Faults at canonical paths, moved to the paths that the operator wrote."""
    return [replace(fault, path=written(fault.path, result.origins)) for fault in faults]


def written(path: str, origins: Mapping[str, str]) -> str:
    """The path that the operator wrote for a canonical one."""
    for prefix in enclosing(path) if origins else ():
        if prefix in origins:
            # A field within a plain value ("timeout: 0" is timeout.request) is that value.
            return origins[prefix] + path[len(prefix) :]
    return path


def _placed(faults: Iterable[Fault], source: Source, config: Config) -> list[Fault]:
    """Faults with their line, that of the nearest thing that stands in the text, and their resource."""
    placed = []
    for fault in faults:
        line = fault.line or next((source.lines[p] for p in enclosing(fault.path) if p in source.lines), 0)
        placed.append(replace(fault if fault.kind else owned(fault, config), line=line))
    return placed


def _once(faults: Iterable[Fault]) -> list[Fault]:
    """The first fault of each path and message."""
    return list({(fault.path, fault.message): fault for fault in reversed(list(faults))}.values())[::-1]
