"""REST of making keys: POST /api/keys and rotation. Reading, changing and revoking them is as for every resource."""

from __future__ import annotations

import time
from typing import cast

from aiohttp import web

from controlplane import editing
from controlplane.changes import Once, Put
from controlplane.keys import Keys, NewKey
from controlplane.plane import Plane
from controlplane.rest.manner import manner
from controlplane.rest.problems import json_object
from controlplane.rest.resources import ResourcesRest, answer_of
from controlplane.rest.writing import Writing
from shared import quantities
from shared.faults import ConfigError, Fault
from shared.pb.resources_pb2 import Credential
from shared.suggestion import suggestion
from shared.table import Table

LONGEST_GRACE = 366 * 86_400_000
"""Milliseconds."""


class KeysRest:
    """The handlers."""

    def __init__(self, plane: Plane, writing: Writing, resources: ResourcesRest) -> None:
        self._plane = plane
        self._writing = writing
        self._resources = resources
        self._keys = Keys(plane.service, time.time)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/keys", self.create), web.post("/api/keys/{id}/rotate", self.rotate)]

    async def create(self, request: web.Request) -> web.Response:
        """201 with the credential and, where the control plane made its key, `secret`: shown here and never again."""
        how = await manner(request)
        self._writing.allowed()
        edit = editing.put("credential", "", await json_object(request), Table(), new=True)
        if edit.faults:
            raise ConfigError(edit.faults)
        given = cast(Credential, cast(Put, edit.changes[0]).message)
        given.type = given.type or "apiKey"
        if given.key or given.type != "apiKey":
            return await self._resources.write(how, lambda _: edit)

        async def commit(once: Once | None) -> NewKey:
            return await self._keys.create(given, how.actor, message=how.message, once=once)

        return await self._writing.done(
            how, plan=lambda: self._keys.plan_create(given), commit=commit, answer=answer_of
        )

    async def rotate(self, request: web.Request) -> web.Response:
        """The credential with a new `secret`; the old key works for `grace` more."""
        how = await manner(request)
        self._writing.allowed()
        grace = _grace(await json_object(request, empty=True))
        name = await self._resources.name_of("credential", request.match_info["id"])

        async def commit(once: Once | None) -> NewKey:
            return await self._keys.rotate(name, how.actor, grace=grace, message=how.message, once=once)

        return await self._writing.done(
            how, plan=lambda: self._keys.plan_rotate(name, grace=grace), commit=commit, answer=answer_of
        )


def _grace(body: dict[str, object]) -> float:
    """Seconds, of {"grace": "24h"} or milliseconds."""
    faults = [
        Fault(name, f"unknown key{suggestion(name, ('grace',))}", "unknown_key") for name in body if name != "grace"
    ]
    grace = 0
    try:
        grace = quantities.duration(body.get("grace", 0))
        if not 0 <= grace <= LONGEST_GRACE:
            faults.append(Fault("grace", "must be at most a year", "range"))
    except ValueError as error:
        faults.append(Fault("grace", str(error), "type"))
    if faults:
        raise ConfigError(faults)
    return grace / 1000
