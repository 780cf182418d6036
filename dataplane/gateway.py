"""The way of one request, from its head to its line in the log: read `handle` top to bottom.

It is a hub: every stage returns here, none calls the next. Whatever goes wrong is a GatewayError, answered in one
place; whatever happens, the exchange is finished exactly once.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from dataplane import respond
from dataplane.access_log import LogWriter
from dataplane.admission import CorrelationIds, admit, admit_body, begin
from dataplane.attempt import broke_off
from dataplane.errors import ClientGone, GatewayError, UpstreamError
from dataplane.events import Events
from dataplane.exchange import Exchange
from dataplane.finish import finish
from dataplane.forward import forward
from dataplane.metrics import Traffic
from dataplane.runtime import Runtime
from dataplane.streaming import relay_body, stop_sending
from dataplane.upgrade import tunnel
from shared import log

if TYPE_CHECKING:
    from dataplane.system import SystemEndpoint


class Gateway:
    """One worker's request path. `runtime` is swapped by one assignment; the rest lives as long as the process."""

    def __init__(
        self,
        traffic: Traffic,
        events: Events,
        writer: LogWriter,
        system: dict[str, SystemEndpoint],
    ) -> None:
        self.runtime: Runtime | None = None
        self.traffic = traffic
        self.events = events
        self.writer = writer
        self.system = system
        self.ids = CorrelationIds(b"req-" + os.urandom(6).hex().encode() + b"-")

    async def handle(self, x: Exchange) -> None:  # the whole way of a request, in one place
        """Serve one exchange. Never raises; ends with the answer sent, or the connection closed."""
        begin(x, self.runtime, self.traffic, self.ids)
        try:
            runtime = x.runtime
            route = admit(x, runtime, self.system)
            if route is None or runtime is None:
                return  # the gateway has answered itself
            for step in route.filters:
                pending = step(x)
                if pending is not None:
                    await pending
            admit_body(x, route)
            answer = await forward(x, route, runtime)
            try:
                rest = respond.relay_head(x, answer, runtime.max_response)
                if rest is not None:
                    await relay_body(x, answer, rest, runtime.max_response)
                if x.status == 101:
                    await tunnel(x, answer)
            except UpstreamError as error:
                broke_off(x, answer, error)
                raise
            finally:
                if answer.sender is not None:
                    await stop_sending(answer)
                answer.release()
        except GatewayError as error:
            respond.refuse(x, error)
        except asyncio.CancelledError:
            self._cancelled(x)
        except Exception as error:
            log.failure("request.broken", correlationId=x.correlation_id.decode(), request=repr(x))
            respond.refuse(x, GatewayError(detail=repr(error)))
        finally:
            finish(x, self.traffic, self.events, self.writer)

    # ---- the end

    def _cancelled(self, x: Exchange) -> None:
        """Someone stopped the exchange with a reason (client gone, deadline, limit), or the process ends."""
        if x.cancelled_by is not None and x.task is not None:
            x.task.uncancel()
        respond.refuse(x, x.cancelled_by or ClientGone(detail="the gateway stopped"))
