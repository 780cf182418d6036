"""Flags and variables of the control plane; what makes no sense is one line and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.listener import plaintext_warnings
from controlplane.settings import OPTIONS, Settings, parse
from controlplane.store.pruning import Keep

CONFIG = ("--config", "proxy.yml")


def test_defaults() -> None:
    """Nothing is needed: the database is a file then; both ports are for this machine alone."""
    assert parse((), {}).database_url == "sqlite:///.flexgate/control-plane/flexgate.db"
    assert parse(("--database", "postgresql://h/n"), {}).database_url == "postgresql://h/n"
    assert parse(CONFIG, {}) == Settings(Path("proxy.yml"))
    assert parse(CONFIG, {}).host == "127.0.0.1"


def test_a_flag_wins_over_its_variable() -> None:
    """Variables count where no flag is given; an empty one counts as not set."""
    environ = {
        "FLEXGATE_CONFIG": "a.yml",
        "FLEXGATE_CP_PORT": "1",
        "FLEXGATE_CP_GRPC_PORT": "",
        "FLEXGATE_NODE_TOKEN": "t",
    }
    settings = parse(("--port", "2"), environ)
    assert (settings.config, settings.port, settings.grpc_port) == (Path("a.yml"), 2, 50051)
    assert settings.node_token == "t"
    assert "'t'" not in repr(settings)


def test_how_long_history_is_kept() -> None:
    """In hours or days, or for ever; by default long enough for a yearly audit."""
    assert parse((), {}).keep == Keep(1000, 90 * 86_400.0, 400 * 86_400.0)
    flags = ("--keep-revisions", "5", "--keep-revisions-for", "36h", "--keep-audit-for", "forever")
    assert parse(flags, {}).keep == Keep(5, 36 * 3600.0, float("inf"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.example"])
def test_tokens_are_needed_where_others_can_reach(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address beyond loopback is refused without a node token; a first admin token is made where none is given."""
    for tokens in ((), ("--admin-token", "a")):
        with pytest.raises(SystemExit) as stopped:
            parse((*CONFIG, "--host", host, *tokens), {})
        assert stopped.value.code == 2
        assert "can be reached from elsewhere" in capsys.readouterr().err
    assert parse((*CONFIG, "--host", host, "--node-token", "n"), {}).host == host


@pytest.mark.parametrize(
    ("flags", "warned"),
    [
        ((), ["gRPC", "REST"]),
        (("--grpc-tls", "on"), ["REST"]),
        (("--rest-cert", "a", "--rest-key", "b"), ["gRPC"]),
        (("--public-url", "https://gateway.example"), ["gRPC"]),
        (("--public-url", "http://gateway.example"), ["gRPC", "REST"]),
        (("--host", "127.0.0.1"), []),
    ],
)
def test_plain_text_that_others_can_read_is_warned_of(flags: tuple[str, ...], warned: list[str]) -> None:
    """A port that others can reach without TLS has its warning; https in front of the REST port is enough."""
    settings = parse((*CONFIG, "--host", "0.0.0.0", "--node-token", "n", *flags), {})
    warnings = list(plaintext_warnings(settings))
    assert [port for port in ("gRPC", "REST") if any(f"the {port} port" in text for text in warnings)] == warned
    assert len(warnings) == len(warned)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    """What only this machine can reach works out of the box."""
    assert parse((*CONFIG, "--host", host), {}).host == host


@pytest.mark.parametrize(
    ("argv", "environ", "message"),
    [
        ((*CONFIG, "--port", "65536"), {}, "--port: '65536' is not a port"),
        (CONFIG, {"FLEXGATE_CP_PORT": "x"}, "FLEXGATE_CP_PORT: 'x' is not a port"),
        ((*CONFIG, "--heartbeat", "0"), {}, "--heartbeat: '0' is not a number of seconds"),
        ((*CONFIG, "--log-level", "loud"), {}, "--log-level: 'loud' is not one of"),
        ((*CONFIG, "--grpc-cert", "a"), {}, "go together"),
        ((*CONFIG, "--keep-revisions", "0"), {}, "--keep-revisions: '0' is not a number from 1"),
        ((*CONFIG, "--keep-revisions-for", "1w"), {}, "--keep-revisions-for: '1w' is no time to keep something"),
        ((*CONFIG, "--keep-audit-for", "0d"), {}, "--keep-audit-for: '0d' is no time to keep something"),
        ((*CONFIG, "--rest-key", "a"), {}, "--rest-cert and --rest-key go together"),
        (
            (*CONFIG, "--rest-cert", "a", "--rest-key", "b", "--public-url", "http://a.example"),
            {},
            "the REST port speaks TLS",
        ),
        ((*CONFIG, "--grpc-client-ca", "a"), {}, "needs TLS"),
        ((*CONFIG, "--port", "5", "--grpc-port", "5"), {}, "both 5"),
        ((*CONFIG, "--prot", "5"), {}, "--prot"),
        ((*CONFIG, "--public-url", "flexgate.example"), {}, "--public-url: 'flexgate.example' is not a URL"),
        ((*CONFIG, "--public-url", "https://a.example/api"), {}, "has a path"),
        ((*CONFIG, "--api-rate-limit", "-1"), {}, "--api-rate-limit: '-1' is not a number"),
        ((*CONFIG, "--trusted-proxies", "10.0.0.1/8"), {}, "--trusted-proxies: 10.0.0.1/8 has host bits"),
        ((*CONFIG, "--oidc-issuer", "http://login.example"), {}, "only a provider on this machine"),
        ((*CONFIG, "--oidc-issuer", "https://login.example"), {}, "needs --oidc-client-id"),
        ((*CONFIG, "--oidc-roles", "platform=root"), {}, "--oidc-roles: 'platform=root' is not VALUE=ROLE"),
    ],
)
def test_nonsense_is_one_line(
    argv: tuple[str, ...], environ: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each names the flag or the variable, and what would be right."""
    with pytest.raises(SystemExit) as stopped:
        parse(argv, environ)
    text = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in text
    assert text.count("\n") == 1


def test_every_setting_has_an_option() -> None:
    """No setting that cannot be given, no option that goes nowhere."""
    assert {option.field for option in OPTIONS} == set(Settings.__slots__)
