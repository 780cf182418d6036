"""Pruning in a whole control plane: who holds on to history, what its surfaces say of what is gone, what else goes."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from sqlalchemy import func, select, update

from controlplane.app import ControlPlane
from controlplane.changes import Once
from controlplane.rollout.plan import read_plan
from controlplane.rollout.records import MOST_QUARANTINED, Records
from controlplane.rollout.tables_rollout import QUARANTINE, ROLLOUTS
from controlplane.service import Service
from controlplane.store.pruning import DAY, Keep, Pruner
from controlplane.store.sql import SqlStore
from controlplane.store.tables import HORIZON, IDEMPOTENCY, REVISIONS
from controlplane.trust.tables_trust import CERTIFICATES, ENROLMENTS
from shared.pb.admin_pb2 import DiffRevisionsRequest, VerifyAuditRequest
from shared.pb.admin_pb2_grpc import AdminStub
from tests.integration.controlplane_node import NodeClient, until
from tests.integration.test_controlplane_app import AS_BOSS, BOSS
from tests.integration.test_rest_resources import api
from tests.integration.test_store_pruning import Days, at_once, kept
from tests.support.command import Operator
from tests.support.configuration import ALICE, Plane, plane, route, upstream
from tests.support.deadline import eventually
from tests.unit.test_docs import ROOT, blocks

LEAST = Keep(revisions=1, revisions_for=3600.0)
SHORT: dict[str, Any] = {"keep_revisions": 1, "keep_revisions_for": 3600.0, "keep_audit_for": 3600.0}


async def written(control_plane: ControlPlane, count: int) -> None:
    """So many revisions, which look as if they had been made long ago."""
    service, database = control_plane.plane.service, control_plane.plane.database
    for number in range(count):
        changes = [route("a", priority=number)] if service.committed else [upstream("u"), route("a")]
        await service.commit(changes, ALICE)
    async with database.transaction() as connection:
        await connection.execute(update(REVISIONS).values(at=0))


async def test_rest_and_grpc_say_what_was_pruned(tmp_path: Path) -> None:
    """410 and NOT_FOUND with the oldest revision that is kept; that one is shown with its own changes."""
    async with api(tmp_path, **SHORT | {"keep_revisions": 3}) as (client, control_plane):
        await written(control_plane, 5)
        await control_plane.plane.pruner.prune()
        assert [one["revision"] for one in (await client.ask("/api/revisions"))[1]["revisions"]] == [5, 4, 3]
        for path, method in (
            ("/api/revisions/2", "GET"),
            ("/api/revisions/2/diff", "GET"),
            ("/api/revisions/4/diff?from=2", "GET"),
            ("/api/revisions/2/rollback", "POST"),
            ("/api/revisions/2/rollback?dryRun=1", "POST"),
        ):
            status, body, _ = await client.ask(path, method)
            assert (status, body["message"]) == (410, "revision 2 was pruned; oldest kept is 3"), path
        for path in ("/api/revisions/3", "/api/revisions/3/diff", "/api/revisions/4/diff?from=3"):
            status, body, _ = await client.ask(path)
            assert (status, [one["name"] for one in body["changes"]]) == (200, ["a"])
        verified = (await client.ask("/api/audit/verify"))[1]
        assert (verified["valid"], verified["first"], verified["anchor"]) == (True, 1, "")
        text = (await client.ask("/metrics"))[1]
        assert "config_oldest_revision 3.0" in text
        assert "revisions_pruned_total 2.0" in text
        async with aio.insecure_channel(f"127.0.0.1:{control_plane.grpc_port}") as channel:
            stub = AdminStub(channel)
            asked = DiffRevisionsRequest(to=4, **{"from": 2})  # `from` is a keyword
            with pytest.raises(aio.AioRpcError, match="revision 2 was pruned; oldest kept is 3") as error:
                await stub.DiffRevisions(asked, metadata=AS_BOSS)
            assert error.value.code() is grpc.StatusCode.NOT_FOUND
            found = await stub.VerifyAudit(VerifyAuditRequest(), metadata=AS_BOSS)
            assert (found.valid, found.first, found.rows) == (True, 1, verified["rows"])


async def test_the_command_line_tells_what_was_pruned(tmp_path: Path) -> None:
    """`audit verify` says from where it verifies, and of a hash that is gone that it may be a pruned one's."""
    async with api(tmp_path, **SHORT) as (client, control_plane):
        parts, operator = control_plane.plane, Operator(tmp_path, client.base, BOSS)
        await written(control_plane, 3)
        hashes = [entry.hash async for entry in parts.audit.all()]
        keep = Keep(revisions=1, revisions_for=3600.0, audit_for=3600.0)
        await Pruner(parts.database, parts.audit, keep, now=lambda: time.time() + 9 * DAY, sleep=at_once).prune()
        found = await parts.audit.verify()
        told = await operator.good("audit", "verify")
        assert f"verified from entry {found.first}: those before were pruned, the last of them has {hashes[-1]}" in told
        await operator.good("audit", "verify", "--hash", found.anchor)
        code, _, errors = await operator("audit", "verify", "--hash", hashes[0])
        assert (code, "which were pruned" in errors) == (1, True)
        code, _, errors = await operator("revisions", "show", "1")
        assert (code, "revision 1 was pruned; oldest kept is 3" in errors) == (1, True)


