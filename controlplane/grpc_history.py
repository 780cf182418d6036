"""gRPC of revisions and of the audit log: read-only."""

# ruff: noqa: N802 - gRPC names the methods

from __future__ import annotations

from typing import Any

import orjson
from grpc import aio

from controlplane.grpc_config import steps
from controlplane.grpc_errors import telling
from controlplane.listing import limit_of, within
from controlplane.plan import steps_of
from controlplane.plane import Plane
from controlplane.refusal import ReadOnly
from controlplane.store.audit import Search
from controlplane.store.history import History, Wanted
from shared.pb import admin_pb2 as pb
from shared.pb.admin_pb2_grpc import AdminServicer
from shared.timestamp import timestamp

Context = aio.ServicerContext[Any, Any]


class HistoryVerbs(AdminServicer):
    """The part of Admin that is about what was."""

    def __init__(self, plane: Plane) -> None:
        self._audit = plane.audit
        self._all = History(plane.database)
        self._read_only = plane.read_only

    async def ListRevisions(self, request: pb.ListRevisionsRequest, context: Context) -> pb.ListRevisionsResponse:
        async with telling(context):
            key = (request.resource.kind, request.resource.name) if request.HasField("resource") else None
            wanted, limit = Wanted(request.actor, request.action, key), limit_of(str(request.limit or ""))
            found = await self._history.page(wanted, before=within(request.before) or None, limit=limit)
            revisions = [
                pb.Revision(
                    revision=one.revision,
                    store_epoch=one.epoch,
                    timestamp=timestamp(one.at / 1000),
                    actor=one.actor,
                    action=one.action,
                    message=one.message,
                    correlation_id=one.correlation_id,
                    change_count=one.changes,
                    digest=one.digest,
                )
                for one in found
            ]
            return pb.ListRevisionsResponse(revisions=revisions, total=await self._history.count(wanted))

    async def DiffRevisions(self, request: pb.DiffRevisionsRequest, context: Context) -> pb.DiffRevisionsResponse:
        async with telling(context):
            changes = await self._history.between(within(getattr(request, "from")), within(request.to))
            return pb.DiffRevisionsResponse(changes=steps(steps_of(changes)))

    async def SearchAudit(self, request: pb.SearchAuditRequest, context: Context) -> pb.SearchAuditResponse:
        async with telling(context):
            equal = {name: getattr(request, name) for name in ("actor", "action", "target")}
            search = Search({name: value for name, value in equal.items() if value}, text=request.search)
            limit = limit_of(str(request.limit or ""))
            found = await self._audit.page(search, before=within(request.before) or None, limit=limit)
            entries = [
                pb.AuditEntry(
                    number=one.number,
                    timestamp=timestamp(one.at / 1000),
                    actor=one.actor,
                    role=one.role,
                    address=one.address,
                    correlation_id=one.correlation_id,
                    action=one.action,
                    target=one.target,
                    revision=one.revision or 0,
                    detail=orjson.dumps(one.detail).decode(),
                    hash=one.hash,
                )
                for one in found
            ]
            return pb.SearchAuditResponse(entries=entries, total=await self._audit.count(search))

    async def VerifyAudit(self, request: pb.VerifyAuditRequest, context: Context) -> pb.VerifyAuditResponse:
        async with telling(context):
            found = await self._audit.verify()
            return pb.VerifyAuditResponse(
                valid=found.broken is None,
                first=found.first,
                anchor=found.anchor,
                rows=found.rows,
                hash=found.hash,
                broken=found.broken or 0,
                reason=found.reason,
            )

    @property
    def _history(self) -> History:
        if self._read_only:
            raise ReadOnly(f"{self._read_only}; its history is where the file is kept")
        return self._all
