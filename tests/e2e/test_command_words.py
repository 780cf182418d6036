"""`flexgate` typed as people and scripts type it: help where a command is missing, words that fit, output to parse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.test_command_access import operated
from tests.support.command import Operator, flexgate

DOCUMENT = """
upstreams: [{name: users, url: "http://users:8080"}]
routes: [{name: users, path: /users/*, upstream: users}]
"""


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Operator]:
    """The admin of a control plane over an empty database, with a document to apply."""
    (tmp_path / "proxy.yml").write_text(DOCUMENT)
    async with operated(tmp_path) as (_, operator):
        yield operator


@pytest.mark.parametrize("family", ["", "routes", "nodes", "context"])
async def test_a_family_alone_shows_its_help(tmp_path: Path, family: str) -> None:
    """Line by line as --help does, on stderr and with exit code 2: nothing was done."""
    words = family.split()
    code, output, errors = await flexgate(tmp_path, *words)
    assert (code, output) == (2, "")
    assert errors == (await flexgate(tmp_path, *words, "--help"))[1]


async def test_a_token_that_cannot_be_one_is_never_shown(tmp_path: Path) -> None:
    """The end of a line that was read along is dropped; anything else that no header carries is exit code 4."""
    async with operated(tmp_path) as (_, admin):
        assert "admin" in await admin.good("whoami", FLEXGATE_TOKEN=f"{admin.token}\n")
        code, output, errors = await admin("whoami", FLEXGATE_TOKEN="sec\nret")
        assert (code, output, "ret" in errors) == (4, "", False)


async def test_names_are_shown_in_any_locale(admin: Operator) -> None:
    """Letters beyond ASCII are written as UTF-8, also where LC_ALL knows none."""
    await admin.good("apply", "proxy.yml", "--yes")
    await admin.good("routes", "set", "users", "metadata.owner='Zoë'")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "Zoë" in await admin.good("routes", "get", "users", **plain)


async def test_what_a_script_reads_has_one_shape(admin: Operator) -> None:
    """A write that changes nothing answers as any other does; validate tells faults as data; both in YAML, too."""
    first = json.loads(await admin.good("apply", "proxy.yml", "--yes", "-o", "json"))
    again = yaml.safe_load(await admin.good("apply", "proxy.yml", "--yes", "-o", "yaml"))
    back = json.loads(await admin.good("rollback", "1", "--yes", "-o", "json"))
    assert (first["revision"], len(first["changes"])) == (1, 3)
    assert again == back == {"revision": 1, "changes": []}
    assert json.loads(await admin.good("validate", "proxy.yml", "-o", "json"))["valid"]
    (admin.directory / "bad.yml").write_text("routes: {}\n")
    code, output, errors = await admin("validate", "bad.yml", "-o", "json")
    [fault] = json.loads(output)["errors"]
    assert (code, errors, fault["path"], fault["line"]) == (1, "", "routes", 1)


async def test_a_wrong_word_is_told_before_anything_is_asked(admin: Operator) -> None:
    """A state, a way to commit or a revision that there cannot be: exit code 2, with what there is."""
    for words, told in (
        (("nodes", "list", "--state", "gone"), "disconnected"),
        (("revisions", "list", "--action", "edit"), "rollback"),
        (("rollback", "0", "--yes"), "greater than or equal to 1"),
        (("status", "--url", "http://host:port"), "is no URL"),
    ):
        code, output, errors = await admin(*words)
        assert (code, output, told in errors) == (2, "", True), (words, errors)
    assert "no data plane is nacked" in await admin.good("nodes", "list", "--state", "nacked")


async def test_a_wrong_password_asks_for_no_token(admin: Operator) -> None:
    """What is wrong is the name or the password, and that alone is said; exit code 4."""
    code, _, errors = await admin("login", "ada", "--password-stdin", typed="wrong\n", FLEXGATE_TOKEN="")
    assert (code, "the name or the password is wrong" in errors, "FLEXGATE_TOKEN" in errors) == (4, True, False)
