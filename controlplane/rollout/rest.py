"""/api/rollouts, thin: what runs and what ran, the beginning of one, and operators' words to it."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from controlplane.auth.gate import actor_of
from controlplane.listing import cursor_at, limit_of, position_in
from controlplane.plane import Plane
from controlplane.problem import Problem, json_response
from controlplane.rest.manner import manner
from controlplane.rest.problems import json_object, known_parameters
from controlplane.rest.writing import Writing
from controlplane.rollout.plan import read_plan
from controlplane.rollout.rollouts import VERBS, NoRollout
from controlplane.rollout.sample import sample_of
from controlplane.shapes import rendered
from shared.document import read
from shared.explanation import as_json
from shared.faults import ConfigError, Fault
from shared.pb.rollout_pb2 import Figures, Rollout
from shared.suggestion import suggestion
from shared.timestamp import timestamp

MOST = 100
"""Rollouts in one answer, without a `limit`."""
FIELDS = ("document", "plan")


class RolloutsRest:
    """The handlers."""

    def __init__(self, plane: Plane, writing: Writing) -> None:
        self._plane = plane
        self._rollouts = plane.rollouts
        self._writing = writing

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/rollouts", self.many),
            web.post("/api/rollouts", self.begin),
            web.get("/api/rollouts/{id}", self.one),
            *(web.post(f"/api/rollouts/{{id}}/{verb}", self.steer) for verb in VERBS),
        ]

    async def many(self, request: web.Request) -> web.Response:
        """The newest first, by pages."""
        known_parameters(request, "limit", "cursor")
        limit = limit_of(request.query.get("limit", str(MOST)))
        before = position_in(request.query.get("cursor", ""))
        found = await self._rollouts.records.page(limit + 1, before or None)
        more = cursor_at(found[limit - 1].id) if len(found) > limit else ""
        return json_response({"rollouts": [view(rollout) for rollout in found[:limit]], "nextCursor": more})

    async def one(self, request: web.Request) -> web.Response:
        known_parameters(request)
        record = await self._rollouts.records.get(_id(request))
        if record is None:
            raise NoRollout(f"there is no rollout {request.match_info['id']!r}")
        return json_response(view(record.rollout))

    async def begin(self, request: web.Request) -> web.Response:
        """Make a whole document the configuration, in waves: {document, plan}; 201 with the rollout."""
        how = await manner(request)
        self._writing.allowed()
        service, body = self._plane.service, await json_object(request)
        faults = [
            Fault(name, f"unknown key{suggestion(name, FIELDS)}", "unknown_key") for name in body if name not in FIELDS
        ]
        text = body.get("document")
        if not isinstance(text, str):  # none is not an empty one, which would take everything away
            faults.append(Fault("document", "must be a whole configuration, as the text of a YAML document", "type"))
        if faults or not isinstance(text, str):
            raise ConfigError(faults)
        plan, document = read_plan(body.get("plan"), "plan"), read(text)
        if how.dry_run:
            planned = await service.plan_replace(document, how.if_match)
            return json_response(await self._writing.planned(planned, ask=how.dry_run == "nodes"))
        outcome = await service.replace(
            document, how.actor, message=how.message, force=how.force, rollout=plan, if_match=how.if_match
        )
        rollout = await self._rollouts.records.of(outcome.committed) if outcome.changes else None
        if rollout is None:
            raise Problem(409, "this is what is committed already: there is nothing to roll out")
        shown = view(rollout)
        if how.wait is not None:
            shown["applied"] = rendered(await self._plane.waiting.applied(rollout.revision, how.wait))
        return json_response(shown, 201)

    async def steer(self, request: web.Request) -> web.Response:
        """Pause, resume, promote or abort."""
        known_parameters(request)
        verb = request.path.rpartition("/")[2]
        return json_response(view(await self._rollouts.ask(_id(request), verb, actor_of(request))))


def view(rollout: Rollout) -> dict[str, Any]:
    """A rollout as JSON."""
    shown: dict[str, Any] = {"wave": 0, "nodes": [], "reason": "", "message": "", **as_json(rollout)}
    for name, figures in (("candidate", rollout.candidate), ("others", rollout.others), ("before", rollout.before)):
        shown[name] = _figures(figures)
    shown |= {"wave": rollout.wave + 1, "waves": len(rollout.plan.waves), "everyone": rollout.everyone}
    shown["startedAt"] = timestamp(rollout.started_at / 1000)
    if rollout.ended_at:
        shown["endedAt"] = timestamp(rollout.ended_at / 1000)
    return shown


def _figures(figures: Figures) -> dict[str, Any]:
    sample = sample_of(figures)
    rate = round(sample.error_rate * 100, 3)
    return {"requests": sample.requests, "errors": sample.errors, "errorRate": rate, "p99": round(sample.p99, 3)}


def _id(request: web.Request) -> int:
    """The number of a rollout; 0, which none has, for what is no number."""
    text = request.match_info["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0
