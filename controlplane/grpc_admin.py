"""gRPC `flexgate.v1.Admin`, thin over the live parts: who runs what, what they run, and whether a document is good."""

# ruff: noqa: N802 - gRPC names the methods

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import grpc
from grpc import aio

from controlplane.auth.grpc_access import AccessVerbs
from controlplane.explaining import NobodyAnsweredError, explain
from controlplane.plane import Plane
from controlplane.rollout.grpc_verbs import RolloutVerbs
from controlplane.trust.grpc_trust import TrustVerbs
from shared.faults import Fault
from shared.pb.admin_pb2 import (
    ApplyConfigRequest,
    DeleteResourceRequest,
    ExplainRequest,
    ExplainResponse,
    ExportConfigRequest,
    GetResourceRequest,
    ListNodesRequest,
    ListNodesResponse,
    ListResourcesRequest,
    ListResourcesResponse,
    PutResourceRequest,
    ValidateConfigRequest,
    ValidateConfigResponse,
    WriteResponse,
)
from shared.pb.discovery_pb2 import ResourceError
from shared.pb.resources_pb2 import Config, Resource
from shared.redact import redacted

Context = aio.ServicerContext[Any, Any]


class Admin(AccessVerbs, TrustVerbs, RolloutVerbs):
    """Operators' verbs."""

    def __init__(self, plane: Plane) -> None:
        AccessVerbs.__init__(self, plane.auth)
        TrustVerbs.__init__(self, plane.register)
        RolloutVerbs.__init__(self, plane.rollouts, plane.service)
        self._plane = plane

    async def ListNodes(self, request: ListNodesRequest, context: Context) -> ListNodesResponse:
        desired = self._plane.publisher.revision
        return ListNodesResponse(
            desired_revision=desired, nodes=self._plane.nodes.view(self._plane.publisher.revision_of)
        )

    async def ExportConfig(self, request: ExportConfigRequest, context: Context) -> Config:
        """Secrets are redacted."""
        committed = self._plane.service.committed
        if committed is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "there is no configuration yet")
        return await asyncio.to_thread(redacted, committed.config)

    async def ValidateConfig(self, request: ValidateConfigRequest, context: Context) -> ValidateConfigResponse:
        verdict = await self._plane.service.validate(request.yaml)
        return ValidateConfigResponse(
            errors=[_error(fault) for fault in verdict.faults],
            warnings=[_error(warning) for warning in verdict.warnings],
        )

    async def ListResources(self, request: ListResourcesRequest, context: Context) -> ListResourcesResponse:
        await self._not_yet(context, "use ExportConfig, or GET /api/routes")

    async def GetResource(self, request: GetResourceRequest, context: Context) -> Resource:
        await self._not_yet(context, "use ExportConfig, or GET /api/routes/NAME")

    async def PutResource(self, request: PutResourceRequest, context: Context) -> WriteResponse:
        await self._not_yet(context, self._plane.read_only)

    async def DeleteResource(self, request: DeleteResourceRequest, context: Context) -> WriteResponse:
        await self._not_yet(context, self._plane.read_only)

    async def ApplyConfig(self, request: ApplyConfigRequest, context: Context) -> WriteResponse:
        await self._not_yet(context, self._plane.read_only)

    async def Explain(self, request: ExplainRequest, context: Context) -> ExplainResponse:
        try:
            return await explain(self._plane.asking, self._plane.nodes.connected(), request.request)
        except NobodyAnsweredError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    async def _not_yet(self, context: Context, instead: str) -> NoReturn:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"not served by a control plane over a file: {instead}")


def _error(fault: Fault) -> ResourceError:
    where = f"line {fault.line}: " if fault.line else ""
    return ResourceError(
        kind=fault.kind, name=fault.name, path=fault.path, code=fault.code, message=where + fault.message
    )
