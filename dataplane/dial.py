"""How to reach a control plane: which address next, when, and with what credentials."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import grpc
from grpc import aio

from dataplane import identity
from dataplane.identity import IdentityError
from dataplane.settings import Settings, StreamTls
from shared.node_uri import CONTROL_PLANE

FIRST_DELAY = 0.2  # seconds
LONGEST_DELAY = 30.0
MESSAGE_BYTES = 16 << 20
OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # Each dial is a connection of its own: a shared one would lead back to the replica that sends us elsewhere.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


class Redial:
    """Full jitter: a random share of a limit that doubles with every failure, so that a thousand nodes spread out."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._failures = 0

    def succeeded(self) -> None:
        """The next failure is the first again."""
        self._failures = 0

    def delay(self) -> float:
        """Seconds to wait before the next attempt, after a failure."""
        limit = min(LONGEST_DELAY, FIRST_DELAY * float(1 << min(self._failures, 16)))
        self._failures += 1
        return self._jitter() * limit


def addresses(settings: Settings, jitter: Callable[[], float] = random.random) -> Iterator[str]:
    """The addresses to try, in turn, for ever, from any of them on: so nodes spread over the replicas."""
    known = settings.control_plane
    first = int(jitter() * len(known)) % len(known)
    return itertools.cycle(known[first:] + known[:first])


def dial(address: str, settings: Settings) -> aio.Channel:
    """A channel to one address. OSError where a TLS file cannot be read; they are read anew, so they may be renewed.

    IdentityError where this node is to have a certificate from the control plane, and does not have it.
    """
    if settings.enrols:
        return _dial_as_enrolled(address, settings)
    if settings.tls is None:
        return aio.insecure_channel(address, options=OPTIONS)
    return aio.secure_channel(address, _credentials(settings.tls), options=OPTIONS)


def _dial_as_enrolled(address: str, settings: Settings) -> aio.Channel:
    papers = identity.load(settings.identity_file)
    if papers is None:
        raise IdentityError("this node is not enrolled yet")
    # An authority that the operator gave as a file counts as it would without enrolment, and so do names.
    authorities = settings.tls.ca.read_bytes() if settings.tls is not None else papers.authorities.encode()
    named = () if settings.tls is not None else (("grpc.ssl_target_name_override", CONTROL_PLANE),)
    credentials = grpc.ssl_channel_credentials(authorities, papers.key.encode(), papers.certificate.encode())
    return aio.secure_channel(address, credentials, options=(*OPTIONS, *named))


def metadata(settings: Settings) -> tuple[tuple[str, str], ...]:
    """What tells the control plane that this node may talk to it."""
    return (("authorization", f"Bearer {settings.node_token}"),) if settings.node_token else ()


def _credentials(tls: StreamTls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        tls.ca.read_bytes(), tls.key.read_bytes() if tls.key else None, tls.cert.read_bytes() if tls.cert else None
    )


def describe(error: aio.AioRpcError) -> str:
    """Why a call ended, in one line."""
    return f"{error.code().name.lower()}: {error.details() or 'no reason given'}"
