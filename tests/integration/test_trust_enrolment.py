"""Enrolment end to end: a real control plane with TLS, real nodes, and everything that must be refused."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from controlplane.app import ControlPlane
from controlplane.trust.authority import Authority, utc_now
from dataplane import identity
from dataplane.enrolling import Enrolling
from dataplane.settings import StreamTls
from shared.node_uri import CONTROL_PLANE, NodeName
from shared.pb.admin_pb2_grpc import AdminStub
from shared.pb.enrolment_pb2 import (
    CreateEnrolmentRequest,
    DeleteEnrolmentRequest,
    EnrolRequest,
    ListCertificatesRequest,
    ListEnrolmentsRequest,
    RenewRequest,
    RevokeCertificateRequest,
)
from shared.pb.enrolment_pb2_grpc import EnrolmentStub
from tests.integration.controlplane_node import NodeClient, until
from tests.integration.stream_control_plane import DataPlaneNode, node
from tests.integration.test_controlplane_app import AS_BOSS, Client, rest, started
from tests.support.deadline import eventually


class Enrolled:
    """A control plane with TLS, and its REST."""

    def __init__(self, control_plane: ControlPlane, client: Client) -> None:
        self.plane = control_plane.plane
        self.client = client
        self.address = f"127.0.0.1:{control_plane.grpc_port}"

    @property
    def fingerprint(self) -> str:
        """What a node is given, in hex digits."""
        assert self.plane.register is not None
        return self.plane.register.authority.fingerprint.removeprefix("sha256:")

    async def token(self, **body: Any) -> str:
        """A new enrolment token."""
        status, answer, _ = await self.client.ask("/api/nodes/enrolments", "POST", json=body)
        assert status == 201, answer
        assert answer["fingerprint"] == f"sha256:{self.fingerprint}"
        return str(answer["token"])

    @asynccontextmanager
    async def node(self, directory: Path, name: str, **changes: Any) -> AsyncIterator[DataPlaneNode]:
        """A node that trusts this control plane by its fingerprint; `node_id` is its name unless said otherwise."""
        given = {"node_name": name, "node_id": name, "ca_fingerprint": self.fingerprint, **changes}
        async with node(directory / name, self.address, **given) as made:
            yield made

    async def connected(self, name: str) -> Any:
        """Wait until this node has a stream; how it is shown."""
        await until(lambda: self.shown(name) is not None and self.shown(name).connected)
        return self.shown(name)

    def shown(self, name: str) -> Any:
        """A node as operators see it; None where it is not known."""
        return next((one for one in self.plane.nodes.view(self.plane.publisher.revision) if one.id == name), None)

    async def certificates(self, **query: str) -> list[Any]:
        """What /api/nodes/certificates lists."""
        _, answer, _ = await self.client.ask("/api/nodes/certificates", params=query)
        listed: list[Any] = answer["certificates"]
        return listed


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Enrolled]:
    """A control plane whose nodes enrol."""
    async with started(tmp_path, grpc_tls=True) as (control_plane, _), rest(control_plane) as client:
        yield Enrolled(control_plane, client)


async def test_a_node_enrols_and_comes_back_without_the_token(control: Enrolled, tmp_path: Path) -> None:
    """With token and fingerprint it gets a certificate and its stream; restarted, the certificate alone is enough."""
    token = await control.token(labels={"zone": "x"})
    async with control.node(tmp_path, "a", enrol_token=token) as one:
        shown = await control.connected("a")
        assert shown.certificate == (await control.certificates(node="a"))[0]["serial"]
        assert dict(shown.labels) == {"zone": "x"}  # not what the node says
        file = one.settings.identity_file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await until(lambda: not control.shown("a").connected)
    async with control.node(tmp_path, "a", ca_fingerprint=""):
        await control.connected("a")
    assert len(await control.certificates(node="a")) == 1


async def test_workers_share_one_certificate(control: Enrolled, tmp_path: Path) -> None:
    """Workers of a data plane enrol with one token between them, and each has its stream."""
    token = await control.token()
    changes = {"node_name": "a", "enrol_token": token}
    async with (
        control.node(tmp_path, "a", **changes, node_id="a/0"),
        control.node(tmp_path, "a", **changes, node_id="a/1"),
    ):
        assert (await control.connected("a/0")).certificate == (await control.connected("a/1")).certificate


@pytest.mark.parametrize(
    ("invited", "part"),
    [
        ({"node": "somebody-else"}, "is for another node than 'a'"),
        (None, "is not known here"),
        ({"expiresIn": 1}, "has expired"),
    ],
    ids=["for another node", "forged", "expired"],
)
async def test_bad_tokens(control: Enrolled, tmp_path: Path, invited: Any, part: str) -> None:
    """A token that is another node's, forged or expired is refused, and the node says why."""
    token = await control.token(**invited) if invited is not None else "fge_forged"
    if invited and "expiresIn" in invited:
        await expired(control)
    async with control.node(tmp_path, "a", enrol_token=token) as one:
        await one.pauses.bell.until(lambda: bool(one.pauses.asked), "an attempt")
        assert part in one.discovery.status.last_error
    assert control.plane.register is not None
    assert control.plane.register.refusals > 0
    assert await control.certificates() == []


