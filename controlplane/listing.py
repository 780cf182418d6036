"""Filters, pages and cursors over a list of resources: pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from controlplane.events import Events
from controlplane.problem import Problem
from shared.suggestion import suggestion
from shared.timestamp import timestamp

LIMIT = 1000
"""Resources in one answer at most, and without a `limit`."""

LARGEST = (1 << 63) - 1
"""The largest number that a database keeps; messages have larger ones."""

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
        known = (*filters, "limit", "cursor")
        raise Problem(400, f"unknown query parameter {', '.join(unknown)}{suggestion(unknown[0], known)}")
    wanted = {name: query[name] for name in filters if name in query}
    found = [item for item in items if all(_matches(item.get(name), value) for name, value in wanted.items())]
    start, limit = position_in(query.get("cursor", "")), limit_of(query.get("limit", ""))
    rest = len(found) > start + limit
    return Page(found[start : start + limit], len(found), cursor_at(start + limit) if rest else "")


def history(events: Events, query: Mapping[str, str]) -> Page:
    """The events that a query asks for, newest first; Problem(400) where it asks for something that does not exist.

    `node` and `event` compare; `since` takes a time. A cursor stays where it is while further events arrive.
    """
    unknown = sorted(set(query) - {"node", "event", "since", "limit", "cursor"})
    if unknown:
        known = ("node", "event", "since", "limit", "cursor")
        raise Problem(400, f"unknown query parameter {', '.join(unknown)}{suggestion(unknown[0], known)}")
    limit, before = limit_of(query.get("limit", "")), position_in(query.get("cursor", ""))
    since = time_of(query["since"], "since") if "since" in query else 0.0
    found = [
        event
        for event in events.newest()
        if event.at >= since
        and event.node == query.get("node", event.node)
        and event.name == query.get("event", event.name)
    ]
    rest = [event for event in found if not before or event.position < before]
    items: list[Json] = [
        {"id": e.id, "node": e.node, "event": e.name, "timestamp": timestamp(e.at), "data": e.data}
        for e in rest[:limit]
    ]
    return Page(items, len(found), cursor_at(rest[limit - 1].position) if len(rest) > limit else "")


def time_of(text: str, name: str) -> float:
    """Epoch seconds; a time without a zone is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise Problem(400, f"{name} must be a time in ISO 8601, such as 2026-01-31T12:00:00Z") from error
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()


def _matches(value: object, wanted: str) -> bool:
    if isinstance(value, list):
        return any(_matches(element, wanted) for element in value)
    if isinstance(value, bool):
        return wanted == str(value).lower()
    return value is not None and str(value) == wanted


def limit_of(text: str) -> int:
    """How many a client wants at most."""
    if not text:
        return LIMIT
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT:
        return int(text[:9])
    raise Problem(400, f"limit must be a number from 1 to {LIMIT}")


def within(number: int) -> int:
    """The number, or the largest that there could be: nothing is numbered so high."""
    return min(number, LARGEST)


def cursor_at(position: int) -> str:
    """The cursor that continues after a position."""
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def position_in(cursor: str) -> int:
    """The position that a cursor continues after; 0 for none."""
    if not cursor:
        return 0
    try:
        text = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeError):
        text = ""
    if not text.isdigit() or len(text) > 18:
        raise Problem(400, "this cursor is none that a list gave")
    return int(text)
