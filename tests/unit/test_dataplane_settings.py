"""The data plane's settings: flags, variables, and one clear line for what is wrong."""

from __future__ import annotations

import dataclasses
import re
import socket
from pathlib import Path

import pytest

from dataplane.settings import AUTO, OPTIONS, Settings, StreamTls, parse
from dataplane.start_error import reason_of
from shared import __version__

ALONE = ("--config", "proxy.yml")
FOLLOW = ("--control-plane", "cp:50051")


def error_of(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], **environ: str) -> str:
    """The one line that parse prints before it exits with code 2."""
    with pytest.raises(SystemExit) as exit_:
        parse(argv, environ)
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("flexgate-dataplane: ")
    return line.removeprefix("flexgate-dataplane: ")


def test_what_is_not_given_is_left_to_the_configuration() -> None:
    """Ports, host and workers are None unless given, so that `proxy.*` can tell them."""
    settings = parse(ALONE, {})
    assert settings.config == Path("proxy.yml")
    assert (settings.host, settings.port, settings.admin_port, settings.workers, settings.log_level) == (None,) * 5
    assert (settings.admin_host, settings.trust_after, settings.report_interval) == ("127.0.0.1", 10.0, 5.0)


def test_every_flag_arrives() -> None:
    """Each flag sets its field."""
    argv = (
        *FOLLOW, "--node-id", "edge", "--label", "zone=a", "--label", "tier=web=1", "--host", "::", "--port", "0",
        "--admin-host", "0.0.0.0", "--admin-port", "9001", "--workers", "auto", "--cache-dir", "/c", "--seed", __file__,
        "--node-token", "t", "--control-plane-ca", __file__, "--control-plane-cert", __file__, "--control-plane-key",
        __file__, "--trust-after", "0", "--report-interval", "0.5", "--drain-delay", "3", "--log-level", "WARN",
        "--worker-index", "2", "--enrol-token", "e",
    )  # fmt: skip  # pairs read better than one word per line
    here = Path(__file__)
    assert parse(argv, {"FLEXGATE_CACHE_KEY": "ab" * 32}) == Settings(
        control_plane=("cp:50051",),
        node_id="edge/2",
        node_name="edge",
        labels={"zone": "a", "tier": "web=1"},
        host="::",
        port=0,
        admin_host="0.0.0.0",
        admin_port=9001,
        workers=AUTO,
        worker_index=2,
        cache_dir=Path("/c"),
        cache_key=bytes.fromhex("ab" * 32),
        seed=here,
        node_token="t",
        enrol_token="e",
        tls=StreamTls(here, here, here),
        trust_after=0.0,
        report_interval=0.5,
        drain_delay=3.0,
        log_level="warn",
    )


