"""A plan as people read it: what would be created, changed and deleted, on which nodes, and what speaks against it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from rich.text import Text

from controlplane.cli.api import Json, detail_line
from controlplane.cli.screen import Shown

MARKS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
VERBS = {"create": "to create", "update": "to change", "delete": "to delete"}
DONE = {"create": "created", "update": "changed", "delete": "deleted"}
MOST = 200
"""Changes that are listed one by one."""
LONGEST = 80
"""Characters of a value."""


def planned(plan: Json) -> list[Shown]:
    """All of it."""
    changes = plan["changes"]
    if not changes:
        return [*_warned(plan), "nothing would change"]
    shown: list[Shown] = [*steps(changes), "", _summary(plan)]
    shown += _warned(plan)
    if guard := plan.get("needsForce"):
        shown.append(Text(f"held back: {guard}", style="red"))
    shown += [_verdict(verdict) for verdict in plan.get("verdicts", [])]
    return shown


def steps(changes: list[Json]) -> Iterator[Shown]:
    """A line for each resource, and one for each field that changes."""
    for change in changes[:MOST]:
        mark, colour = MARKS[change["action"]]
        yield Text(f"{mark} {_named(change)}", style=colour)
        for field in change.get("fields") or ():
            yield f"    {field['path']}: {value(field['before'])} -> {value(field['after'])}"
    if len(changes) > MOST:
        yield f"  and {len(changes) - MOST} more"


def counted(changes: Iterable[Json], verbs: Mapping[str, str] = VERBS) -> str:
    """3 to create, 1 to delete."""
    counts = Counter(change["action"] for change in changes)
    return ", ".join(f"{counts[action]} {verb}" for action, verb in verbs.items() if counts[action])


def value(found: object) -> str:
    """A value on one line; a dash where there is none."""
    if found is None:
        return "-"
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _summary(plan: Json) -> str:
    nodes, groups = plan.get("nodes", []), plan.get("nodeGroups")
    where = f" of the groups {', '.join(groups)}" if groups else ""
    concerned = f"{len(nodes)} connected node{'' if len(nodes) == 1 else 's'}{where}"
    return f"{counted(plan['changes'])}, on top of revision {plan['revision']}; concerns {concerned}"


def _named(change: Json) -> str:
    return "settings" if change["kind"] == "settings" else f"{change['kind']} {change['name']}"


def _warned(plan: Json) -> list[Shown]:
    return [Text(f"warning: {detail_line(one)}", style="yellow") for one in plan.get("warnings", [])]


def _verdict(verdict: Json) -> Shown:
    if verdict.get("accepted"):
        return f"{verdict['node']}: would serve it (compiled in {verdict.get('compileMs', 0):.0f} ms)"
    errors = [detail_line(error) for error in verdict.get("errors", [])]
    return Text(f"{verdict['node']}: " + ("; ".join(errors) or verdict.get("reason", "did not try it")), style="red")