async def expired(control: Enrolled) -> None:
    """Wait until no token is good any more."""

    async def states() -> set[str]:
        _, answer, _ = await control.client.ask("/api/nodes/enrolments")
        return {one["state"] for one in answer["enrolments"]}

    await eventually(states, lambda found: found == {"expired"})


async def test_a_token_is_good_once(control: Enrolled, tmp_path: Path) -> None:
    """The second node with a token is refused; the first is not disturbed."""
    token = await control.token()
    async with control.node(tmp_path, "a", enrol_token=token):
        await control.connected("a")
        async with control.node(tmp_path, "b", enrol_token=token) as second:
            await second.pauses.bell.until(lambda: bool(second.pauses.asked), "an attempt")
            assert "was used already" in second.discovery.status.last_error
        assert control.shown("a").connected
    _, answer, _ = await control.client.ask("/api/nodes/enrolments")
    [listed] = answer["enrolments"]
    assert (listed["state"], listed["usedBy"]) == ("used", "a")
    assert token not in str(answer)


async def test_a_second_node_of_the_same_name_is_refused(control: Enrolled, tmp_path: Path) -> None:
    """Who has a certificate keeps its name, unless a token was made for this very node: that replaces it."""
    first, second = await control.token(), await control.token()
    async with control.node(tmp_path, "a", enrol_token=first):
        before = (await control.connected("a")).certificate
        async with control.node(tmp_path / "elsewhere", "a", enrol_token=second) as other:
            await other.pauses.bell.until(lambda: bool(other.pauses.asked), "an attempt")
            assert "has a certificate already" in other.discovery.status.last_error
        third = await control.token(node="a")
        async with control.node(tmp_path / "third", "a", enrol_token=third):
            await until(lambda: control.shown("a").certificate not in {before, ""})
            [old] = [one for one in await control.certificates() if one["serial"] == before]
            assert (old["state"], old["reason"]) == ("revoked", "the node was enrolled anew")


async def test_another_authority_is_not_told_the_token(control: Enrolled, tmp_path: Path) -> None:
    """Where the fingerprint is another one, the node gives nothing away and says what is wrong."""
    token = await control.token()
    async with control.node(tmp_path, "a", enrol_token=token, ca_fingerprint="ab" * 32) as one:
        await one.pauses.bell.until(lambda: bool(one.pauses.asked), "an attempt")
        assert "another fingerprint" in one.discovery.status.last_error
    _, answer, _ = await control.client.ask("/api/nodes/enrolments")
    assert [listed["state"] for listed in answer["enrolments"]] == ["unused"]


async def test_a_revoked_certificate_ends_the_stream_and_opens_no_other(control: Enrolled, tmp_path: Path) -> None:
    """Revoking cuts the node off at once; it goes on serving, and may neither come back nor renew."""
    token = await control.token()
    async with control.node(tmp_path, "a", enrol_token=token) as one:
        serial = (await control.connected("a")).certificate
        await one.until(lambda: one.discovery.status.revision == 1, "a configuration")
        path = f"/api/nodes/certificates/{serial}/revoke"
        status, answer, _ = await control.client.ask(path, "POST", json={"reason": "lost"})
        assert (status, answer["state"], answer["reason"]) == (200, "revoked", "lost")
        await until(lambda: not control.shown("a").connected)
        await one.pauses.bell.until(lambda: "unauthenticated" in one.discovery.status.last_error, "a refusal")
        assert f"certificate {serial} is revoked" in one.discovery.status.last_error
        assert one.discovery.status.revision == 1
        papers = kept(one)
        async with as_node(control.address, papers) as channel:
            with pytest.raises(aio.AioRpcError, match="is revoked"):
                await EnrolmentStub(channel).Renew(RenewRequest(signing_request=identity.request("a")[1]))


