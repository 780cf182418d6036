"""Filters, pages and cursors over a list of resources: pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.problem import Problem

LIMIT = 1000
"""Resources in one answer at most, and without a `limit`."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: `total` counts all that match; `cursor` continues after it, empty where nothing follows."""

    items: list[Json]
    total: int
    cursor: str


def page(items: Iterable[Json], query: Mapping[str, str], filters: tuple[str, ...]) -> Page:
    """What a query asks for; Problem(400) where it asks for something that does not exist.

    A filter compares the field of its name: text and numbers as they are written, booleans as true and false, and in a
    list any element.
    """
    unknown = sorted(set(query) - {"limit", "cursor", *filters})
    if unknown:
        allowed = ", ".join([*filters, "limit", "cursor"])
        raise Problem(400, f"unknown query parameter {', '.join(unknown)}; there are {allowed}")
    wanted = {name: query[name] for name in filters if name in query}
    found = [item for item in items if all(_matches(item.get(name), value) for name, value in wanted.items())]
    start, limit = _position(query.get("cursor", "")), _limit(query.get("limit", ""))
    rest = len(found) > start + limit
    return Page(found[start : start + limit], len(found), _cursor(start + limit) if rest else "")


def _matches(value: object, wanted: str) -> bool:
    if isinstance(value, list):
        return any(_matches(element, wanted) for element in value)
    if isinstance(value, bool):
        return wanted == str(value).lower()
    return value is not None and str(value) == wanted


def _limit(text: str) -> int:
    if not text:
        return LIMIT
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT:
        return int(text[:9])
    raise Problem(400, f"limit must be a number from 1 to {LIMIT}")


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def _position(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        text = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError):
        text = ""
    if not text.isdigit() or len(text) > 9:
        raise Problem(400, "this cursor is none that a list gave")
    return int(text)