async def test_what_a_node_runs_is_kept(tmp_path: Path) -> None:
    """Operators can ask what a node lacks, however far behind it is; once it has moved on, the rest goes."""
    async with (
        api(tmp_path, **SHORT) as (_, control_plane),
        aio.insecure_channel(f"127.0.0.1:{control_plane.grpc_port}") as channel,
    ):
        parts = control_plane.plane
        await written(control_plane, 2)
        await until(lambda: parts.publisher.revision == 2)
        node = NodeClient(channel)
        await node.connect()
        [chunk] = await node.snapshot()
        epoch = chunk.snapshot.store_epoch
        await node.ack(chunk.snapshot.nonce, 2, epoch)
        await until(lambda: parts.nodes.states(2)["current"] == 1)
        await written(control_plane, 3)
        await parts.pruner.prune()
        assert parts.pruner.oldest == 2
        delta = await node.delta()
        while delta.revision < 5:
            await node.ack(delta.nonce, delta.revision, epoch)
            delta = await node.delta()
        await node.ack(delta.nonce, 5, epoch)
        await until(lambda: parts.nodes.states(5)["current"] == 1)
        await parts.pruner.prune()
        assert parts.pruner.oldest == 5


async def test_what_a_rollout_may_go_back_to_is_kept(database_url: str) -> None:
    """Its base stays while it runs; when it is over it goes, and later its row, but never the newest one's."""
    clock = Days()
    async with plane(database_url, clock) as parts:
        records = Records(parts.database, parts.audit, now=clock)
        store = SqlStore(parts.database, parts.audit, witness=records.committing, now=clock)
        service = Service(store, parts.publisher)
        pruner = Pruner(
            parts.database,
            parts.audit,
            LEAST,
            holders=[records.held],
            others=[records.prune],
            now=clock,
            sleep=at_once,
        )
        await service.commit([upstream("u"), route("a")], ALICE)
        for number in (1, 2):
            waves = read_plan({"waves": [{"percent": 10}]})
            await service.commit([route("b", priority=number)], ALICE, rollout=waves)
            clock.pass_by(9)
            await pruner.prune()
            newest = (await parts.newest()).revision
            assert await kept(parts) == [newest - 1, newest]
            await service.commit([route("c", priority=number)], ALICE, force=True)  # ends it
            clock.pass_by(9)
            await pruner.prune()
            assert await kept(parts) == [newest + 1]
            assert [one.id for one in await records.page(9)] == [number], "so that numbers are never given twice"


async def test_quarantine_keeps_what_it_looks_at(tmp_path: Path) -> None:
    """Of changes that were taken back the newest are compared with writes; older ones are removed."""
    async with plane(f"sqlite:///{tmp_path}/f.db") as parts:
        row = {"revision": 1, "reason": "", "at": 0, "contents": []}
        rows = [row | {"rollout": number} for number in range(1, MOST_QUARANTINED + 6)]
        async with parts.database.transaction() as connection:
            await connection.execute(QUARANTINE.insert(), rows)
        await Records(parts.database, parts.audit).prune()
        assert await _count(parts, QUARANTINE) == MOST_QUARANTINED
        assert await _count(parts, ROLLOUTS) == 0


