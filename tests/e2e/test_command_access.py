"""`flexgate` and who may do what: tokens, users, logins, contexts, and the exit codes of those who may not."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.process import running
from tests.support.command import DEADLINE, Operator, flexgate, launch

BOSS = "the boss's token"
PASSWORD = "correct horse battery"


@asynccontextmanager
async def operated(directory: Path, *flags: str) -> AsyncIterator[tuple[int, Operator]]:
    """A control plane over a database, as a process of its own: its gRPC port, and its admin at a terminal."""
    given = ("--state-dir", str(directory / "state"), "--port", "0", "--grpc-port", "0", "--api-rate-limit", "0")
    async with running("controlplane", *given, "--admin-token", BOSS, *flags) as process:
        listening = await process.event("listening")
        yield listening["grpcPort"], Operator(directory, f"http://127.0.0.1:{listening['port']}", BOSS)


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Operator]:
    """The admin of a control plane over a database."""
    async with operated(tmp_path) as (_, operator):
        yield operator


async def test_tokens_open_what_their_role_may(admin: Operator) -> None:
    """A token's secret is shown once; it opens what its role may, the rest is exit code 4; revoked it opens nothing."""
    made = json.loads(await admin.good("tokens", "create", "ci", "--role", "viewer", "-o", "json"))
    secret = made["secret"]
    listed = await admin.good("tokens", "list")
    assert "ci" in listed
    assert secret not in listed
    viewer = Operator(admin.directory, admin.url, secret)
    assert "ci, viewer (token)" in await viewer.good("whoami")
    code, output, errors = await viewer("tokens", "list")
    assert (code, output) == (4, "")
    assert "403" in errors
    assert "another role" in errors
    await admin.good("tokens", "revoke", "ci")
    code, _, errors = await viewer("whoami")
    assert code == 4
    assert "flexgate login" in errors


async def test_every_fault_of_a_request_is_told_with_its_field(admin: Operator) -> None:
    """All that the API finds wrong is told, each with its field; exit code 1."""
    code, output, errors = await admin("tokens", "create", "ci", "--role", "king", "--expires-at", "soon")
    assert (code, output) == (1, "")
    assert "role: " in errors
    assert "expiresAt: " in errors


async def test_a_login_is_kept_and_renewed(admin: Operator, tmp_path: Path) -> None:
    """A login opens the control plane without a token, is renewed when it has expired, and ends with the logout."""
    await admin.good("users", "create", "ada", "--role", "operator", "--password-stdin", typed=PASSWORD + "\n")
    assert "ada" in await admin.good("users", "list")
    code, _, errors = await flexgate(tmp_path, "login", "ada", "--url", admin.url, "--password-stdin", typed="wrong\n")
    assert (code, "the name or the password is wrong" in errors) == (4, True)
    code, output, errors = await flexgate(
        tmp_path, "login", "ada", "--url", admin.url, "--password-stdin", typed=PASSWORD + "\n"
    )
    assert (code, errors) == (0, "")
    assert "as ada, operator" in output
    file = tmp_path / ".config/flexgate/contexts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (await flexgate(tmp_path, "whoami"))[1].startswith("ada, operator (user)")

    kept = json.loads(file.read_text())
    first = kept["contexts"]["default"]["login"]
    file.write_text(json.dumps(kept).replace(str(first["expires"]), "1.0"))
    assert (await flexgate(tmp_path, "whoami"))[0] == 0
    assert json.loads(file.read_text())["contexts"]["default"]["login"]["refresh"] != first["refresh"]

    assert "login of ada" in (await flexgate(tmp_path, "context", "list"))[1]
    assert (await flexgate(tmp_path, "logout"))[0] == 0
    assert (await flexgate(tmp_path, "whoami"))[0] == 4


async def test_users_are_changed_and_deleted(admin: Operator) -> None:
    """What is not given stays; a deletion asks, and without a terminal says so with exit code 2."""
    await admin.good("users", "create", "bob", "--email", "b@example.com", "--password-stdin", typed=PASSWORD + "\n")
    changed = json.loads(await admin.good("users", "set", "bob", "--role", "operator", "--disabled", "-o", "json"))
    assert (changed["role"], changed["disabled"], changed["email"]) == ("operator", True, "b@example.com")
    code, _, errors = await admin("users", "delete", "bob")
    assert (code, "--yes" in errors) == (2, True)
    await admin.good("users", "delete", "bob", "--yes")
    code, _, errors = await admin("users", "delete", "bob", "--yes")
    assert (code, "404" in errors) == (1, True)


