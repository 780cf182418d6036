"""`flexgate` and a control plane whose REST port speaks TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_command_access import BOSS, PASSWORD, operated
from tests.support.certificate import Certificate
from tests.support.command import Operator, flexgate


async def test_the_command_line_speaks_https(tmp_path: Path) -> None:
    """With the authority by flag, variable or context, for tokens and for logins; without it, it says what to do."""
    server = Certificate(tmp_path, "server")
    files = ("--rest-cert", str(server.cert), "--rest-key", str(server.key))
    async with operated(tmp_path, *files) as (_, plain):
        admin = Operator(tmp_path, plain.url.replace("http:", "https:"), BOSS)
        code, _, errors = await admin("whoami")
        assert (code, "--ca-file" in errors) == (3, True), errors
        code, _, errors = await plain("whoami")
        assert (code, "write https://" in errors) == (3, True), errors
        assert "admin" in await admin.good("whoami", "--ca-file", "server.pem")
        assert "admin" in await admin.good("whoami", FLEXGATE_CA_FILE="server.pem")
        await admin.good("users", "create", "bob", "--ca-file", "server.pem", "--password-stdin", typed=PASSWORD + "\n")
        given = ("--url", admin.url, "--ca-file", "server.pem", "--password-stdin", "--context", "lab")
        code, _, errors = await flexgate(tmp_path, "login", "bob", *given, typed=PASSWORD + "\n")
        assert (code, errors) == (0, "")
        # The context keeps the file by its whole path, so it works from anywhere.
        (tmp_path / "elsewhere").mkdir()
        code, output, errors = await flexgate(
            tmp_path / "elsewhere", "whoami", XDG_CONFIG_HOME=str(tmp_path / ".config")
        )
        assert (code, "bob" in output) == (0, True), errors
        made = await flexgate(
            tmp_path, "context", "add", "prod", admin.url, "--ca-file", "server.pem", FLEXGATE_TOKEN=BOSS
        )
        assert made[0] == 0
        assert (await flexgate(tmp_path, "whoami", "--context", "prod"))[0] == 0


async def test_an_authority_that_is_none_is_bad_usage(tmp_path: Path) -> None:
    """One line that names the file, exit code 2; nothing is sent."""
    (tmp_path / "text.pem").write_text("no certificate")
    for file, reason in (("none.pem", "cannot read none.pem"), ("text.pem", "text.pem holds no PEM certificates")):
        code, output, errors = await flexgate(tmp_path, "whoami", "--url", "https://127.0.0.1:1", "--ca-file", file)
        assert (code, output) == (2, "")
        assert reason in errors


@pytest.mark.parametrize(("url", "warned"), [("http://192.0.2.1:1", True), ("http://127.0.0.1:1", False)])
async def test_a_token_in_plain_text_is_warned_of(tmp_path: Path, url: str, warned: bool) -> None:
    """Where it leaves this machine without TLS, whether it is kept in a context or used."""
    code, _, errors = await flexgate(tmp_path, "context", "add", "lab", url, FLEXGATE_TOKEN="secret")
    assert (code, "plain text" in errors) == (0, warned)
    assert "secret" not in errors