async def test_a_certificate_is_for_its_node_alone(control: Enrolled, tmp_path: Path) -> None:
    """With the certificate of one node no other can be, get telemetry in, or be renewed."""
    token = await control.token()
    async with control.node(tmp_path, "a", enrol_token=token) as one:
        await control.connected("a")
        papers = kept(one)
        async with as_node(control.address, papers) as channel:
            other = NodeClient(channel, "b")
            await other.connect()
            code, reason = await other.end()
            assert (code, "is of node 'a', not of 'b'" in reason) == (grpc.StatusCode.PERMISSION_DENIED, True)
            with pytest.raises(aio.AioRpcError, match="must name flexgate://node/a"):
                await EnrolmentStub(channel).Renew(RenewRequest(signing_request=identity.request("b")[1]))


async def test_who_shows_nothing_is_told_what_to_do(control: Enrolled) -> None:
    """Over TLS without certificate there is no stream, whatever the node says."""
    authority = control.plane.register.authority.pem if control.plane.register else ""
    options = (("grpc.ssl_target_name_override", CONTROL_PLANE),)
    credentials = grpc.ssl_channel_credentials(authority.encode())
    async with aio.secure_channel(control.address, credentials, options=options) as channel:
        stranger = NodeClient(channel, "a")
        await stranger.connect()
        code, reason = await stranger.end()
        assert (code, "--enrol-token" in reason) == (grpc.StatusCode.UNAUTHENTICATED, True)
        with pytest.raises(aio.AioRpcError, match="must name flexgate://node/a and nothing else"):
            token = await control.token()
            asked = EnrolRequest(token=token, node="a", signing_request=identity.request("b")[1])
            await EnrolmentStub(channel).Enrol(asked)


async def test_certificates_of_strangers_are_refused(control: Enrolled, tmp_path: Path) -> None:
    """A certificate that another authority signed is no certificate here: TLS itself refuses it."""
    stranger = Authority.create(utc_now())
    key, request = identity.request("a")
    issued = stranger.sign_node(request, NodeName("a"), utc_now(), timedelta(hours=1))
    authority = control.plane.register.authority.pem if control.plane.register else ""
    async with as_node(control.address, identity.Papers(key, issued.pem, authority)) as channel:
        with pytest.raises(aio.AioRpcError) as refused:
            await NodeClient(channel, "a").connect()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"nodes": "a"}, "nodes"),
        ({"node": 5}, "node"),
        ({"labels": {"a": 1}}, "labels"),
        ({"expiresIn": 0}, "expiresIn"),
        ({"expiresIn": "1h"}, "expiresIn"),
    ],
)
async def test_what_is_wrong_with_an_invitation(control: Enrolled, body: Any, path: str) -> None:
    """A wrong field is told by its path, and makes no token."""
    status, answer, _ = await control.client.ask("/api/nodes/enrolments", "POST", json=body)
    assert (status, [detail["path"] for detail in answer["details"]]) == (400, [path])


