"""The part of gRPC's Admin that is about rollouts: the verbs of REST over the same parts."""

# ruff: noqa: N802 - gRPC names the methods

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from controlplane.auth.grpc_gate import actor_of
from controlplane.listing import within
from controlplane.refusal import Refusal
from controlplane.rollout.plan import check_plan
from controlplane.rollout.rollouts import VERBS, NoRollout, Rollouts
from controlplane.service import Service
from controlplane.store.database import DatabaseGone
from shared.document import read
from shared.faults import ConfigError
from shared.pb.admin_pb2 import (
    BeginRolloutRequest,
    GetRolloutRequest,
    ListRolloutsRequest,
    ListRolloutsResponse,
    SteerRolloutRequest,
)
from shared.pb.admin_pb2_grpc import AdminServicer
from shared.pb.rollout_pb2 import Rollout

Context = aio.ServicerContext[Any, Any]
MOST = 100
CODES = {404: grpc.StatusCode.NOT_FOUND, 412: grpc.StatusCode.ABORTED, 503: grpc.StatusCode.UNAVAILABLE}
"""What a Refusal is called here; FAILED_PRECONDITION where it is not listed."""


class RolloutVerbs(AdminServicer):
    """Rollouts, for operators."""

    def __init__(self, rollouts: Rollouts, service: Service) -> None:
        self._rollouts = rollouts
        self._writer = service

    async def ListRollouts(self, request: ListRolloutsRequest, context: Context) -> ListRolloutsResponse:
        async with _answering(context):
            limit = min(request.limit or MOST, MOST)
            return ListRolloutsResponse(
                rollouts=await self._rollouts.records.page(limit, within(request.before) or None)
            )

    async def GetRollout(self, request: GetRolloutRequest, context: Context) -> Rollout:
        async with _answering(context):
            record = await self._rollouts.records.get(within(request.id))
            if record is None:
                raise NoRollout(f"there is no rollout {request.id}")
            return record.rollout

    async def BeginRollout(self, request: BeginRolloutRequest, context: Context) -> Rollout:
        """FAILED_PRECONDITION where the document is what is committed already."""
        async with _answering(context):
            if faults := check_plan(request.plan, "plan"):
                raise ConfigError(faults)
            outcome = await self._writer.replace(
                read(request.yaml),
                actor_of(context),
                message=request.message,
                force=request.force,
                rollout=request.plan,
                if_match=[request.if_match] if request.if_match else (),
            )
            rollout = await self._rollouts.records.of(outcome.committed) if outcome.changes else None
            if rollout is None:
                raise Refusal("this is what is committed already: there is nothing to roll out")
            return rollout

    async def SteerRollout(self, request: SteerRolloutRequest, context: Context) -> Rollout:
        async with _answering(context):
            if request.verb not in VERBS:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the verb is one of {', '.join(VERBS)}")
            return await self._rollouts.ask(within(request.id), request.verb, actor_of(context))


@asynccontextmanager
async def _answering(context: Context) -> AsyncIterator[None]:
    """Errors of the parts below, as gRPC says them."""
    try:
        yield
    except ConfigError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except Refusal as error:
        await context.abort(CODES.get(error.status, grpc.StatusCode.FAILED_PRECONDITION), str(error))
    except DatabaseGone as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
