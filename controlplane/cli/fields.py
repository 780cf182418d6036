"""What is typed as NAME=VALUE: labels, filters, and the fields of a resource."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from controlplane.cli.api import Json
from controlplane.cli.failure import Code, Failure
from shared.faults import ConfigError
from shared.yaml_lines import load, plain


def pairs(words: Iterable[str], option: str) -> dict[str, str]:
    """{name: text}; Failure where a word has no name and `=`."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise Failure(f"{option} {word!r}: write NAME=VALUE", Code.USAGE)
        found[name] = value
    return found


def assigned(words: Iterable[str]) -> Json:
    """A tree of `rateLimit.max=100` and the like; values are numbers, true, text, [GET, POST], {a: b}; null removes."""
    tree: Json = {}
    for path, text in pairs(words, "field").items():
        *parents, last = path.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise Failure(f"{path}: {parent} has a value already", Code.USAGE)
        place[last] = _value(path, text)
    return tree


def document(file: Path) -> Json:
    """The object in a YAML or JSON file, or in the input for `-`; Failure where there is none."""
    found = parsed(text(file), str(file))
    if not isinstance(found, dict):
        raise Failure(f"{file}: expected an object with the fields of a resource")
    return found


def text(file: Path) -> str:
    """What a file, or the input for `-`, says."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text()
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Failure(f"{file} is not UTF-8: {error.reason} at byte {error.start}") from error


def parsed(written: str, name: str) -> Any:
    """YAML as plain data; Failure with the places of what is wrong with it."""
    try:
        source = load(written)
        faults, reason = source.faults, "has faults"
    except ConfigError as error:
        faults, reason = error.faults, "cannot be read"
    if faults:
        raise Failure(f"{name} {reason}", details=[f"line {one.line}: {one.message}" for one in faults])
    return source.data


def _value(path: str, written: str) -> Any:
    """Lists, objects and quoted text are YAML; a word is what it would be in YAML, so `a: b` is text here."""
    if not written:
        return ""
    return parsed(written, path) if written[0] in "[{\"'" else plain(written)
