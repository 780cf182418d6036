"""Field paths: how every part of the configuration language names a place, "routes[2].rateLimit.max".

The reader of lines, the normaliser and the checks all build paths with these functions, so a fault found by one is
given its line by another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PLAIN = re.compile(r"[A-Za-z0-9_*/:-]+")
_STEP = re.compile(r'\.?[A-Za-z0-9_*/:-]+$|\[(?:"(?:[^"\\]|\\.)*"|\d+)\]$')
_ELEMENT = re.compile(r"(routes|upstreams|consumers|credentials)\[(\d+)\]")
KINDS = {"routes": "route", "upstreams": "upstream", "consumers": "consumer", "credentials": "credential"}


def child(path: str, key: str) -> str:
    """The path of `key` within the mapping at `path`; keys that would confuse a reader are quoted in brackets."""
    if not _PLAIN.fullmatch(key):
        quoted = key.replace("\\", "\\\\").replace('"', '\\"')
        return f'{path}["{quoted}"]'
    return f"{path}.{key}" if path else key


def item(path: str, index: int) -> str:
    """The path of an element of the list at `path`."""
    return f"{path}[{index}]"


def enclosing(path: str) -> Iterator[str]:
    """`path` itself, then what holds it, outwards; the document ("") is not among them."""
    while path:
        yield path
        path = _STEP.sub("", path, count=1) if _STEP.search(path) else ""


def owner(path: str) -> tuple[str, int]:
    """(kind, index in its list) of the resource a path lies in; ("settings", -1) for everything else."""
    match = _ELEMENT.match(path)
    return (KINDS[match[1]], int(match[2])) if match else ("settings", -1)
