"""Gets this node its certificate: with a token the first time, with the certificate itself long before it ends.

Whom to trust comes from the operator: a file of authorities, or the fingerprint of one, which is then asked for and
compared before the token is shown to anybody. Workers share one identity; a lock lets one of them work at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc import aio

from dataplane import identity
from dataplane.dial import OPTIONS, addresses, describe, dial
from dataplane.identity import IdentityError, Papers
from dataplane.settings import Settings
from shared import log
from shared.node_uri import CONTROL_PLANE
from shared.pb.enrolment_pb2 import AuthoritiesRequest, EnrolRequest, NodeCertificate, RenewRequest
from shared.pb.enrolment_pb2_grpc import EnrolmentStub

RENEW_AT = 2 / 3
"""Of the lifetime: from then on the node tries, so a control plane may be away for the rest of it."""
RENEW_SPREAD = 0.1
"""Of the lifetime: that nodes which enrolled together do not come back together."""
LOOK_SECONDS = 3600.0
"""How long to sleep at most: the clock may be set meanwhile."""
CALL_SECONDS = 15.0


class Enrolling:
    """The identity of one process's node. `now` is in epoch seconds."""

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._file = settings.identity_file
        self._now = now
        self._jitter = jitter
        self._sleep = sleep
        self._enrolled = asyncio.Event()

    @property
    def wanted(self) -> bool:
        """Whether this node goes by a certificate that a control plane gives it."""
        return self._settings.enrols

    async def ready(self, address: str) -> None:
        """Have a certificate, by enrolling at this address if need be; IdentityError where there is none to be had."""
        if not self.wanted:
            return
        papers = identity.load(self._file)
        if self._usable(papers):
            self._enrolled.set()
            return
        if not self._settings.enrol_token:
            raise IdentityError(f"{self._wrong(papers)}: start with an enrolment token (--enrol-token)")
        with locked(self._file):
            if not self._usable(identity.load(self._file)):
                await self._enrol(address)
        self._enrolled.set()

    async def run(self) -> None:
        """Renew the certificate whenever it is due, until cancelled."""
        if not self.wanted:
            return
        await self._enrolled.wait()
        share = RENEW_AT + self._jitter() * RENEW_SPREAD
        for address in addresses(self._settings, self._jitter):
            while (left := self._left(share)) > 0:
                await self._sleep(min(left, LOOK_SECONDS))
            try:
                await self._renew_at(address, share)
            except (IdentityError, OSError) as error:
                log.warn("identity.not_renewed", address=address, reason=str(error))
                await self._sleep(self._pause())

    # ---- the first certificate

    async def _enrol(self, address: str) -> None:
        name = self._settings.node_name
        authorities = await self._authorities(address)
        key, request = identity.request(name)
        credentials = grpc.ssl_channel_credentials(authorities.encode())
        async with aio.secure_channel(address, credentials, options=self._options()) as channel:
            asked = EnrolRequest(token=self._settings.enrol_token, node=name, signing_request=request)
            given = await _answer(EnrolmentStub(channel).Enrol(asked, timeout=CALL_SECONDS))
        identity.save(self._file, Papers(key, given.certificate, given.authorities))
        log.info("identity.enrolled", node=name, address=address, file=str(self._file))

    async def _authorities(self, address: str) -> str:
        """Whom to trust before there is an identity."""
        if self._settings.tls is not None:
            return self._settings.tls.ca.read_text()
        host, _, port = address.rpartition(":")
        where = host.strip("[]"), int(port)
        try:
            # Nothing is believed of what comes back, by whoever it comes, but what has the fingerprint.
            shown = await asyncio.to_thread(ssl.get_server_certificate, where, timeout=CALL_SECONDS)
        except OSError as error:
            raise IdentityError(f"no TLS at {address}: {error}") from error
        credentials = grpc.ssl_channel_credentials(shown.encode())
        async with aio.secure_channel(address, credentials, options=self._options()) as channel:
            try:
                told = await EnrolmentStub(channel).Authorities(AuthoritiesRequest(), timeout=CALL_SECONDS)
            except aio.AioRpcError as error:
                raise IdentityError(describe(error)) from error
        try:
            found = identity.with_fingerprint(told.authorities, self._settings.ca_fingerprint)
        except ValueError:
            found = ""
        if not found:
            raise IdentityError(f"the authority of {address} has another fingerprint than --ca-fingerprint says")
        return found

    def _options(self) -> tuple[tuple[str, object], ...]:
        """Under an authority that came by fingerprint, control planes have one name; under a file's, their own."""
        named = () if self._settings.tls is not None else (("grpc.ssl_target_name_override", CONTROL_PLANE),)
        return (*OPTIONS, *named)

    # ---- the next one

    async def _renew_at(self, address: str, share: float) -> None:
        with locked(self._file):
            if self._left(share) > 0:
                return  # another worker was first
            name = self._settings.node_name
            key, request = identity.request(name)
            async with dial(address, self._settings) as channel:
                asked = RenewRequest(signing_request=request)
                given = await _answer(EnrolmentStub(channel).Renew(asked, timeout=CALL_SECONDS))
            identity.save(self._file, Papers(key, given.certificate, given.authorities))
            log.info("identity.renewed", node=name, address=address)

    def _left(self, share: float) -> float:
        """Seconds until the certificate is to be renewed."""
        papers = identity.load(self._file)
        if papers is None:
            return 0.0
        since, until = papers.validity
        return since + (until - since) * share - self._now()

    def _pause(self) -> float:
        """Seconds between two attempts: some fifty of them fit in what is left of the lifetime."""
        papers = identity.load(self._file)
        since, until = papers.validity if papers is not None else (0.0, 3600.0)
        return max(1.0, (until - since) * (1 - RENEW_AT) / 50) * (0.5 + self._jitter())

    # ---- what is kept

    def _usable(self, papers: Papers | None) -> bool:
        return papers is not None and not self._wrong(papers)

    def _wrong(self, papers: Papers | None) -> str:
        """What is wrong with the identity; "" where nothing is."""
        if papers is None:
            return "this node is not enrolled"
        if papers.node is None or papers.node.name != self._settings.node_name:
            whose = papers.node.name if papers.node else ""
            return f"the certificate in {self._file} is of node {whose!r}, not of {self._settings.node_name!r}"
        if self._now() >= papers.validity[1]:
            return f"the certificate in {self._file} has expired"
        return ""


async def _answer(call: Awaitable[NodeCertificate]) -> NodeCertificate:
    try:
        return await call
    except aio.AioRpcError as error:
        raise IdentityError(describe(error)) from error


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """For one process at a time; IdentityError where another one is at it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IdentityError("another worker of this node is getting the certificate") from None
        yield
