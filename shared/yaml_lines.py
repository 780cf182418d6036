"""YAML text to plain data, with the line of every place in it.

YAML 1.2's core rules, not 1.1's: only true and false are booleans (so the key `on` is a key), and dates stay text.
Anchors, aliases and `<<` merges work; what they expand to is bounded. Whatever is wrong is a fault with its line.
Built from PyYAML's events: its composer recurses in C and takes the process down on deep nesting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from shared.faults import ConfigError, Fault
from shared.field_path import child, item

MAX_DEPTH = 64
"""Levels of nesting; the model needs 7, a JSON Schema in `bodySchema` some more."""

MAX_VALUES = 2_000_000
"""Values once aliases are expanded: 10 000 rich routes are 300 000, the classic alias bomb is a billion."""

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_NUMBER_START = frozenset("+-.0123456789")
_WORDS = dict.fromkeys(("", "~", "null", "Null", "NULL")) | {
    word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_INT = re.compile(r"[-+]?[0-9]+")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(slots=True)
class Source:
    """Plain data (dicts, lists, str, int, float, bool, None) and the 1-based line of each path in it."""

    data: object = None
    lines: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def load(text: str) -> Source:
    """Read one document. Raises ConfigError where the text is no YAML; duplicate and odd keys are in `faults`."""
    try:
        return _Builder(yaml.parse(text, Loader=_LOADER)).build()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(filter(None, [error.context, error.problem]))
        raise _refused(f"not valid YAML: {reason}", mark.line + 1 if mark else 0) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 0
        raise _refused(f"not valid YAML: {error.reason}", line) from error
    except UnicodeError as error:
        raise _refused(f"not valid text: {error}", 0) from error


def _refused(message: str, line: int) -> ConfigError:
    return ConfigError([Fault("", message, "yaml", line=line)])


def _line(event: yaml.Event) -> int:
    """1-based; every event of a parser has a mark, though its type says otherwise."""
    return event.start_mark.line + 1 if event.start_mark else 0


def plain(text: str) -> object:
    """What an unquoted scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_START:
        try:
            if _INT.fullmatch(text):
                return int(text)
            if _RADIX.fullmatch(text):
                return int(text, 0)
            if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
                return number
        except ValueError:
            pass  # thousands of digits: it stays text, and the field that gets it says what it expected
    return text


class _Builder:
    """Builds the data of one document from its events, within bounds."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._source = Source()
        self._values = 0
        self._reach = 0  # the deepest level within the value being built
        self._anchors: dict[str, tuple[object, int, int]] = {}  # what it holds, how many values, how many levels

    def build(self) -> Source:
        """The first document; a second one is refused, none at all is None."""
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._source.data = self._value(next(self._events), "", 1)
                break
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                reason = "one file holds one document, and a second one starts here; split the file"
                raise _refused(reason, _line(event))
        return self._source

    def _value(self, event: yaml.Event, path: str, depth: int) -> object:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), depth, line)
        before, outer, self._reach = self._values, self._reach, depth
        self._bound(1, depth, line)
        value: object
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._untagged(event, path, "seq")
            value = self._sequence(path, depth)
        else:
            assert isinstance(event, yaml.MappingStartEvent)
            self._untagged(event, path, "map")
            value = self._mapping(path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._values - before, self._reach - depth
        self._reach = max(outer, self._reach)
        return value

    def _alias(self, anchor: str, depth: int, line: int) -> object:
        """The value of an anchor that is complete by now: none can hold itself."""
        if anchor not in self._anchors:
            raise _refused(f"*{anchor} refers to nothing above it; an alias comes after its anchor &{anchor}", line)
        value, values, levels = self._anchors[anchor]
        self._bound(values, depth + levels, line)
        return value

    def _bound(self, values: int, depth: int, line: int) -> None:
        """Count what is built; refuse what only an attack or an accident makes that large."""
        self._values += values
        self._reach = max(self._reach, depth)
        if depth > MAX_DEPTH:
            raise _refused(f"nested deeper than {MAX_DEPTH} levels", line)
        if self._values > MAX_VALUES:
            raise _refused(f"too large: more than {MAX_VALUES} values once aliases are expanded", line)

    def _sequence(self, path: str, depth: int) -> list[object]:
        values: list[object] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            where = item(path, len(values))
            self._source.lines[where] = _line(event)
            values.append(self._value(event, where, depth + 1))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, object]:
        values: dict[str, object] = {}
        merged: dict[str, object] = {}
        lines = self._source.lines
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = _line(event)
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                merged = self._merged(self._value(next(self._events), path, depth + 1), path, line) | merged
                continue
            key = self._value(event, path, depth + 1)
            if not isinstance(key, str):
                shown = event.value if isinstance(event, yaml.ScalarEvent) else "a list or mapping"
                self._fault(path, f"{shown} cannot be a key: keys are text; put it in quotes", line)
                self._value(next(self._events), path, depth + 1)
                continue
            where = child(path, key)
            if key in values:
                self._fault(where, f"given twice, first in line {lines[where]}; keep one", line, "duplicate_key")
                self._value(next(self._events), where, depth + 1)
                continue
            lines[where] = line
            values[key] = self._value(next(self._events), where, depth + 1)
        return merged | values if merged else values

    def _merged(self, value: object, path: str, line: int) -> dict[str, object]:
        """What `<<: *a` or `<<: [*a, *b]` brings in: the first of several wins, and the mapping's own keys over all."""
        merged: dict[str, object] = {}
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                merged = part | merged
            else:
                self._fault(path, "`<<` takes a mapping or a list of mappings", line)
        return merged

    def _scalar(self, event: yaml.ScalarEvent, path: str) -> object:
        if event.tag is None and event.implicit[0]:
            return plain(event.value)
        if event.tag != "!" and event.tag is not None:
            self._untagged(event, path, "str")
        return event.value

    def _untagged(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, path: str, own: str) -> None:
        tag = event.tag
        if tag is not None and tag not in ("!", _TAG + own):
            self._fault(path, f"the tag {tag} has no meaning here; remove it", _line(event))

    def _fault(self, path: str, message: str, line: int, code: str = "yaml") -> None:
        self._source.faults.append(Fault(path, message, code, line=line))
