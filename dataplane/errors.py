"""The one family of errors of the request path: raised anywhere, rendered once (`answer.refusal`).

Each error carries the status to answer with, whose fault it is, and whether another attempt at an upstream may help.
`kind` is the word for logs and for the label of `upstream_errors_total`; messages never name upstream addresses.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus


class Source(Enum):
    """Whose fault: the client's side, the service's side, or ours."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


class GatewayError(Exception):
    """An answer that the gateway makes itself.

    `message` goes to the client; `detail` only to the log. `close`: the connection cannot carry another request.
    `retryable`: nothing of the request was processed, so another connection or endpoint may serve it.
    `by_endpoint`: the endpoint failed; enough of these in a row eject it.
    """

    status = 500
    source = Source.INTERNAL
    kind = "internal"
    message = "The gateway failed to handle the request"
    close = False
    retryable = False
    by_endpoint = False

    def __init__(
        self,
        message: str = "",
        *,
        detail: str = "",
        retry_after: int | None = None,
        headers: tuple[bytes, ...] = (),
    ) -> None:
        self.message = message or type(self).message
        self.detail = detail
        self.retry_after = retry_after
        self.headers = headers
        super().__init__(detail or self.message)


# ---- the client's side --------------------------------------------------------------------------------------------


class BadRequest(GatewayError):
    """The message breaks HTTP's rules, or a rule of ours; what follows it on the connection cannot be trusted."""

    status, source, kind, close = 400, Source.DOWNSTREAM, "bad_request", True
    message = "The request is malformed"


class Unauthorized(GatewayError):
    status, source, kind = 401, Source.DOWNSTREAM, "unauthorized"
    message = "Authentication is required"


class Forbidden(GatewayError):
    status, source, kind = 403, Source.DOWNSTREAM, "forbidden"
    message = "Access is not allowed"


class NoRoute(GatewayError):
    status, source, kind = 404, Source.DOWNSTREAM, "no_route"
    message = "No route matches the request"


class MethodNotAllowed(GatewayError):
    status, source, kind = 405, Source.DOWNSTREAM, "method_not_allowed"
    message = "The method is not allowed here"


class ClientTimeout(GatewayError):
    """The client was too slow to send its head or its body."""

    status, source, kind, close = 408, Source.DOWNSTREAM, "client_timeout", True
    message = "The request took too long to arrive"


class BodyTooLarge(GatewayError):
    status, source, kind, close = 413, Source.DOWNSTREAM, "body_too_large", True
    message = "The request body is too large"


class TargetTooLong(GatewayError):
    status, source, kind, close = 414, Source.DOWNSTREAM, "target_too_long", True
    message = "The request target is too long"


class ExpectationFailed(GatewayError):
    status, source, kind, close = 417, Source.DOWNSTREAM, "expectation_failed", True
    message = "Only the expectation 100-continue is supported"


class TooManyRequests(GatewayError):
    status, source, kind = 429, Source.DOWNSTREAM, "rate_limited"
    message = "Rate limit exceeded"


class HeadersTooLarge(GatewayError):
    status, source, kind, close = 431, Source.DOWNSTREAM, "headers_too_large", True
    message = "The request header fields are too large"


class ClientGone(GatewayError):
    """The client left; nobody reads the answer. For logs and metrics only."""

    status, source, kind, close = 499, Source.DOWNSTREAM, "client_gone", True
    message = "The client closed the connection"


class MethodUnknown(GatewayError):
    """Right behind the end of a long request; anywhere else every method is forwarded (http1/methods.py)."""

    status, source, kind, close = 501, Source.DOWNSTREAM, "method_unknown", True
    message = "This method cannot be pipelined behind so long a request: send it on another connection"


class VersionNotSupported(GatewayError):
    status, source, kind, close = 505, Source.DOWNSTREAM, "version_not_supported", True
    message = "Only HTTP/1.1 and HTTP/1.0 are supported"


# ---- the service's side -------------------------------------------------------------------------------------------


class UpstreamError(GatewayError):
    """The upstream failed to give a usable answer."""

    status, source, kind = 502, Source.UPSTREAM, "protocol"
    by_endpoint = True
    message = "The upstream service failed to answer"


class ConnectFailed(UpstreamError):
    """No connection, so nothing was sent."""

    kind, retryable = "connect", True
    message = "The upstream service could not be reached"


class ConnectNotAllowed(ConnectFailed):
    """The gateway itself must not connect there: no retry would help, and the endpoint is not to blame."""

    kind, retryable, by_endpoint = "connect_not_allowed", False, False


class ConnectionLost(UpstreamError):
    """The upstream closed or reset before it answered."""

    kind = "connection_lost"


class ConnectTimeout(ConnectFailed):
    status, kind = 504, "connect_timeout"
    message = "The upstream service did not accept the connection in time"


class UpstreamTimeout(UpstreamError):
    status, kind = 504, "timeout"
    message = "The upstream service did not answer in time"


class ResponseTooLarge(UpstreamError):
    kind = "response_too_large"
    by_endpoint = False  # a limit of ours
    message = "The upstream service's answer is too large"


# ---- ours ---------------------------------------------------------------------------------------------------------


class RequestTimeout(GatewayError):
    """The deadline of the whole exchange passed."""

    status, source, kind = 504, Source.UPSTREAM, "request_timeout"
    by_endpoint = True  # where it is told of an attempt: that had no answer
    message = "The request took longer than it may"


class Unavailable(GatewayError):
    status, source, kind = 503, Source.INTERNAL, "unavailable"
    message = "The service is not available now"


class NotConfigured(Unavailable):
    kind = "not_configured"
    message = "This gateway has no configuration yet"


class KeysUnavailable(Unavailable):
    """The keys that vouch for tokens could not be fetched, so nobody can be told from anybody."""

    kind = "keys_unavailable"
    message = "Authentication is not available now"


class LimitStoreLost(Unavailable):
    """The requests that a limit allows cannot be counted, and `onStoreError` is closed."""

    kind = "limit_store_lost"


class BreakerOpen(Unavailable):
    """The upstream failed too often of late; it is left alone for a while."""

    source, kind = Source.UPSTREAM, "breaker_open"
    message = "The upstream service is failing and is given time to recover"


class NoEndpoint(Unavailable):
    source, kind = Source.UPSTREAM, "no_endpoint"
    message = "No endpoint of the upstream service is available"


class PoolExhausted(Unavailable):
    source, kind = Source.UPSTREAM, "pool_exhausted"
    message = "All connections to the upstream service are in use"


class Overloaded(Unavailable):
    """More was asked than this worker may do at a time, and there was no place in the queue, or none in time."""

    kind = "overloaded"
    message = "The gateway is overloaded"


class BulkheadFull(Unavailable):
    """The upstream has as many requests as it may have, and there was no place in its queue, or none in time."""

    source, kind = Source.UPSTREAM, "bulkhead_full"
    message = "The upstream service has too many requests"


TITLES = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    499: "Client Closed Request",
}