async def test_contexts_choose_the_control_plane(admin: Operator, tmp_path: Path) -> None:
    """A context brings address and token; its token goes nowhere else; an unknown one is exit code 2."""
    good = ("context", "add", "here", admin.url)
    assert (await flexgate(tmp_path, *good, FLEXGATE_TOKEN=BOSS))[0] == 0
    assert (await flexgate(tmp_path, "context", "add", "away", "http://127.0.0.1:1"))[0] == 0
    assert (await flexgate(tmp_path, "whoami"))[0] == 0
    assert (await flexgate(tmp_path, "context", "use", "away"))[0] == 0
    assert (await flexgate(tmp_path, "whoami"))[0] == 3
    assert (await flexgate(tmp_path, "whoami", "--context", "here"))[0] == 0
    assert (await flexgate(tmp_path, "whoami", FLEXGATE_CONTEXT="here"))[0] == 0
    assert (
        await flexgate(tmp_path, "whoami", "--context", "here", "--url", admin.url.replace("127.0.0.1", "localhost"))
    )[0] == 4
    code, _, errors = await flexgate(tmp_path, "whoami", "--context", "nowhere")
    assert (code, "away, here" in errors) == (2, True)
    listed = json.loads((await flexgate(tmp_path, "context", "list", "-o", "json"))[1])
    assert [one["name"] for one in listed] == ["away", "here"]
    assert BOSS not in json.dumps(listed)
    assert (await flexgate(tmp_path, "context", "remove", "here"))[0] == 0
    assert (await flexgate(tmp_path, "whoami", "--context", "here"))[0] == 2


async def test_nodes_are_enrolled_and_revoked(tmp_path: Path) -> None:
    """A token is shown once with what to type on the node; it can be withdrawn; revoking needs a certificate."""
    async with operated(tmp_path, "--grpc-tls", "on") as (_, admin):
        made = await admin.good("nodes", "enrol", "edge/0", "--label", "zone=a")
        token = made.split()[1]
        assert f"FLEXGATE_ENROL_TOKEN={token} flexgate-dataplane" in made
        [listed] = json.loads(await admin.good("nodes", "enrolments", "-o", "json"))["enrolments"]
        assert (listed["node"], listed["labels"], listed["state"]) == ("edge/0", {"zone": "a"}, "unused")
        assert "withdrew" in await admin.good("nodes", "withdraw", listed["id"])
        assert json.loads(await admin.good("nodes", "enrolments", "-o", "json"))["enrolments"] == []
        assert "sha256:" in await admin.good("nodes", "authority", "--out", str(tmp_path / "ca.pem"))
        assert (tmp_path / "ca.pem").read_text().startswith("-----BEGIN CERTIFICATE")
        assert "SERIAL" in await admin.good("nodes", "certificates")
        code, _, errors = await admin("nodes", "revoke", "edge/0", "--yes")
        assert (code, "no good certificate" in errors) == (1, True)
        code, _, errors = await admin("nodes", "enrol", "--label", "zone")
        assert (code, "NAME=VALUE" in errors) == (2, True)


@pytest.mark.parametrize("typed", [["nonsense"], ["tokens", "list", "--nonsense"], ["whoami", "-o", "xml"]])
async def test_what_is_typed_wrongly_is_one_line(tmp_path: Path, typed: list[str]) -> None:
    """Exit code 2, and never a traceback."""
    code, _, errors = await flexgate(tmp_path, *typed)
    assert code == 2
    assert len(errors.splitlines()) <= 1


async def test_ctrl_c_ends_a_watch(admin: Operator) -> None:
    """Exit code 130 and no word more; without a terminal each look follows the one before."""
    words = ("nodes", "list", "--watch")
    process = await launch(admin.directory, *words, FLEXGATE_URL=admin.url, FLEXGATE_TOKEN=admin.token)
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        assert b"no data plane" in await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"")


async def test_completion_and_version_work_without_anything(tmp_path: Path) -> None:
    """A completion script for each shell, and what a shell asks; the version."""
    for shell in ("bash", "zsh", "fish"):
        code, output, _ = await flexgate(tmp_path, "completion", shell)
        assert (code, "_FLEXGATE_COMPLETE" in output) == (0, True)
    asked = {"_FLEXGATE_COMPLETE": "complete_bash", "COMP_WORDS": "flexgate tokens ", "COMP_CWORD": "2"}
    assert (await flexgate(tmp_path, **asked))[1].split() == ["list", "create", "revoke"]
    assert (await flexgate(tmp_path, "--version"))[1].startswith("flexgate ")
