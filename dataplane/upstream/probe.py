"""One probe of one endpoint: a GET on a connection of its own, and the status of the answer.

It goes where a request would go: to the endpoint's own address, with its Host, its TLS and the guard's consent. The
body is not read and redirects are not followed, so a probe takes a bounded time and a bounded memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError, ClientOSError, ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from dataplane.errors import ConnectFailed
from dataplane.upstream.connecting import allowed_addresses
from dataplane.upstream.probing import ProbeFailed
from shared import __version__

if TYPE_CHECKING:
    from dataplane.runtime import Endpoint, Guard

_AGENT: Final = f"FlexGate-health-check/{__version__}"
_NO_LIMIT: Final = ClientTimeout(total=None)
"""One deadline stands around all of a probe."""


async def probe(endpoint: Endpoint, guard: Guard, path: str, seconds: float) -> int:
    """The status that GET `path` is answered with. The path is asked as it is, not below the endpoint's base path.

    Raises ProbeFailed.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _first_answer(endpoint, allowed_addresses(guard, endpoint), path)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {seconds:g} s") from None
    except ConnectFailed as error:
        raise ProbeFailed(error.detail) from error
    except (ClientError, OSError, EOFError, ValueError) as error:
        raise ProbeFailed(str(error) or type(error).__name__) from error


async def _first_answer(endpoint: Endpoint, addresses: list[str], path: str) -> int:
    """As a request does, try the next address where one cannot be connected to."""
    for address in addresses[:-1]:
        try:
            return await _ask(endpoint, address, path)
        except ClientOSError:
            continue
    return await _ask(endpoint, addresses[-1], path)


async def _ask(endpoint: Endpoint, address: str, path: str) -> int:
    shown = f"[{address}]" if ":" in address else address
    url = URL(f"{endpoint.scheme}://{shown}:{endpoint.port}{path}", encoded=True)
    headers = {"Host": endpoint.host_line.decode().removeprefix("Host: "), "User-Agent": _AGENT}
    connector = TCPConnector(force_close=True, ssl=endpoint.tls or True)
    async with (
        ClientSession(connector=connector, timeout=_NO_LIMIT, auto_decompress=False) as session,
        session.get(url, headers=headers, allow_redirects=False, server_hostname=endpoint.server_name) as answer,
    ):
        return answer.status
