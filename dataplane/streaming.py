"""Bodies that do not come at once: read as they come, written no faster than the other side reads.

A request's goes up in a task of its own, because an upstream may answer before it has read everything; an answer's goes
down in `handle`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dataplane.errors import ConnectionLost, GatewayError, ResponseTooLarge
from dataplane.http1.body import Body
from dataplane.http1.chunks import framed, last_chunk
from dataplane.http1.response_head import Framing

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def read(body: Body) -> list[bytes]:
    """The next chunks, at least one; an empty list at the end. Raises what cut the body short."""
    loop = asyncio.get_running_loop()
    while (waiter := body.wait(loop)) is not None:
        await waiter
    return body.take()


def go_ahead(x: Exchange) -> None:
    """Tell a client that waits for it to send its body."""
    if x.expect_continue and not x.body.received and not x.continued:
        x.continued = True
        x.connection.write(_CONTINUE)


async def send_body(x: Exchange, connection: UpstreamConnection) -> None:
    """Stream the request body up as it comes; ends early, and quietly, when either side is gone.

    The one who waits for the answer hears of the upstream's end through the connection, and of the client's by being
    cancelled; what is left to do here is never to let a body that was cut short look whole.
    """
    body = x.body
    chunked = body.length is None
    connection.sending()
    try:
        go_ahead(x)
        while chunks := await read(body):
            connection.writelines(framed(chunks) if chunked else chunks)
            blocked = connection.unblocked()
            if blocked is not None:
                await blocked
                connection.sending()
        if chunked:
            connection.write(last_chunk(body, x.hidden))
        connection.sent()
    except ConnectionLost:
        if not body.keeping:  # else it may go out again, on another connection
            body.discard()
    except GatewayError:
        connection.abort()


async def stop_sending(connection: UpstreamConnection) -> None:
    """The answer is over, or there will be none: what is left of the request body is of no use."""
    sender, connection.sender = connection.sender, None
    if sender is not None and not sender.done():
        sender.cancel()
        await asyncio.wait([sender])


async def let_go(connection: UpstreamConnection) -> None:
    """The attempt is over: nothing more goes up, and the connection goes where it belongs, whatever happens."""
    try:
        await stop_sending(connection)
    finally:
        connection.release()


async def relay_body(x: Exchange, upstream: UpstreamConnection, framing: Framing, max_response: int) -> None:
    """Send the rest of the answer as it comes, no faster than the client reads; raises what cut it short."""
    body, connection = upstream.body, x.connection
    chunked = framing is Framing.CHUNKED
    while True:
        if max_response and body.received > max_response:
            raise ResponseTooLarge
        if connection.blocked is not None:
            await connection.blocked
        chunks = await read(body)
        if not chunks:
            break
        connection.writelines(framed(chunks) if chunked else chunks)
        x.response_bytes = body.received
    if chunked:
        connection.write(last_chunk(body))
