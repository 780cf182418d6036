"""One GET on a connection of its own, for what the gateway asks itself: probes of endpoints, keys of tokens.

It goes where a request would go: with the endpoint's Host and TLS, and only to addresses that the guard allows.
Redirects are not followed and no more is read than was asked for, so it takes a bounded memory; the time is for the
caller to bound. The HTTP client is a fifth of a worker's memory: import this module when it is needed, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import ClientOSError, ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from dataplane.upstream.connecting import allowed_addresses

if TYPE_CHECKING:
    from dataplane.runtime import Endpoint, Guard

_NO_LIMIT: Final = ClientTimeout(total=None)


async def single_get(endpoint: Endpoint, guard: Guard, target: str, agent: str, *, most: int = 0) -> tuple[int, bytes]:
    """The status, and up to `most` bytes of the body, that GET `target` (path and query) is answered with.

    Raises ConnectFailed where the guard allows no address, else what the client raises: aiohttp.ClientError, OSError,
    EOFError, ValueError.
    """
    addresses = allowed_addresses(guard, endpoint)
    for address in addresses[:-1]:  # as a request does, try the next one where one cannot be connected to
        try:
            return await _ask(endpoint, address, target, agent, most)
        except ClientOSError:
            continue
    return await _ask(endpoint, addresses[-1], target, agent, most)


async def _ask(endpoint: Endpoint, address: str, target: str, agent: str, most: int) -> tuple[int, bytes]:
    shown = f"[{address}]" if ":" in address else address
    url = URL(f"{endpoint.scheme}://{shown}:{endpoint.port}{target}", encoded=True)
    headers = {"Host": endpoint.host_line.decode().removeprefix("Host: "), "User-Agent": agent}
    if most:
        headers["Accept-Encoding"] = "identity"  # a few bytes must not become more than we read
    connector = TCPConnector(force_close=True, ssl=endpoint.tls or True)
    async with (
        ClientSession(connector=connector, timeout=_NO_LIMIT, auto_decompress=False) as session,
        session.get(url, headers=headers, allow_redirects=False, server_hostname=endpoint.server_name) as answer,
    ):
        content = b""
        while len(content) < most and (chunk := await answer.content.read(most - len(content))):
            content += chunk
        return answer.status, content
