"""What a route asks of headers and query parameters, beside path, host and method.

A field or parameter that stands several times satisfies a condition when one of its values does. Values compare by
case; names of headers do not, names of parameters do. The query is parsed only for routes that ask about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

Kind = Literal["exact", "prefix", "suffix", "present", "absent"]
Fields = Sequence[tuple[bytes, bytes]]
"""(lower-case name, value) pairs, as the parser gave them."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`name` of a header is in lower case; `value` counts for exact, prefix and suffix."""

    name: str
    kind: Kind
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.kind}" + (f" {self.value!r}" if self.kind in _OF_VALUES else "")


_OF_VALUES: dict[str, Callable[[bytes, bytes], bool]] = {
    "exact": bytes.__eq__,
    "prefix": bytes.startswith,
    "suffix": bytes.endswith,
}


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one route, ready to ask. As few routes have any, asking is not tuned beyond that."""

    headers: tuple[Condition, ...]
    query: tuple[Condition, ...]

    def __len__(self) -> int:
        return len(self.headers) + len(self.query)

    def hold(self, headers: Fields, query: str | None) -> bool:
        """Whether all of them are satisfied."""
        return self.failing(headers, query) is None

    def failing(self, headers: Fields, query: str | None) -> str | None:
        """The first that is not satisfied, in words; None where all are."""
        for condition in self.headers:
            if not _holds(condition, headers):
                return f"header {condition}"
        if self.query:
            parameters = _parameters(query)
            for condition in self.query:
                if not _holds(condition, parameters):
                    return f"query {condition}"
        return None


def _parameters(query: str | None) -> Fields:
    """Decoded as HTML forms are: "+" is a space, a name alone has an empty value."""
    pairs = parse_qsl(query or "", keep_blank_values=True, errors="surrogateescape")
    return [(name.encode(errors="surrogateescape"), value.encode(errors="surrogateescape")) for name, value in pairs]


def _holds(condition: Condition, fields: Fields) -> bool:
    wanted = condition.name.encode()
    values = [value for name, value in fields if name == wanted]
    if condition.kind == "present":
        return bool(values)
    if condition.kind == "absent":
        return not values
    test, operand = _OF_VALUES[condition.kind], condition.value.encode()
    return any(test(value, operand) for value in values)
