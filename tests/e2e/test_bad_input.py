"""What users type wrongly, against the real programs: clear lines that say what and where, nothing half started."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

DEADLINE = 30.0
"""Seconds for a program to import everything and refuse, on a busy machine."""

FLEXGATE = "from controlplane.cli import main; main()"
DATA_PLANE = "from dataplane.__main__ import main; main()"
CONTROL_PLANE = "from controlplane.__main__ import main; main()"

GOOD = """\
upstreams:
  - {name: orders, url: "http://127.0.0.1:9"}
routes:
  - {path: /orders/*, upstream: orders}
"""
BAD = {
    "not YAML": (GOOD + "proxy: [\n", r"FILE:6: not valid YAML: .+"),
    "a tab": (GOOD + "proxy:\n\tport: 1\n", r"FILE:6: not valid YAML: .+"),
    "empty": ("", r"FILE.*: .+"),
    "unknown key": (GOOD + "proxi: {}\n", r"FILE:5: proxi: unknown key; did you mean proxy\?"),
    "missing upstream": (
        GOOD.replace("upstream: orders", "upstream: order"),
        r"FILE:4: routes\[0\]\.upstream: there is no upstream named 'order'; did you mean orders\?",
    ),
    "duplicate route": (
        GOOD + "  - {path: /orders/*, upstream: orders}\n",
        r"FILE:5: routes\[1\]: .*matches the same requests as routes\[0\].*",
    ),
    "duplicate key": (GOOD + "upstreams: []\n", r"FILE:5: upstreams: .+"),
    "wrong type": (GOOD + "proxy: {port: high}\n", r"FILE:5: proxy\.port: expected a whole number, got 'high'"),
    "no text": ("\udcff", r"FILE is not UTF-8 text: .+"),
    "no file": (None, r"cannot read FILE: no such file or directory"),
}
"""name: (content, the one line that tells of it, with FILE for the file)"""


@dataclass(frozen=True, slots=True)
class Said:
    """How a program ended."""

    code: int
    output: str
    errors: str


def run(program: str, directory: Path, *arguments: str) -> Said:
    """A program, in a directory, until it ends; a TimeoutExpired where it stays."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLEXGATE_", "XDG_"))}
    environment |= {"PYTHONPATH": str(Path.cwd()), "NO_COLOR": "1", "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return Said(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


@pytest.mark.parametrize(
    "program", [FLEXGATE, DATA_PLANE, CONTROL_PLANE], ids=["flexgate", "dataplane", "controlplane"]
)
@pytest.mark.parametrize("wrong", BAD)
def test_a_bad_configuration_is_one_line(tmp_path: Path, program: str, wrong: str) -> None:
    """Whoever reads it, the fault is told in the same words, with its line, and the exit code is 1."""
    content, expected = BAD[wrong]
    file = tmp_path / "proxy.yml"
    if content is not None:
        file.write_bytes(content.encode(errors="surrogateescape"))
    arguments = {
        FLEXGATE: ("validate", str(file)),
        DATA_PLANE: ("--config", str(file), "--port", "0", "--admin-port", "0"),
        CONTROL_PLANE: ("--config", str(file), "--port", "0", "--grpc-port", "0"),
    }[program]
    said = run(program, tmp_path, *arguments)
    assert (said.code, said.output) == (1, "")
    [line] = said.errors.splitlines()
    assert re.search(expected.replace("FILE", re.escape(str(file))) + "$", line), line


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """A document with three mistakes makes three lines, in the order of the file."""
    file = tmp_path / "proxy.yml"
    file.write_text(GOOD.replace("url:", "ulr:") + "proxy: {port: high}\nlogging: {levl: info}\n")
    lines = run(FLEXGATE, tmp_path, "validate", "proxy.yml").errors.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["upstreams[0].ulr", "proxy.port", "logging.levl"]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (DATA_PLANE, ("--config", "proxy.yml", "--host", "127.0.0.1", "--port", "TAKEN", "--admin-port", "0")),
        (DATA_PLANE, ("--config", "proxy.yml", "--host", "127.0.0.1", "--port", "0", "--admin-port", "TAKEN")),
        (DATA_PLANE, ("--config", "proxy.yml", "--host", "127.0.0.1", "--port", "TAKEN", "--workers", "2")),
        (CONTROL_PLANE, ("--config", "proxy.yml", "--port", "TAKEN", "--grpc-port", "0")),
        (CONTROL_PLANE, ("--config", "proxy.yml", "--port", "0", "--grpc-port", "TAKEN")),
    ],
)
def test_a_port_in_use_is_one_line(tmp_path: Path, taken: str, program: str, arguments: tuple[str, ...]) -> None:
    """The line names the address and what it was for; the exit code is 1."""
    (tmp_path / "proxy.yml").write_text(GOOD)
    said = run(program, tmp_path, *(taken if word == "TAKEN" else word for word in arguments))
    assert (said.code, said.output) == (1, "")
    last = said.errors.splitlines()[-1]
    assert re.search(rf"cannot listen on 127\.0\.0\.1:{taken} for .+", last), said.errors
    assert '"listening"' not in said.errors


@pytest.mark.parametrize(
    ("section", "named"),
    [
        (
            "proxy: {tls: {cert: none.pem, key: none.key}}\n",
            "proxy.tls: none.pem with its key none.key cannot be used: ",
        ),
        ("", "upstream orders: tls.ca: none.pem cannot be used: "),
    ],
)
def test_a_missing_certificate_is_one_line(tmp_path: Path, section: str, named: str) -> None:
    """It is looked for where the data plane runs, so the data plane tells: the file, and whose it is."""
    upstream = GOOD.replace('"http://127.0.0.1:9"', '"https://127.0.0.1:9", tls: {ca: none.pem}')
    (tmp_path / "proxy.yml").write_text(section + GOOD if section else upstream)
    said = run(DATA_PLANE, tmp_path, "--config", "proxy.yml", "--port", "0", "--admin-port", "0")
    assert (said.code, said.output) == (1, "")
    [line] = [line for line in said.errors.splitlines() if not line.startswith("{")]
    assert line.startswith(f"flexgate-dataplane: proxy.yml: {named}")


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (
            DATA_PLANE,
            ("--control-plane", "127.0.0.1:9", "--cache-dir", "file/cache", "--port", "0", "--admin-port", "0"),
        ),
        (CONTROL_PLANE, ("--config", "proxy.yml", "--state-dir", "file/state", "--port", "0", "--grpc-port", "0")),
        (FLEXGATE, ("start", "--config", "proxy.yml", "--run-dir", "file/run")),
        (FLEXGATE, ("init", "file/proxy.yml")),
    ],
)
def test_an_unusable_directory_is_one_line(tmp_path: Path, program: str, arguments: tuple[str, ...]) -> None:
    """Where something must be kept and cannot be, nothing starts."""
    (tmp_path / "proxy.yml").write_text(GOOD)
    (tmp_path / "file").write_text("not a directory")
    said = run(program, tmp_path, *arguments)
    assert (said.code, said.output) == (1, "")
    [line] = said.errors.splitlines()
    assert re.search(r"file(/\S+)? cannot be written|cannot write file/\S+", line), line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "proxy.yml"]


@pytest.mark.parametrize(
    ("program", "arguments", "named"),
    [
        (FLEXGATE, ("stat",), "status"),
        (FLEXGATE, ("status", "--bogus"), "--bogus"),
        (FLEXGATE, ("validate",), "file"),
        (FLEXGATE, ("start", "--port", "high"), "--port"),
        (FLEXGATE, ("nodes", "list", "--url", "nonsense"), "nonsense"),
        (DATA_PLANE, (), "--config"),
        (DATA_PLANE, ("--bogus",), "--bogus"),
        (DATA_PLANE, ("--config", "proxy.yml", "--port", "70000"), "--port"),
        (DATA_PLANE, ("--control-plane", "nowhere"), "--control-plane"),
        (CONTROL_PLANE, ("--bogus",), "--bogus"),
        (CONTROL_PLANE, ("--config", "proxy.yml", "--host", "0.0.0.0"), "token"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, program: str, arguments: tuple[str, ...], named: str) -> None:
    """One line that names the word at fault, exit code 2."""
    (tmp_path / "proxy.yml").write_text(GOOD)
    said = run(program, tmp_path, *arguments)
    assert (said.code, said.output) == (2, "")
    [line] = said.errors.splitlines()
    assert named in line
    assert [path.name for path in tmp_path.iterdir()] == ["proxy.yml"]


def test_a_control_plane_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """It names the address; the exit code is that of a control plane that cannot be reached."""
    said = run(FLEXGATE, tmp_path, "status", "--url", "http://127.0.0.1:1")
    assert (said.code, said.output) == (3, "")
    [line] = said.errors.splitlines()
    assert "http://127.0.0.1:1" in line
