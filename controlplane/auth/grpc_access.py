"""gRPC of tokens and users: the verbs of REST over the same parts. Who may is in `roles`."""

# ruff: noqa: N802 - gRPC names the methods

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from controlplane.auth.errors import AccessError
from controlplane.auth.grpc_gate import actor_of
from controlplane.auth.parts import Auth
from controlplane.store.database import DatabaseGone
from shared.pb.access_pb2 import (
    CreateTokenRequest,
    CreateTokenResponse,
    CreateUserRequest,
    DeleteUserRequest,
    DeleteUserResponse,
    ListTokensRequest,
    ListTokensResponse,
    ListUsersRequest,
    ListUsersResponse,
    RevokeTokenRequest,
    RevokeTokenResponse,
    UpdateUserRequest,
    User,
)
from shared.pb.admin_pb2_grpc import AdminServicer

Context = aio.ServicerContext[Any, Any]
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""What an AccessError is called here."""


class AccessVerbs(AdminServicer):
    """The part of Admin that is about access."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def ListTokens(self, request: ListTokensRequest, context: Context) -> ListTokensResponse:
        async with _answering(context):
            return ListTokensResponse(tokens=await self._auth.tokens.listed())

    async def CreateToken(self, request: CreateTokenRequest, context: Context) -> CreateTokenResponse:
        async with _answering(context):
            return await self._auth.tokens.create(request, actor_of(context))

    async def RevokeToken(self, request: RevokeTokenRequest, context: Context) -> RevokeTokenResponse:
        async with _answering(context):
            await self._auth.tokens.revoke(request.name, actor_of(context))
            return RevokeTokenResponse()

    async def ListUsers(self, request: ListUsersRequest, context: Context) -> ListUsersResponse:
        return ListUsersResponse(users=self._auth.users.listed())

    async def CreateUser(self, request: CreateUserRequest, context: Context) -> User:
        async with _answering(context):
            return await self._auth.users.create(request, actor_of(context))

    async def UpdateUser(self, request: UpdateUserRequest, context: Context) -> User:
        async with _answering(context):
            return await self._auth.users.update(request, actor_of(context))

    async def DeleteUser(self, request: DeleteUserRequest, context: Context) -> DeleteUserResponse:
        async with _answering(context):
            await self._auth.users.delete(request.name, actor_of(context))
            return DeleteUserResponse()


@asynccontextmanager
async def _answering(context: Context) -> AsyncIterator[None]:
    """What goes wrong in the block as a status of gRPC."""
    try:
        yield
    except AccessError as error:
        faults = "; ".join(f"{detail['path']}: {detail['message']}" for detail in error.details or ())
        await context.abort(CODES.get(error.status, grpc.StatusCode.UNKNOWN), faults or error.message)
    except DatabaseGone as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
