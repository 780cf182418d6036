"""The way of every write: plan it, or commit it once, wait for the nodes if that is preferred, and answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from controlplane.changes import Changed, Once, etag_of
from controlplane.dry_run import concerned, dry_run, proposed
from controlplane.keys import NewKey
from controlplane.plan import Plan, Step
from controlplane.plane import Plane
from controlplane.problem import json_response
from controlplane.refusal import ReadOnly
from controlplane.rest.manner import Manner
from controlplane.rest.problems import detail_of
from controlplane.service import Outcome
from controlplane.shapes import rendered
from shared.faults import Fault

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a write answers, and what is kept of it for its idempotency key."""

    status: int
    body: Json | None
    revision: int
    headers: dict[str, str] = field(default_factory=dict)


class Writing:
    """Writes of one control plane."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def allowed(self) -> None:
        """ReadOnly where a file is the truth."""
        if self._plane.read_only:
            raise ReadOnly(self._plane.read_only)

    async def done(
        self,
        manner: Manner,
        *,
        plan: Callable[[], Awaitable[Plan]],
        commit: Callable[[Once | None], Awaitable[Outcome | NewKey]],
        answer: Callable[[Outcome], Answer],
    ) -> web.Response:
        """The response to a write. The secret of a new key is in it, and in nothing that is kept."""
        self.allowed()
        if manner.dry_run:
            return json_response(await self.planned(await plan(), ask=manner.dry_run == "nodes"))
        once = self._once(manner, answer)
        if once is not None and (first := await self._plane.service.recalled(once)) is not None:
            return await self._answered(manner, first, answer, {})
        made = await commit(once)
        if isinstance(made, NewKey):
            return await self._answered(manner, made.outcome, answer, {"secret": made.secret} if made.secret else {})
        return await self._answered(manner, made, answer, {})

    def _once(self, manner: Manner, answer: Callable[[Outcome], Answer]) -> Once | None:
        """What makes a repeated request find the first one's answer."""
        if not manner.key:
            return None
        return Once(manner.actor.name, manner.key, manner.request_hash, lambda outcome: asdict(answer(outcome)))

    async def _answered(
        self, manner: Manner, outcome: Outcome, answer: Callable[[Outcome], Answer], more: Json
    ) -> web.Response:
        replayed = outcome.answer is not None
        given = Answer(**outcome.answer) if outcome.answer is not None else answer(outcome)
        headers = given.headers | {"X-Config-Version": str(given.revision)}
        headers |= {"Idempotent-Replayed": "true"} if replayed else {}
        status, body = given.status, {**given.body, **more} if given.body is not None else None
        if manner.wait is not None:
            applied = await self._plane.waiting.applied(given.revision, manner.wait)
            body = (body or {}) | {"applied": rendered(applied)}
            headers["Preference-Applied"] = f"wait={manner.wait:g}"
            status = 200 if status == 204 else status
        if body is None:
            return web.Response(status=status, headers=headers)
        return json_response(body, status, headers)

    async def planned(self, plan: Plan, *, ask: bool) -> Json:
        """A plan as JSON; `ask`: with what the nodes that it concerns say to it."""
        views = self._plane.publisher.trial(plan.table)
        nodes = concerned(plan, self._plane.reach.targets(), views)
        body: Json = {
            "dryRun": True,
            "revision": plan.revision,
            "etag": plan.etag,
            "changes": [step_view(step) for step in plan.steps],
            "warnings": [detail_of(warning) for warning in plan.warnings],
            "nodeGroups": sorted(plan.groups) if plan.groups is not None else None,
            "nodes": [node.id for node in nodes],
            "needsForce": plan.guard,
        }
        if ask:
            reach, change = self._plane.reach, partial(proposed, plan)
            verdicts = await dry_run(reach, nodes, views, change) if views is not None else []
            body["verdicts"] = [rendered(verdict) for verdict in verdicts]
        return body


def step_view(step: Step) -> Json:
    """{kind, name, action, fields[{path, before, after}]}."""
    kind, name = step.key
    return {"kind": kind, "name": name, "action": step.action, "fields": [asdict(each) for each in step.fields]}


def change_views(changes: Iterable[Changed]) -> list[Json]:
    """{kind, name, action, etag}; what is gone has no etag."""
    return [
        {
            "kind": changed.key[0],
            "name": changed.key[1],
            "action": changed.action,
            **({"etag": etag_of(changed.after)} if changed.after is not None else {}),
        }
        for changed in changes
    ]


def warned(body: Json, warnings: Iterable[Fault]) -> Json:
    """The body with its warnings, where there are any."""
    told = [detail_of(warning) for warning in warnings]
    return body | ({"warnings": told} if told else {})


def summary(outcome: Outcome) -> Answer:
    """{revision, changes[], warnings[]}: what a write of several resources answers."""
    revision = outcome.committed.revision
    body: Json = {"revision": revision, "changes": change_views(outcome.changes)}
    return Answer(200, warned(body, outcome.warnings), revision)
