"""REST of the configuration as one document: shown, exported, validated, compared and applied."""

from __future__ import annotations

import asyncio

from aiohttp import web

from controlplane.changes import Once
from controlplane.fault_text import fields_of
from controlplane.plan import Plan
from controlplane.plane import Plane
from controlplane.problem import Problem, json_response
from controlplane.rest.manner import manner
from controlplane.rest.problems import known_parameters, text_of
from controlplane.rest.writing import Writing, summary
from controlplane.service import Outcome
from controlplane.store import Committed
from controlplane.unredact import expected, fill
from shared.document import Document, export, read, write
from shared.pb.resources_pb2 import Config
from shared.redact import redacted
from shared.table import Table

YAML = "application/yaml"
"""RFC 9512."""
FORMATS = ("json", "yaml")
NOTHING = Committed("", 0, Table())
"""What a database holds before the first write."""


class ConfigRest:
    """The handlers."""

    def __init__(self, plane: Plane, writing: Writing) -> None:
        self._plane = plane
        self._writing = writing

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/config", self.config),
            web.get("/api/config/export", self.export),
            web.post("/api/config/validate", self.validate),
            web.post("/api/config/diff", self.diff),
            web.post("/api/config/apply", self.apply),
        ]

    async def config(self, request: web.Request) -> web.Response:
        """The running configuration and its revision; secrets are redacted."""
        known_parameters(request)
        committed = self._committed()
        document = await asyncio.to_thread(lambda: export(redacted(committed.config)))
        identity = {
            "revision": committed.revision,
            "storeEpoch": committed.epoch,
            "digest": committed.table.digest.hex(),
        }
        return json_response({**identity, "config": document}, headers=_etag(committed))

    async def export(self, request: web.Request) -> web.Response:
        """The document alone, as JSON, or as YAML where `format` or Accept asks for it."""
        known_parameters(request, "format")
        wanted = request.query.get("format") or ("yaml" if YAML in request.headers.get("Accept", "") else "json")
        if wanted not in FORMATS:
            raise Problem(400, f"format must be one of {', '.join(FORMATS)}")
        committed = self._committed()
        if wanted == "json":
            document = await asyncio.to_thread(lambda: export(redacted(committed.config)))
            return json_response(document, headers=_etag(committed))
        text = await asyncio.to_thread(lambda: write(redacted(committed.config)))
        return web.Response(text=text, content_type=YAML, headers=_etag(committed))

    async def validate(self, request: web.Request) -> web.Response:
        """All that is wrong with the YAML document in the body; nothing is changed."""
        known_parameters(request)
        verdict = await self._plane.service.validate(await text_of(request))
        body = {
            "valid": not verdict.faults,
            "errors": [fields_of(fault) for fault in verdict.faults],
            "warnings": [fields_of(warning) for warning in verdict.warnings],
        }
        return json_response(body)

    async def diff(self, request: web.Request) -> web.Response:
        """What applying the document would change."""
        known_parameters(request)
        document, _ = await self._document(request)
        return json_response(await self._writing.planned(await self._plane.service.plan_replace(document), ask=False))

    async def apply(self, request: web.Request) -> web.Response:
        """The document becomes the whole configuration, in one revision."""
        how = await manner(request)
        self._writing.allowed()
        document, before = await self._document(request)
        if_match = expected(await text_of(request), before, how.if_match)
        service = self._plane.service

        async def commit(once: Once | None) -> Outcome:
            return await service.replace(
                document, how.actor, message=how.message, force=how.force, once=once, if_match=if_match
            )

        async def plan() -> Plan:
            return await service.plan_replace(document, if_match)

        return await self._writing.done(how, plan=plan, commit=commit, answer=summary)

    async def _document(self, request: web.Request) -> tuple[Document, Committed | None]:
        """The document in the body, and what is there, which "[redacted]" stands for; ConfigError with all faults."""
        text = await text_of(request)
        committed = await self._plane.service.refresh()
        before = committed.config if committed else Config()
        return await asyncio.to_thread(read, text, lambda config: fill(config, before)), committed

    def _committed(self) -> Committed:
        return self._plane.service.committed or NOTHING


def _etag(committed: Committed) -> dict[str, str]:
    """What names this configuration: If-Match of a write of the whole."""
    return {"ETag": f'"{committed.etag}"'}
