"""What the command line makes of words and answers, and what it costs to start."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.cli.api import detail_line, path_of
from controlplane.cli.contexts import Context, Contexts, Login, changing, place, read
from controlplane.cli.failure import Code, Failure
from controlplane.cli.fields import assigned, document, pairs
from controlplane.cli.node_rows import reason
from controlplane.cli.node_rows import shown as shown_nodes
from controlplane.cli.plan import DONE, counted, planned, value
from controlplane.cli.reaching import is_url
from controlplane.cli.screen import Output, Screen, clock, table
from controlplane.cli.table import COMMANDS
from controlplane.cli.target import api

HEAVY = {"rich", "sqlalchemy", "grpc", "aiohttp", "google", "yaml", "urllib.request"}


def test_help_imports_nothing_heavy() -> None:
    """`flexgate --help` and completion load neither the control plane nor a table: they stay fast."""
    code = "import sys, controlplane.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_fields_are_typed_as_they_are_meant() -> None:
    """Dots make objects; numbers, booleans, null, lists and objects are what they look like, all else is text."""
    words = [
        "a.b=1",
        "a.c=true",
        "list=[GET, 'x y']",
        "object={x: 1}",
        "gone=null",
        "text=a: b",
        "path=/x/*",
        "n='\"7\"'",
    ]
    assert assigned(words) == {
        "a": {"b": 1, "c": True},
        "list": ["GET", "x y"],
        "object": {"x": 1},
        "gone": None,
        "text": "a: b",
        "path": "/x/*",
        "n": "'\"7\"'"[1:-1],
    }


@pytest.mark.parametrize("word", ["novalue", "=1", "a=1 a.b=2", "list=[1"])
def test_what_is_no_field_is_told(word: str) -> None:
    """A word without a name, one inside another's value, a list without an end."""
    with pytest.raises(Failure):
        assigned(word.split())


def test_a_file_must_be_an_object(tmp_path: Path) -> None:
    """A list, broken YAML, a missing file, bytes that are no text: each is one line."""
    for content in (b"[1]", b"a: [", b"\xff"):
        file = tmp_path / "resource.yml"
        file.write_bytes(content)
        with pytest.raises(Failure, match=r"resource\.yml"):
            document(file)
    with pytest.raises(Failure, match="No such file"):
        document(tmp_path / "none.yml")
    with pytest.raises(Failure, match="NAME=VALUE"):
        pairs(["x"], "--label")


def shown(output: Output, data: object, told: list[Any]) -> str:
    """What a screen that is no terminal says."""
    file = io.StringIO()
    Screen(output, file).show(data, lambda: told)
    return file.getvalue()


def test_programs_get_the_data_and_people_a_table() -> None:
    """JSON and YAML are what the API said; a table has no colour codes and takes names as they are."""
    data = [{"name": "[red]x[/red]", "number": 1}]
    assert json.loads(shown(Output.json, data, [])) == data
    assert yaml.safe_load(shown(Output.yaml, data, [])) == data
    text = shown(Output.table, data, [table(("NAME", "N"), [["[red]x[/red]", "1"]])])
    assert text.split() == ["NAME", "N", "[red]x[/red]", "1"]
    assert "\x1b" not in text


def test_a_plan_tells_each_change_and_what_holds_it_back() -> None:
    """A line for each resource and field, a sum, the warnings, the guard, and what nodes said."""
    plan = {
        "revision": 4,
        "changes": [
            {"kind": "route", "name": "a", "action": "create", "fields": []},
            {"kind": "settings", "name": "default", "action": "update", "fields": [
                {"path": "proxy.port", "before": None, "after": 1}]},
        ],
        "warnings": [{"path": "routes[0]", "message": "never serves", "kind": "route", "name": "a"}],
        "nodeGroups": ["edge"],
        "nodes": ["n/0"],
        "needsForce": "6 of 7 routes",
        "verdicts": [{"node": "n/0", "accepted": True, "compileMs": 2.4}, {"node": "n/1", "reason": "it is silent"}],
    }  # fmt: skip
    assert [str(part) for part in planned(plan)] == [
        "+ route a",
        "~ settings",
        "    proxy.port: - -> 1",
        "",
        "1 to create, 1 to change, on top of revision 4; concerns 1 connected node of the groups edge",
        "warning: route a: routes[0]: never serves",
        "held back: 6 of 7 routes",
        "n/0: would serve it (compiled in 2 ms)",
        "n/1: it is silent",
    ]
    assert [str(part) for part in planned({"changes": [], "warnings": []})] == ["nothing would change"]
    assert counted([]) == ""
    assert len(value("x" * 500)) == 80