async def test_what_else_is_over_goes_with_a_pass(tmp_path: Path) -> None:
    """Answers to idempotency keys, enrolment tokens and certificates that ended long ago; others stay."""
    async with api(tmp_path, grpc_tls=True) as (client, control_plane):
        parts = control_plane.plane
        once = Once("boss", "key", "hash", lambda _: {})
        await parts.service.commit([upstream("u")], ALICE, once=once)
        assert (await client.ask("/api/nodes/enrolments", "POST", json={"node": "edge-1"}))[0] == 201
        serial = {"serial": "aa", "node": "n", "labels": {}, "issued_at": 0, "enrolment": "", "revoked_by": ""}
        async with parts.database.transaction() as connection:
            await connection.execute(CERTIFICATES.insert().values(**serial, not_after=0, reason=""))
        await parts.pruner.prune()
        tables = (IDEMPOTENCY, ENROLMENTS, CERTIFICATES)
        assert [await _count(parts, table) for table in tables] == [1, 1, 0]
        async with parts.database.transaction() as connection:
            await connection.execute(update(IDEMPOTENCY).values(expires=1))
            await connection.execute(update(ENROLMENTS).values(expires_at=1))
        await parts.pruner.prune()
        assert [await _count(parts, table) for table in tables] == [0, 0, 0]


async def test_exports_are_checked_as_the_page_says(tmp_path: Path) -> None:
    """The program of docs/operations/history.md finds exports whole, one after the other, and an edited one not."""
    [program] = blocks(ROOT / "docs" / "operations" / "history.md", "python")
    clock = Days()

    async def checked(lines: list[bytes], before: str = "") -> tuple[int | None, str]:
        arguments = ("-c", program, before) if before else ("-c", program)
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        output, _ = await process.communicate(b"".join(lines))
        return process.returncode, output.decode().strip()

    async with plane(f"sqlite:///{tmp_path}/f.db", clock) as parts:
        await parts.audit.record(
            ALICE, "session.refused", "user/Zoë\x7f\u2028", {"share": 0.25, "é": {"b": 1, "a": []}}
        )
        for number in range(4):
            await parts.commit(upstream("u"), route("a", priority=number), message="why: “this”")
        lines = [line async for line in parts.audit.lines()]
        whole = await parts.audit.verify()
        assert await checked(lines) == (0, f"whole, up to {whole.hash}")
        clock.pass_by(9)
        await Pruner(parts.database, parts.audit, Keep(1, 3600.0, 3600.0), now=clock, sleep=at_once).prune()
        verified = await parts.audit.verify()
        assert verified.anchor == whole.hash
        after = [line async for line in parts.audit.lines()]
        assert await checked(after, verified.anchor) == (0, f"whole, up to {verified.hash}")
        assert (await checked([*lines[:1], *lines[2:]]))[0] == 1
        assert (await checked([lines[0].replace(b"alice", b"carol"), *lines[1:]]))[0] == 1


async def test_it_runs_by_itself(tmp_path: Path) -> None:
    """A control plane prunes while it runs, without being asked."""
    clock = Days()
    pauses = 0

    async def sleep(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses > 40:
            await never.wait()

    never = asyncio.Event()
    async with plane(f"sqlite:///{tmp_path}/f.db", clock) as parts:
        for number in range(3):
            await parts.commit(upstream("u"), route("a", priority=number))
        clock.pass_by(9)
        pruner = Pruner(parts.database, parts.audit, LEAST, now=clock, sleep=sleep)
        running = asyncio.create_task(pruner.run())
        try:
            assert await eventually(lambda: kept(parts), lambda left: left == [3]) == [3]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        async with parts.database.reading() as connection:
            assert (await connection.execute(select(HORIZON.c.revision))).scalar_one() == 2


async def _count(parts: Any | Plane, table: Any) -> int:
    async with parts.database.reading() as connection:
        number: int = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
        return number