def test_every_field_can_be_set() -> None:
    """No field without an option: an option that is parsed and dropped would be a lie."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    options = {option.name.replace("-", "_") for option in OPTIONS}
    parts_of_tls = {"control_plane_ca", "control_plane_cert", "control_plane_key"}
    assert (options - parts_of_tls - {"label", "dns_server"}) | {"labels", "dns_servers", "tls"} == fields - {
        "node_name"  # of --node-id
    }


def test_a_flag_wins_over_its_variable() -> None:
    """Variables give what no flag gives."""
    environ = {"FLEXGATE_CONTROL_PLANE": "a:1, [::1]:2", "FLEXGATE_PORT": "81", "FLEXGATE_LABEL": "a=1,b=2"}
    settings = parse(("--port", "82"), environ)
    assert settings.control_plane == ("a:1", "[::1]:2")
    assert (settings.port, settings.labels) == (82, {"a": "1", "b": "2"})


def test_dns_servers_are_addresses() -> None:
    """Several may be given; a name would need a server to be found itself."""
    assert parse((*ALONE, "--dns-server", "10.0.0.2:53", "--dns-server", "[::1]:5353"), {}).dns_servers == (
        "10.0.0.2:53",
        "[::1]:5353",
    )
    assert parse(ALONE, {"FLEXGATE_DNS_SERVER": "10.0.0.2:53,10.0.0.3:53"}).dns_servers == (
        "10.0.0.2:53",
        "10.0.0.3:53",
    )
    with pytest.raises(SystemExit):
        parse((*ALONE, "--dns-server", "dns.internal:53"), {})


def test_a_source_by_flag_wins_over_another_by_variable() -> None:
    """`--config` runs alone even where the image sets a control plane, and the other way round."""
    assert parse(ALONE, {"FLEXGATE_CONTROL_PLANE": "cp:1"}).control_plane == ()
    assert parse(FOLLOW, {"FLEXGATE_CONFIG": "x.yml"}).config is None


def test_the_node_id_tells_processes_apart() -> None:
    """A node without a name is HOST/0 and keeps that id when it gets workers; a given name stands as it is."""
    host = socket.gethostname()
    assert parse(FOLLOW, {}).node_id == f"{host}/0"
    assert parse((*FOLLOW, "--worker-index", "1"), {}).node_id == f"{host}/1"
    assert parse((*FOLLOW, "--node-id", "n"), {}).node_id == "n"
    assert parse((*FOLLOW, "--node-id", "n", "--worker-index", "1"), {}).node_id == "n/1"


@pytest.mark.parametrize("text", ["sha256:" + "AB" * 32, ":".join(["ab"] * 32), "ab" * 32])
def test_fingerprints_as_tools_write_them(text: str) -> None:
    """With or without the name of the hash, with colons or without, in any case."""
    assert parse((*FOLLOW, "--ca-fingerprint", text), {}).ca_fingerprint == "ab" * 32


def test_enrolment_needs_someone_to_trust(capsys: pytest.CaptureFixture[str]) -> None:
    """A token is shown to nobody who could be anybody; and there is one word on whom to trust."""
    assert "needs --ca-fingerprint or --control-plane-ca" in error_of(capsys, (*FOLLOW, "--enrol-token", "t"))
    both = (*FOLLOW, "--control-plane-ca", __file__, "--ca-fingerprint", "ab" * 32)
    assert "keep one" in error_of(capsys, both)
    assert "no fingerprint" in error_of(capsys, (*FOLLOW, "--ca-fingerprint", "ab"))


def test_workers_share_neither_files_nor_admin_ports() -> None:
    """Worker I has its own folder and the admin port plus I; any free port stays any free port."""
    third = parse((*FOLLOW, "--worker-index", "3"), {})
    assert third.worker_dir == Path(".flexgate/cache/worker-3")
    assert third.admin_port_from(3001) == 3004
    assert dataclasses.replace(third, admin_port=9000).admin_port_from(3001) == 9003
    assert dataclasses.replace(third, admin_port=0).admin_port_from(3001) == 0


def test_the_cache_follows_the_xdg_convention() -> None:
    """Without --cache-dir, $XDG_STATE_HOME tells where state is kept."""
    assert parse(FOLLOW, {"XDG_STATE_HOME": "/state"}).cache_dir == Path("/state/flexgate")
    assert parse((*FOLLOW, "--cache-dir", "/c"), {"XDG_STATE_HOME": "/state"}).cache_dir == Path("/c")


def test_secrets_are_not_shown() -> None:
    """The settings end up in logs."""
    text = repr(parse(FOLLOW, {"FLEXGATE_NODE_TOKEN": "s3cret", "FLEXGATE_CACHE_KEY": "cd" * 32}))
    assert "s3cret" not in text
    assert "cd" * 4 not in text
    assert "\\xcd" not in text


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        ((), {}, "nothing was given"),
        ((*ALONE, *FOLLOW), {}, "not both"),
        ((), {"FLEXGATE_CONFIG": "a", "FLEXGATE_CONTROL_PLANE": "b:1"}, "not both"),
        ((*ALONE, "--port", "65536"), {}, "--port: '65536' is not a port"),
        ((*ALONE, "--port", "٣"), {}, "is not a port"),
        (ALONE, {"FLEXGATE_ADMIN_PORT": "x"}, "FLEXGATE_ADMIN_PORT: 'x' is not a port"),
        (("--control-plane", "cp"), {}, "'cp' is not HOST:PORT"),
        (("--control-plane", "cp:1,:2"), {}, "':2' is not HOST:PORT"),
        (("--control-plane", "::1:50051"), {}, "'::1:50051' is not HOST:PORT"),
        (("--control-plane", "cp:0"), {}, "'cp:0' is not HOST:PORT"),
        ((*ALONE, "--label", "zone"), {}, "'zone' is not NAME=VALUE"),
        ((*ALONE, "--workers", "0"), {}, "give 1 or more, or auto"),
        ((*ALONE, "--trust-after", "-1"), {}, "'-1' is not a number of seconds, 0 or more"),
        ((*ALONE, "--trust-after", "nan"), {}, "'nan' is not a number of seconds"),
        ((*ALONE, "--report-interval", "0"), {}, "'0' is not a number of seconds, 0.01 or more"),
        ((*ALONE, "--log-level", "loud"), {}, "'loud' is not one of debug, info, warn, error"),
        ((*ALONE, "--seed", "/not/there"), {}, "cannot read /not/there: No such file or directory"),
        ((*FOLLOW, "--control-plane-cert", __file__), {}, "go together"),
        ((*FOLLOW, "--control-plane-cert", __file__, "--control-plane-key", __file__), {}, "needs --control-plane-ca"),
        (FOLLOW, {"FLEXGATE_CACHE_KEY": "abc"}, "64 hex digits"),
        ((*ALONE, "--node-id", ""), {}, "'' is not a name"),
        ((*ALONE, "--prot", "1"), {}, "--prot"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], environ: dict[str, str], said: str
) -> None:
    """One line on stderr, exit code 2, no usage text."""
    assert said in error_of(capsys, argv, **environ)


def test_a_bad_key_is_not_repeated_in_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    """An error about a secret must not show it."""
    assert "hunter2" not in error_of(capsys, FOLLOW, FLEXGATE_CACHE_KEY="hunter2")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--help names every option that operators should know; --version says which this is."""
    with pytest.raises(SystemExit) as exit_:
        parse(("--help",), {})
    text = capsys.readouterr().out
    assert exit_.value.code == 0
    assert all((f"--{option.name} " in text) != option.hidden for option in OPTIONS if option.flag)
    with pytest.raises(SystemExit):
        parse(("--version",), {})
    assert capsys.readouterr().out == f"flexgate-dataplane {__version__}\n"


def test_every_option_is_documented() -> None:
    """The page of settings has each flag and each variable, and no flag that does not exist."""
    page = (Path(__file__).parents[2] / "docs" / "operations" / "data-plane-settings.md").read_text()
    shown = [option for option in OPTIONS if not option.hidden]
    assert all(f"`{option.variable}" in page for option in shown)
    flags = set(re.findall(r"^\| `--([a-z-]+)", page, re.MULTILINE))
    assert flags == {option.name for option in shown if option.flag}


def test_a_name_that_does_not_resolve_is_told_in_words() -> None:
    """The resolver's errors have numbers of their own."""
    assert reason_of(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == "Name or service not known"
    assert reason_of(OSError(98, "error while attempting to bind on address ('::', 80)")) == "Address already in use"
