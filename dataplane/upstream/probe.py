"""One probe of one endpoint: a GET on a connection of its own, and the status of the answer. The body is not read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError

from dataplane.errors import ConnectFailed
from dataplane.upstream.probing import ProbeFailed
from dataplane.upstream.single_get import single_get
from shared import __version__

if TYPE_CHECKING:
    from dataplane.runtime import Endpoint, Guard

_AGENT: Final = f"FlexGate-health-check/{__version__}"


async def probe(endpoint: Endpoint, guard: Guard, path: str, seconds: float) -> int:
    """The status that GET `path` is answered with. The path is asked as it is, not below the endpoint's base path.

    Raises ProbeFailed.
    """
    try:
        async with asyncio.timeout(seconds):
            status, _ = await single_get(endpoint, guard, path, _AGENT)
            return status
    except TimeoutError:
        raise ProbeFailed(f"no answer within {seconds:g} s") from None
    except ConnectFailed as error:
        raise ProbeFailed(error.detail) from error
    except (ClientError, OSError, EOFError, ValueError) as error:
        raise ProbeFailed(str(error) or type(error).__name__) from error
