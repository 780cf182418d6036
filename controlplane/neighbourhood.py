"""The check of a change by itself: what changed, together with all that it can clash with, as a small configuration.

It finds what a check of the whole would find, given that the configuration before it was good; a property test holds
the two against each other. Where the settings change, or much, the whole is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from controlplane.index import Candidate
from controlplane.snapshot import MESSAGE_BYTES, oversize
from shared.check import Names, check
from shared.check.advice import SHADOWED, advice
from shared.faults import Fault
from shared.field_path import KINDS as LISTS
from shared.field_path import owner
from shared.pb.resources_pb2 import Config, Resource
from shared.table import SETTINGS, Key, Table, config_of
from shared.unenforced import unenforced

MANY = 200
"""Changed resources from which on the whole is checked: collecting neighbours would cost as much."""
_ELSEWHERE = re.compile(rf"\b({'|'.join(LISTS)})\[(\d+)\](?: '[^']*')?")


@dataclass(frozen=True, slots=True)
class Found:
    """Paths are relative to the resource that a fault names. `warnings` are about what changed."""

    faults: list[Fault]
    warnings: list[Fault]


def examine(candidate: Candidate, table: Table) -> Found:
    """What is wrong with `table`, the one after the change that `candidate` describes."""
    changed = candidate.changed
    if SETTINGS in changed or len(changed) > MANY:
        config, names = config_of(table), None
    else:
        config = config_of(Table(table[key] for key in _around(candidate, table)))
        names = Names(candidate.names("upstream"), candidate.routes(), candidate.names("consumer"))
    faults = [_relative(fault, config) for fault in check(config, names)]
    faults += [
        Fault("", f"{size} bytes when encoded; a node takes at most {MESSAGE_BYTES}", "too_large", kind, name)
        for (kind, name), size in oversize(Table(resource for resource in changed.values() if resource is not None))
    ]
    if faults:
        return Found(list(dict.fromkeys(faults)), [])
    warnings = [_relative(warning, config) for warning in advice(config) + unenforced(config)]
    return Found([], [one for one in warnings if (one.kind, one.name) in changed or one.code == SHADOWED])


def _around(candidate: Candidate, table: Table) -> list[Key]:
    """What to check together: the changed resources come last, so that a fault between two is told at the changed."""
    changed: Mapping[Key, Resource | None] = candidate.changed
    found: dict[Key, None] = {SETTINGS: None} if SETTINGS in table else {}
    for key, resource in changed.items():
        if resource is None or key[0] == "upstream":
            found |= dict.fromkeys(candidate.users(key))
        facts = candidate.of(key)
        if facts is None:
            continue
        found |= dict.fromkeys(candidate.with_id(key[0], facts.id) if facts.id else ())
        partners = _claimants(candidate, [key])
        found |= dict.fromkeys(partners) | dict.fromkeys(_claimants(candidate, partners))
    for key in [*found, *changed]:
        found |= dict.fromkeys(_led_to(candidate, key))
    last = [key for key in found if key in changed] + [key for key in changed if key not in found]
    return [key for key in (*(key for key in found if key not in changed), *last) if key in table]


def _claimants(candidate: Candidate, keys: Iterable[Key]) -> list[Key]:
    claims = {claim for key in keys if (facts := candidate.of(key)) is not None for claim in facts.claims}
    return [key for claim in claims for key in candidate.claimants(claim)]


def _led_to(candidate: Candidate, key: Key) -> list[Key]:
    """What a resource refers to, and what that refers to, to the end."""
    found: dict[Key, None] = {}
    ahead = [key]
    while ahead:
        facts = candidate.of(ahead.pop())
        new = [used for used in (facts.refers if facts else ()) if used not in found]
        found |= dict.fromkeys(new)
        ahead += new
    return list(found)


def _relative(fault: Fault, config: Config) -> Fault:
    """The fault with its path within its resource; what it says of others names them, not their place in a list."""
    kind, index = owner(fault.path)
    path = fault.path.partition("]")[2].removeprefix(".") if index >= 0 else fault.path

    def named(match: re.Match[str]) -> str:
        others = getattr(config, match[1])
        return f"{LISTS[match[1]]} {others[int(match[2])].name!r}" if int(match[2]) < len(others) else match[0]

    name = getattr(config, f"{kind}s")[index].name if index >= 0 else "default"
    return replace(fault, path=path, message=_ELSEWHERE.sub(named, fault.message), kind=kind, name=name)
