"""What the service raises, as a status of gRPC: the code, a text, and google.rpc.BadRequest with every fault."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest  # type: ignore[import-untyped]  # no stubs exist
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs exist
from grpc import aio

from controlplane.problem import Problem
from controlplane.refusal import AlreadyExists, Refusal
from controlplane.store.database import DatabaseGone
from shared.faults import ConfigError

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    410: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    412: grpc.StatusCode.ABORTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""What the status of a refusal is called here; a name that is taken has a code of its own."""
DETAILS = "grpc-status-details-bin"


@asynccontextmanager
async def telling(context: aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """What goes wrong in the block ends the call."""
    try:
        yield
    except ConfigError as error:
        faults = [(fault.path, fault.message) for fault in error.faults]
        await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error), faults)
    except Refusal as error:
        faults = [(detail["path"], detail["message"]) for detail in error.details]
        await _abort(context, _code(error), str(error), faults)
    except Problem as error:  # of a cursor or a limit
        await _abort(context, CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT), error.message, [])
    except DatabaseGone as error:
        await _abort(context, grpc.StatusCode.UNAVAILABLE, str(error), [])


def _code(error: Refusal) -> grpc.StatusCode:
    if isinstance(error, AlreadyExists):
        return grpc.StatusCode.ALREADY_EXISTS
    return CODES.get(error.status, grpc.StatusCode.FAILED_PRECONDITION)


async def _abort(
    context: aio.ServicerContext[Any, Any], code: grpc.StatusCode, text: str, faults: Sequence[tuple[str, str]]
) -> None:
    number: int = code.value[0]
    status = Status(code=number, message=text)
    if faults:
        violations = [BadRequest.FieldViolation(field=path, description=message) for path, message in faults[:100]]
        status.details.add().Pack(BadRequest(field_violations=violations))
    await context.abort(code, text[:2000], trailing_metadata=((DETAILS, status.SerializeToString()),))
