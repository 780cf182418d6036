"""gRPC `flexgate.v1.Admin`, thin over the live parts: who runs what, what they run, and whether a document is good."""

# ruff: noqa: N802 - gRPC names the methods

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc import aio

from controlplane.auth.grpc_access import AccessVerbs
from controlplane.explaining import NobodyAnsweredError, explain
from controlplane.grpc_config import ConfigVerbs, error_of
from controlplane.grpc_history import HistoryVerbs
from controlplane.plane import Plane
from controlplane.rollout.grpc_verbs import RolloutVerbs
from controlplane.trust.grpc_trust import TrustVerbs
from shared.pb.admin_pb2 import (
    ExplainRequest,
    ExplainResponse,
    ExportConfigRequest,
    ListNodesRequest,
    ListNodesResponse,
    ValidateConfigRequest,
    ValidateConfigResponse,
)
from shared.pb.resources_pb2 import Config
from shared.redact import redacted

Context = aio.ServicerContext[Any, Any]


class Admin(AccessVerbs, TrustVerbs, RolloutVerbs, ConfigVerbs, HistoryVerbs):
    """Operators' verbs."""

    def __init__(self, plane: Plane) -> None:
        AccessVerbs.__init__(self, plane.auth)
        TrustVerbs.__init__(self, plane.register)
        RolloutVerbs.__init__(self, plane.rollouts, plane.service)
        ConfigVerbs.__init__(self, plane)
        HistoryVerbs.__init__(self, plane)

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
            errors=[error_of(fault) for fault in verdict.faults],
            warnings=[error_of(warning) for warning in verdict.warnings],
        )

    async def Explain(self, request: ExplainRequest, context: Context) -> ExplainResponse:
        try:
            return await explain(self._plane.reach, request.request)
        except NobodyAnsweredError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