def test_details_name_the_place() -> None:
    """A fault of a file has its line; one of a resource its kind and name."""
    fault = {"kind": "route", "name": "a", "path": "routes[0].path", "message": "is wrong", "line": 7}
    assert detail_line(fault, "proxy.yml") == "proxy.yml:7: routes[0].path: is wrong"
    assert detail_line({**fault, "line": 0}) == "route a: routes[0].path: is wrong"
    assert path_of("routes", "/users/*") == "/api/routes/%2Fusers%2F%2A"


def test_why_a_node_is_behind() -> None:
    """Each state has its reason; a current node has none."""
    node = {"state": "current", "sentRevision": 3, "nackedRevision": 4, "connectedSeconds": 70.0, "errors": []}
    node |= {"desiredRevision": 4}
    assert reason(node) == ""
    assert reason(node | {"state": "applying"}) == "revision 3 sent, no answer yet"
    assert reason(node | {"state": "applying", "desiredRevision": 0}) == "there is no configuration to send yet"
    assert reason(node | {"state": "disconnected"}) == "gone for 1m"
    error = {"kind": "route", "name": "a", "path": "path", "message": "is wrong"}
    assert reason(node | {"state": "nacked", "errors": [error]}) == "refused revision 4: route a: path: is wrong"


def test_times_are_short() -> None:
    """Seconds are enough; none is a dash."""
    assert clock("2026-01-31T12:00:00.123Z") == "2026-01-31 12:00:00"
    assert clock("") == clock(None) == "-"


def test_contexts_survive_and_are_for_their_owner_alone(tmp_path: Path) -> None:
    """What is written is read again; a file that somebody broke is told, not overwritten."""
    file = place({"XDG_CONFIG_HOME": str(tmp_path)})
    with changing(file) as contexts:
        contexts.known["a"] = Context("http://a", "secret")
        contexts.known["b"] = Context("http://b", login=Login("ada", "access", "refresh", 1.0))
        contexts.current = "b"
    assert file.stat().st_mode & 0o777 == 0o600
    assert read(file) == Contexts("b", {"a": Context("http://a", "secret"), "b": contexts.known["b"]})
    assert "secret" not in repr(read(file))
    file.write_text("{")
    with pytest.raises(Failure, match="mend it"):
        read(file)


@pytest.mark.parametrize(
    ("url", "context", "reached", "token"),
    [
        ("", "", "http://b", "B"),
        ("", "a", "http://a", "A"),
        ("http://a/", "a", "http://a", "A"),
        ("http://elsewhere", "a", "http://elsewhere", ""),
        ("http://b", "", "http://b", ""),
    ],
)
def test_a_token_goes_only_where_it_belongs(tmp_path: Path, url: str, context: str, reached: str, token: str) -> None:
    """The named context, else the current one; another address than the context's gets none of its token."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    with changing(place(environ)) as contexts:
        contexts.known |= {"a": Context("http://a", "A"), "b": Context("http://b", "B")}
        contexts.current = "b"
    found = api(url, "", context, environ=environ)
    assert (found.url, found.bearer) == (reached, token)


def test_an_unknown_context_is_bad_usage(tmp_path: Path) -> None:
    """It names those that there are."""
    with pytest.raises(Failure, match="none yet") as failure:
        api("", "", "prod", environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert failure.value.code == Code.USAGE


def test_what_is_a_url() -> None:
    """http or https, a host, and a port that is one; anything else is typed wrongly."""
    good = ("http://127.0.0.1:8080", "https://gateway.example.com", "http://[::1]:8080/")
    bad = ("", "gateway", "ftp://x", "http://", "http://x:port", "http://x:99999", "http://[::1", "http:///x")
    assert [is_url(text) for text in good] == [True] * len(good)
    assert [is_url(text) for text in bad] == [False] * len(bad)


def test_nobody_in_a_state_is_not_nobody_at_all() -> None:
    """An empty list says whether it was filtered."""
    assert shown_nodes([]) == ["no data plane has connected yet"]
    assert shown_nodes([], "nacked") == ["no data plane is nacked"]


def test_what_was_done_is_not_what_is_to_be_done() -> None:
    """A plan is to create; an answer has created."""
    changes = [{"action": "create"}, {"action": "create"}, {"action": "delete"}]
    assert counted(changes) == "2 to create, 1 to delete"
    assert counted(changes, DONE) == "2 created, 1 deleted"


def test_the_overview_fits_a_terminal() -> None:
    """Every command's line is whole at 80 columns: two, the name, two, and what it says."""
    longest = max(map(len, COMMANDS))
    assert [entry.says for entry in COMMANDS.values() if 2 + longest + 2 + len(entry.says) > 78] == []


def test_a_line_stays_a_line() -> None:
    """However long it is: a command that is shown to be typed would break where it was cut."""
    told = io.StringIO()
    command = "flexgate-dataplane " + " ".join(f"--flag-{number} value" for number in range(40))
    Screen(file=told).tell([f"type this:\n  {command}"])
    assert told.getvalue() == f"type this:\n  {command}\n"
