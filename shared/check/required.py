"""What every resource must have, and what names refer to: presence, uniqueness, references."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from shared.faults import Fault
from shared.suggestion import suggestion

REQUIRED = "required"
REFERENCE = "unknown_reference"
DUPLICATE = "duplicate"


def required(path: str, value: object, what: str) -> Iterator[Fault]:
    """A fault where a field is empty; `what` says what to write."""
    if not value:
        yield Fault(path, f"is required: {what}", REQUIRED)


def reference(path: str, name: str, known: Collection[str], what: str) -> Iterator[Fault]:
    """A fault where a name that is given refers to nothing."""
    if name and name not in known:
        hint = suggestion(name, known) if known else f"; the document has no {what}"
        yield Fault(path, f"there is no {what} named {name!r}{hint}", REFERENCE)


def unique(paths_and_values: Iterable[tuple[str, Any]], what: str) -> Iterator[Fault]:
    """A fault for each value that an earlier path has; empty values do not count."""
    first: dict[Any, str] = {}
    for path, value in paths_and_values:
        if value and first.setdefault(value, path) != path:
            yield Fault(path, f"{what} that {first[value]} has too; each needs its own", DUPLICATE)


def names(kind: str, resources: Iterable[Any]) -> Iterator[Fault]:
    """Every resource has a name and, unless the store gave none, an id: both unique within the kind."""
    resources = list(resources)
    for index, resource in enumerate(resources):
        yield from required(f"{kind}[{index}].name", resource.name, "a name unique among its kind")
    shown = ((f"{kind}[{i}].name", resource.name) for i, resource in enumerate(resources))
    yield from unique(shown, "a name")
    yield from unique(((f"{kind}[{i}].id", resource.id) for i, resource in enumerate(resources)), "an id")