async def test_the_verbs_over_grpc(control: Enrolled, tmp_path: Path) -> None:
    """Operators do over gRPC what they do over REST; nodes and strangers do not."""
    authority = control.plane.register.authority.pem if control.plane.register else ""
    options = (("grpc.ssl_target_name_override", CONTROL_PLANE),)
    async with aio.secure_channel(
        control.address, grpc.ssl_channel_credentials(authority.encode()), options=options
    ) as channel:
        admin = AdminStub(channel)
        asked = CreateEnrolmentRequest(node="a", labels={"zone": "x"}, expires_in=60)
        with pytest.raises(aio.AioRpcError, match="bearer token"):
            await admin.CreateEnrolment(asked)
        made = await admin.CreateEnrolment(asked, metadata=AS_BOSS)
        assert made.fingerprint == f"sha256:{control.fingerprint}"
        async with control.node(tmp_path, "a", enrol_token=made.token):
            await control.connected("a")
            [listed] = (await admin.ListEnrolments(ListEnrolmentsRequest(), metadata=AS_BOSS)).enrolments
            assert (listed.id, listed.state, listed.used_by) == (made.enrolment.id, "used", "a")
            found = await admin.ListCertificates(ListCertificatesRequest(node="a"), metadata=AS_BOSS)
            [certificate] = found.certificates
            revoking = RevokeCertificateRequest(serial=certificate.serial, reason="lost")
            assert (await admin.RevokeCertificate(revoking, metadata=AS_BOSS)).state == "revoked"
            await until(lambda: not control.shown("a").connected)
        origins = {
            (entry.actor, entry.address)
            for entry in await control.plane.audit.page()
            if entry.action.startswith("node.")
        }
        assert origins == {("admin-token", "127.0.0.1"), ("node a", "127.0.0.1")}
        for call in (
            admin.DeleteEnrolment(DeleteEnrolmentRequest(id=listed.id), metadata=AS_BOSS),
            admin.RevokeCertificate(RevokeCertificateRequest(serial="0"), metadata=AS_BOSS),
        ):
            with pytest.raises(aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(aio.AioRpcError, match="expiresIn"):
            await admin.CreateEnrolment(CreateEnrolmentRequest(expires_in=0), metadata=AS_BOSS)


async def test_without_tls_there_is_no_enrolment(tmp_path: Path) -> None:
    """Enrolment over plain text is not offered, and the answer says what to do."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        status, answer, _ = await client.ask("/api/nodes/enrolments", "POST", json={})
        assert (status, "--grpc-tls on" in answer["message"]) == (409, True)


async def test_a_node_that_was_told_a_file_trusts_that_file(tmp_path: Path) -> None:
    """With --control-plane-ca instead of a fingerprint, names are those that the node dials."""
    async with started(tmp_path, grpc_tls=True) as (control_plane, _), rest(control_plane) as client:
        control = Enrolled(control_plane, client)
        ca = tmp_path / "ca.pem"
        ca.write_text((await client.ask("/api/nodes/authority"))[1]["certificate"])
        token = await control.token()
        changes = {"enrol_token": token, "ca_fingerprint": "", "tls": StreamTls(ca)}
        async with control.node(tmp_path, "a", **changes):
            await control.connected("a")


async def test_a_certificate_is_renewed_before_it_ends(control: Enrolled, tmp_path: Path) -> None:
    """At two thirds of its lifetime, by the node's clock, it gets the next one over the old one, with a new key."""
    token = await control.token(labels={"zone": "x"})
    async with control.node(tmp_path, "a", enrol_token=token) as one:
        before = (await control.connected("a")).certificate
        papers = kept(one)
        since, until_ = papers.validity
        slept: list[float] = []
        clock = Turned(since)
        renewing = Enrolling(one.settings, now=clock, jitter=lambda: 0.5, sleep=clock.sleep(slept))
        await renewing.ready(control.address)
        task = asyncio.create_task(renewing.run())
        await until(lambda: kept(one).key != papers.key)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        due = (until_ - since) * (2 / 3 + 0.05)
        assert sum(slept) == pytest.approx(due, abs=1.0)
        assert max(slept) <= 3600.0
        assert kept(one).node == NodeName("a", {"zone": "x"})
        assert {one["state"] for one in await control.certificates()} == {"good"}
        assert control.shown("a").certificate == before  # the stream goes on with what it began with


def kept(one: DataPlaneNode) -> identity.Papers:
    """The identity that a node keeps."""
    papers = identity.load(one.settings.identity_file)
    assert papers is not None
    return papers


class Turned:
    """A wall clock that only sleeping turns on."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, slept: list[float]) -> Callable[[float], Awaitable[None]]:
        """A sleep that takes no time; what was asked for is noted."""

        async def turn(seconds: float) -> None:
            slept.append(seconds)
            self.now += seconds
            await asyncio.sleep(0)

        return turn


async def test_an_expired_certificate_opens_nothing(control: Enrolled, tmp_path: Path) -> None:
    """A stream whose certificate ends is ended; a node whose certificate is over asks for a token."""
    token = await control.token()
    register = control.plane.register
    assert register is not None
    async with control.node(tmp_path, "a", enrol_token=token) as one:
        await control.connected("a")
        control.plane.nodes.cut(lambda admitted: "over" if admitted.not_after < time.time() else "")
        assert control.shown("a").connected
        papers = kept(one)
        later = replace(one.settings, enrol_token="")
        with pytest.raises(identity.IdentityError, match="has expired: start with an enrolment token"):
            await Enrolling(later, now=lambda: papers.validity[1]).ready(control.address)


@asynccontextmanager
async def as_node(address: str, papers: identity.Papers) -> AsyncIterator[aio.Channel]:
    """A channel with a node's certificate."""
    credentials = grpc.ssl_channel_credentials(
        papers.authorities.encode(), papers.key.encode(), papers.certificate.encode()
    )
    options = (("grpc.ssl_target_name_override", CONTROL_PLANE),)
    async with aio.secure_channel(address, credentials, options=options) as channel:
        yield channel
