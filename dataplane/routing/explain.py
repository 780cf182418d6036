"""Why a request goes where it goes: every route of its path, in the order asked, and what kept each from serving it.

For operators (POST /explain), not for the request path. Where nothing matches, it also looks for the two slips that
are hard to see: a trailing slash too many or too few, and letters in the other case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dataplane.routing.condition import Fields
from dataplane.routing.pattern import Pattern
from dataplane.routing.route_match import Arm
from dataplane.routing.router import Router


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one route; `reason` is a sentence part such as "takes only GET, PUT"."""

    route: str
    matched: bool
    reason: str


def explain(
    router: Router,
    path: str,
    host: str,
    method: str,
    *,
    headers: Fields = (),
    query: str | None = None,
    limit: int = 100,
) -> list[Verdict]:
    """At most `limit` verdicts, most specific first; the first that `matched` is the route `router.match` finds."""
    verdicts: dict[str, Verdict] = {}
    served = ""
    for arm, reachable in _arms(router, path, host):
        name = arm.entry.match.name
        reasons = _reasons(arm, host if not reachable else None, method, headers, query)
        if not reasons and not served:
            served = name
            verdicts[name] = Verdict(name, True, "matches")  # also where another arm of the route was refused
        elif name not in verdicts:
            verdicts[name] = Verdict(name, False, "; ".join(reasons) or f'would match, but "{served}" comes first')
    if not served:
        for name, reason in _slips(router, path):
            verdicts.setdefault(name, Verdict(name, False, reason))
    return list(verdicts.values())[:limit]


def _arms(router: Router, path: str, host: str) -> Iterable[tuple[Arm, bool]]:
    """Every arm of the path, and whether this host reaches it."""
    for leaf in router.leaves(path):
        reached = list(leaf.tiers(host))
        yield from ((arm, True) for arms in reached for arm in arms)
        others = (arm for arms in leaf.all_tiers() if not any(arms is tier for tier in reached) for arm in arms)
        yield from ((arm, False) for arm in others)


def _reasons(arm: Arm, refused_host: str | None, method: str, headers: Fields, query: str | None) -> list[str]:
    match = arm.entry.match
    reasons = []
    if refused_host is not None:
        reasons.append(f"the host {refused_host!r} is not among {', '.join(match.hosts)}")
    if arm.methods is not None and method not in arm.methods:
        reasons.append(f"takes only {', '.join(sorted(match.methods))}")
    if arm.conditions is not None and (failing := arm.conditions.failing(headers, query)):
        reasons.append(f"asks for {failing}")
    return reasons


def _slips(router: Router, path: str) -> Iterable[tuple[str, str]]:
    """(route, reason) for the routes that a path close to this one would reach."""
    other = path.removesuffix("/") if path.endswith("/") else path + "/"
    for leaf in router.leaves(other):
        for arms in leaf.all_tiers():
            for arm in arms:
                yield arm.entry.match.name, "the path differs in its trailing slash"
    lowered = path.lower().split("/")[1:]
    for route in router.routes():
        if _matches_lowered(route.pattern, lowered):
            yield route.name, "the path differs in the case of its letters"


def _matches_lowered(pattern: Pattern, segments: list[str]) -> bool:
    steps = pattern.steps
    if len(segments) < len(steps) or (len(segments) > len(steps) and not pattern.prefix):
        return False
    return all(
        bool(segment) if step is None else step.lower() == segment
        for step, segment in zip(steps, segments, strict=False)
    )
