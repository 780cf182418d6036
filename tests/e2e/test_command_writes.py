"""`flexgate` changes the configuration: plans, documents, resources, keys, revisions, the audit log, backups."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio

from tests.e2e.test_command_access import operated
from tests.integration.controlplane_node import NodeClient
from tests.support.command import Operator, flexgate, terminal
from tests.support.deadline import eventually

DOCUMENT = """
upstreams:
  - {name: users, url: "http://users:8080"}
routes:
  - {name: users, path: /users/*, upstream: users}
"""


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Operator]:
    """The admin of a control plane over an empty database, with a document to apply."""
    (tmp_path / "proxy.yml").write_text(DOCUMENT)
    async with operated(tmp_path) as (_, operator):
        yield operator


async def test_a_document_is_compared_applied_and_exported(admin: Operator) -> None:
    """The plan is shown and asked about; what is exported applies as no change; nothing is written by a dry run."""
    assert "+ route users" in await admin.good("diff", "proxy.yml")
    code, output, errors = await admin("apply", "proxy.yml")
    assert (code, output.count("+ "), "--yes" in errors) == (2, 3, True), output
    assert "3 to create" in await admin.good("apply", "proxy.yml", "--dry-run")
    assert "revision  none yet" in await admin.good("status")
    assert "revision 1" in await admin.good("apply", "proxy.yml", "--yes", "-m", "first")
    assert "nothing would change" in await admin.good("apply", "proxy.yml")
    (admin.directory / "out.yml").write_text(await admin.good("export"))
    assert "nothing would change" in await admin.good("diff", "out.yml", "--exit-code")
    assert (await admin("diff", "-", "--exit-code", typed=DOCUMENT.replace("8080", "9090")))[0] == 7


async def test_faults_of_a_document_are_told_with_their_lines(admin: Operator) -> None:
    """FILE:LINE: path: message for every one, exit code 1, and nothing is changed."""
    (admin.directory / "bad.yml").write_text(DOCUMENT.replace("upstream: users", "upstraem: users"))
    code, output, errors = await admin("apply", "bad.yml", "--yes")
    assert (code, output) == (1, "")
    assert re.search(r"^  bad.yml:5: routes\[0\]\.upstraem: unknown key", errors, re.MULTILINE)


async def test_resources_are_created_changed_and_deleted(admin: Operator) -> None:
    """Fields are typed as NAME=VALUE; what others need is not deleted; a stale etag is a conflict; each exit code 5."""
    assert "created upstream orders" in await admin.good("upstreams", "create", "name=orders", "url=http://orders:80")
    fields = ("name=orders", "path=/orders/*", "upstream=orders", "methods=[GET, POST]", "rateLimit.max=10")
    assert "created route orders" in await admin.good("routes", "create", *fields, "rateLimit.windowMs=60000")
    code, _, errors = await admin("routes", "create", *fields)
    assert (code, "already" in errors) == (5, True)
    listed = await admin.good("routes", "list", "--filter", "upstreamName=orders")
    assert re.search(r"orders +/orders/\* +GET POST +orders +10 in 60s +yes", listed)
    assert json.loads(await admin.good("routes", "list", "--filter", "methods=PUT", "-o", "json")) == []
    etag = (await admin.good("routes", "get", "orders")).split("# etag ")[1].strip()
    assert "as you said" in await admin.good("routes", "set", "orders", "enabled=false", "--if-match", etag)
    code, _, errors = await admin("routes", "set", "orders", "enabled=true", "--if-match", etag)
    assert (code, "412" in errors) == (5, True)
    plan = await admin.good("routes", "set", "orders", "rateLimit=null", "methods=[GET]", "--dry-run")
    assert "~ route orders" in plan
    assert "methods" in plan
    code, _, errors = await admin("upstreams", "delete", "orders", "--yes")
    assert (code, "is used by route 'orders'" in errors) == (5, True)
    await admin.good("routes", "delete", "orders", "--yes")
    await admin.good("upstreams", "delete", "orders", "--yes")
    code, _, errors = await admin("routes", "set", "x", "path=relative", "upstream=nobody", "maxx=1", "--file", "x.yml")
    assert (code, "--file FILE" in errors) == (2, True)


async def test_a_resource_is_read_from_a_file(admin: Operator) -> None:
    """What `get` shows can be edited and put back; the file may be the input."""
    await admin.good("apply", "proxy.yml", "--yes")
    shown = await admin.good("routes", "get", "users", "-o", "yaml")
    assert "as you said" in await admin.good("routes", "set", "users", "-f", "-", typed=shown + "timeout: 5s\n")
    assert "timeout" in await admin.good("routes", "get", "users")
    code, _, errors = await admin("routes", "set", "users", "-f", "-", typed=shown + "tiemout: 5s\n")
    assert (code, "tiemout: unknown key; did you mean timeout?" in errors) == (1, True)


async def test_keys_are_shown_once(admin: Operator) -> None:
    """A key is made, rotated and revoked; its secret is in the answer and nowhere else."""
    await admin.good("consumers", "create", "name=shop")
    made = await admin.good("keys", "create", "shop", "--scope", "read")
    secret = made.split()[0]
    rotated = await admin.good("keys", "rotate", "shop", "--grace", "1h")
    assert rotated.split()[0] != secret
    listed = await admin.good("keys", "list")
    assert "shop~1" in listed
    everything = listed + await admin.good("export") + await admin.good("audit", "export")
    assert secret not in everything
    assert rotated.split()[0] not in everything
    await admin.good("keys", "revoke", "shop~1", "--yes")
    assert "shop~1" not in await admin.good("keys", "list")


async def test_settings_are_shown_and_changed(admin: Operator) -> None:
    """A field of the settings is set by its path."""
    await admin.good("apply", "proxy.yml", "--yes")
    await admin.good("settings", "set", "proxy.timeout.request=5s")
    assert "5000" in await admin.good("settings", "get")


async def test_revisions_are_compared_and_brought_back(admin: Operator) -> None:
    """Who made which revision and what it changed; a rollback is a new revision with the old content."""
    await admin.good("apply", "proxy.yml", "--yes", "-m", "first")
    await admin.good("upstreams", "set", "users", "url=http://users:9090", "-m", "second")
    listed = await admin.good("revisions", "list")
    assert re.search(r"2 .*admin.* write +1 +second\s+1 ", listed, re.DOTALL)
    assert "url: http://users:8080 -> http://users:9090" in await admin.good("revisions", "show", "2")
    assert "url: http://users:9090 -> http://users:8080" in await admin.good("revisions", "diff", "2", "1")
    assert (
        json.loads(await admin.good("revisions", "list", "--of", "route/users", "-o", "json"))["revisions"][0][
            "revision"
        ]
        == 1
    )
    assert "revision 3" in await admin.good("rollback", "1", "--yes")
    assert "http://users:8080" in await admin.good("upstreams", "get", "users")
    assert (await admin("rollback", "9", "--yes"))[0] == 1


async def test_a_plan_of_another_revision_is_a_conflict(admin: Operator) -> None:
    """A script applies what it compared, or learns with exit code 5 that somebody was faster; * takes what there is."""
    compared = json.loads(await admin.good("diff", "proxy.yml", "-o", "json"))
    await admin.good("upstreams", "create", "name=users", "url=http://users:80")
    code, output, errors = await admin("apply", "proxy.yml", "--yes", "--if-match", compared["etag"])
    assert (code, output) == (5, "")
    assert "somebody else changed the configuration: it is at revision 1 by now" in errors
    assert (await admin("apply", "proxy.yml", "--dry-run", "--if-match", compared["etag"]))[0] == 5
    assert (await admin("rollback", "1", "--yes", "--if-match", compared["etag"]))[0] == 5
    compared = json.loads(await admin.good("diff", "proxy.yml", "-o", "json"))
    assert "revision 2" in await admin.good("apply", "proxy.yml", "--yes", "--if-match", compared["etag"])
    assert "revision 3" in await admin.good("rollback", "1", "--yes", "--if-match", "*")


async def test_a_commit_between_plan_and_answer_is_shown(admin: Operator) -> None:
    """Somebody commits while the question stands: nothing is applied, the new plan is shown and asked about anew."""
    await admin.good("apply", "proxy.yml", "--yes")
    (admin.directory / "proxy.yml").write_text(DOCUMENT.replace("8080", "9090"))
    async with terminal(admin, "apply", "proxy.yml") as typing:
        first = await typing.until("Apply this? [y/N] ")
        assert "url: http://users:8080 -> http://users:9090" in first
        await admin.good("routes", "create", "name=new", "path=/new/*", "upstream=users")
        typing.say("y")
        second = await typing.until("Apply this? [y/N] ")
        assert "somebody else was faster, and nothing was changed; this is the plan now:" in second
        assert "- route new" in second
        assert "on top of revision 2" in second
        typing.say("y")
        assert "revision 3: " in await typing.until("revision 3: ")
        assert await typing.ended() == 0


async def test_a_guard_needs_force(admin: Operator) -> None:
    """A change that takes most routes away is held back with exit code 5, and done with --force."""
    many = [f"  - {{name: r{number}, path: /r{number}, upstream: users}}\n" for number in range(20)]
    (admin.directory / "many.yml").write_text(DOCUMENT + "".join(many))
    await admin.good("apply", "many.yml", "--yes")
    code, output, errors = await admin("apply", "proxy.yml", "--yes")
    assert (code, "20 to delete" in output, "held back" in errors) == (5, True, True)
    await admin.good("apply", "proxy.yml", "--yes", "--force")


async def test_a_write_waits_for_its_nodes(tmp_path: Path) -> None:
    """Who runs it is told; where not all do, it is written all the same, and the exit code is 6."""
    (tmp_path / "proxy.yml").write_text(DOCUMENT)
    async with operated(tmp_path, "--heartbeat", "60") as (port, admin):  # the node below does not beat
        await admin.good("apply", "proxy.yml", "--yes")
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            node = NodeClient(channel, "pod/0")
            await node.connect()
            await node.accept()
            writing = asyncio.create_task(admin("routes", "set", "users", "timeout=5s", "--wait", "20"))
            delta = await node.delta()
            await node.ack(delta.nonce, delta.revision)
            code, output, errors = await writing
            assert (code, errors) == (0, "")
            assert "1 of 1 nodes run it" in output
            writing = asyncio.create_task(admin("routes", "set", "users", "timeout=6s", "--wait", "20"))
            delta = await node.delta()
            await node.nack(delta.nonce, delta.revision, 2)
            code, output, errors = await writing
            assert (code, "0 of 1 nodes" in output) == (6, True)
            assert "pod/0: refused without a reason" in errors


async def test_a_rollout_is_begun_steered_and_followed(tmp_path: Path) -> None:
    """The plan first; a rollout is shown, held and promoted; one that is aborted is exit code 6 for who follows it."""
    (tmp_path / "proxy.yml").write_text(DOCUMENT)
    async with operated(tmp_path, "--heartbeat", "60") as (port, admin):  # the node below does not beat
        await admin.good("apply", "proxy.yml", "--yes")
        (tmp_path / "next.yml").write_text(DOCUMENT.replace("8080", "9090"))
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            node = NodeClient(channel, "pod/0")
            await node.connect()
            await node.accept()
            begin = ("rollout", "start", "next.yml", "--wave", "100%", "--bake", "1h", "--yes", "-m", "moved")
            assert "~ upstream users" in await admin.good(*begin, "--dry-run")
            assert "running, wave 1 of 1" in await admin.good(*begin, "--gate", "errorRateFactor=3")
            assert "moved" in await admin.good("rollout", "list")
            code, _, errors = await admin("routes", "set", "users", "timeout=5s")
            assert (code, "rollout" in errors) == (5, True)
            assert "paused" in await admin.good("rollout", "pause", "1")
            assert "running" in await admin.good("rollout", "resume", "1")
            following = asyncio.create_task(admin("rollout", "show", "1", "--follow"))
            assert "is taken back" in await admin.good("rollout", "abort", "1")
            code, output, errors = await following
            assert (code, "rollout 1" in errors) == (6, True), output
        assert (await admin("rollout", "show", "9"))[0] == 1
        assert (await admin("rollout", "start", "next.yml", "--wave", "half", "--yes"))[0] == 2


async def test_the_audit_log_is_searched_and_verified(admin: Operator) -> None:
    """Who did what; the chain is whole; a hash that is kept elsewhere is found, a made-up one is not."""
    await admin.good("apply", "proxy.yml", "--yes")
    assert "apply" in await admin.good("audit", "list", "--action", "config.apply")
    verified = json.loads(await admin.good("audit", "verify", "-o", "json"))
    assert verified["valid"]
    await admin.good("tokens", "create", "ci")
    await admin.good("audit", "verify", "--hash", verified["hash"])
    code, _, errors = await admin("audit", "verify", "--hash", "0" * 64)
    assert (code, "rewritten" in errors) == (1, True)
    lines = (await admin.good("audit", "export")).splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, len(lines) + 1))


async def test_a_backup_is_brought_back_while_the_control_plane_runs(admin: Operator, tmp_path: Path) -> None:
    """A backup is one file for its owner; a restore brings its configuration back as a new revision."""
    await admin.good("apply", "proxy.yml", "--yes")
    state = ("--state-dir", str(tmp_path / "state"))
    assert (await flexgate(tmp_path, "backup", "backup.db", *state))[0] == 0
    await admin.good("upstreams", "set", "users", "url=http://users:9090")
    code, _, errors = await flexgate(tmp_path, "restore", "backup.db", *state)
    assert (code, "--yes" in errors) == (2, True)
    code, output, errors = await flexgate(tmp_path, "restore", "backup.db", *state, "--yes")
    assert (code, errors, "new epoch" in output) == (0, "", True)
    # The running control plane finds another's write within a second.
    await eventually(lambda: admin.good("export"), lambda exported: "http://users:8080" in exported)
    code, _, errors = await flexgate(tmp_path, "restore", "proxy.yml", *state, "--yes")
    assert (code, "cannot restore from proxy.yml" in errors) == (1, True)
    assert (await flexgate(tmp_path, "backup", "b.db", "--state-dir", str(tmp_path / "none")))[0] == 1
    assert "new epoch" in (await flexgate(tmp_path, "restore", "--new-epoch", *state))[1]
    assert (await flexgate(tmp_path, "restore", *state, "--yes"))[0] == 2


async def test_over_a_file_writes_say_where_to_edit(tmp_path: Path) -> None:
    """Where a file is the truth the API names it; exit code 5."""
    (tmp_path / "proxy.yml").write_text(DOCUMENT)
    async with operated(tmp_path, "--config", str(tmp_path / "proxy.yml")) as (_, admin):
        code, _, errors = await admin("routes", "set", "users", "timeout=5s")
        assert (code, "proxy.yml; edit it" in errors) == (5, True)
