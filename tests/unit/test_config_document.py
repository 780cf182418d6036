"""Documents as a whole: what loads, what operators are told, what is written back."""

from __future__ import annotations

from pathlib import Path

import pytest

import controlplane
from shared.document import Document, read, read_file, write
from shared.faults import ConfigError, Fault

SMALLEST = """
upstreams:
  - {name: "backend", url: "http://localhost:8080"}
routes:
  - {path: "/*", upstream: "backend"}
"""
LARGER = """
version: "1.0.0"
proxy: {host: "0.0.0.0", port: 3000, timeout: 30000, maxBodySize: "10mb"}
security:
  allowedHosts: ["api.example.com", "*.internal.corp"]
  blockedIPs: ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "10.0.0.0/8"]
  auth:
    type: "apiKey"
    header: "X-API-Key"
    keys: [{key: "<sha256 hex of the key>", name: "Client A"}]
rateLimit:
  backend: "redis"
  redis: {url: "redis://localhost:6379"}
  global: {max: 1000, windowMs: 60000}
  perRoute: [{path: "/api/expensive/*", max: 10, windowMs: 60000, message: "This endpoint is heavily rate limited"}]
upstreams:
  - name: "primary-api"
    url: "https://api.primary.com"
    timeout: 5000
    retries: 3
    circuitBreaker: {enabled: true, failureThreshold: 50, openDuration: 30000}
  - {name: "fallback-api", url: "https://api.fallback.com", timeout: 10000}
routes:
  - {path: "/api/users/*", upstream: "primary-api", auth: required, rateLimit: {max: 100, windowMs: 60000}}
  - {path: "/api/batch/*", upstream: "primary-api", auth: required, timeout: 120000, rateLimit: {max: 10, windowMs: 60000}}
logging: {level: "info", format: "json", sampling: {successRate: 0.1, errorRate: 1.0}}
"""  # noqa: E501  # verbatim


def faults(text: str) -> list[Fault]:
    """The faults that a text is refused with."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.faults


def test_the_smallest_example_of_the_contract_loads() -> None:
    """One upstream and one route are a configuration, without a warning."""
    document = read(SMALLEST)
    assert document.warnings == []
    [route] = document.config.routes
    assert (route.name, route.path, route.upstream) == ("/*", "/*", "backend")


def test_the_larger_example_of_the_contract_loads() -> None:
    """It loads verbatim, in canonical units."""
    config = read(LARGER).config
    assert config.version == "1.0.0"
    assert config.settings.proxy.timeout.request == 30_000
    assert config.settings.proxy.max_body_size == 10 * 1024 * 1024
    assert config.upstreams[0].circuit_breaker.failure_threshold == 50
    assert [(route.name, route.auth.mode) for route in config.routes] == [
        ("/api/users/*", "required"),
        ("/api/batch/*", "required"),
    ]
    assert config.routes[1].timeout.request == 120_000


def test_the_larger_example_warns_of_what_it_does_not_get() -> None:
    """Each thing that is accepted and not done is named with its line: the placeholder key, hosts."""
    warned = {(fault.line, fault.path, fault.code) for fault in read(LARGER).warnings}
    assert warned == {
        (10, "security.auth.keys[0].key", "placeholder"),
        (18, "upstreams[0].url", "not_allowed"),
        (22, "upstreams[1].url", "not_allowed"),
    }


def warned(endpoints: str, rules: str) -> list[tuple[str, str]]:
    """(path, code) of the warnings about an upstream."""
    text = f"upstreams:\n  - {{name: a, endpoints: [{endpoints}], {rules}}}\nroutes:\n  - {{path: /x, upstream: a}}\n"
    return [(fault.path, fault.code) for fault in read(text).warnings]


@pytest.mark.parametrize(
    ("endpoints", "percent", "never"),
    [
        ("'http://10.0.0.1', 'http://10.0.0.2'", 49, True),
        ("'http://10.0.0.1', 'http://10.0.0.2'", 50, False),
        ("'http://10.0.0.1', 'http://10.0.0.2', 'http://[::1]'", 33, True),
        ("'http://10.0.0.1', 'http://10.0.0.2', 'http://[::1]'", 34, False),
        ("'http://10.0.0.1'", 1, False),
        ("'http://10.0.0.1', 'http://b'", 1, False),
    ],
)
def test_a_share_that_ejects_nobody_is_told(endpoints: str, percent: int, never: bool) -> None:
    """It is rounded down. Where names decide the number is not known."""
    found = warned(endpoints, f"passiveHealth: {{maxEjectedPercent: {percent}}}")
    assert found == [("upstreams[0].passiveHealth.maxEjectedPercent", "no_effect")] * never
    assert warned(endpoints, f"passiveHealth: {{enabled: false, maxEjectedPercent: {percent}}}") == []


def test_a_slow_start_that_has_no_effect_is_told() -> None:
    """With consistent-hash a key has its endpoint from the first moment."""
    rules = "loadBalancer: {policy: %s, slowStart: 5s}"
    hashed = warned("'http://10.0.0.1'", rules % "consistent-hash, on: ip")
    assert hashed == [("upstreams[0].loadBalancer.slowStart", "no_effect")]
    assert warned("'http://10.0.0.1'", rules % "random") == []


def test_a_placeholder_key_authenticates_nobody() -> None:
    """What the documentation prints in angle brackets never reaches a data plane as a key."""
    assert list(read(LARGER).config.settings.security.auth.keys) == []


def test_the_starter_has_no_faults_and_no_warnings() -> None:
    """What `flexgate init` writes works as it is, against the demo upstream."""
    document = read_file(Path(controlplane.__file__).with_name("starter.yml"))
    assert document.warnings == []
    assert [upstream.url for upstream in document.config.upstreams] == ["http://127.0.0.1:9000"]


def test_all_faults_come_at_once_in_the_order_of_lines() -> None:
    """Syntax of values, unknown keys, references and ranges are told together, so one edit can mend them all."""
    found = faults(
        "proxy: {port: 70000}\n"
        "upstreams:\n"
        "  - {name: a, url: 'ftp://x'}\n"
        "routes:\n"
        "  - {path: /x, upstream: a, ratelimit: {max: 5}}\n"
        "  - {path: y, upstream: a, timeout: soon}\n"
    )
    assert [(fault.line, fault.path) for fault in found] == [
        (1, "proxy.port"),
        (3, "upstreams[0].url"),
        (5, "routes[0].ratelimit"),
        (6, "routes[1].timeout"),
        (6, "routes[1].path"),
    ]
    assert str(found[2]) == "line 5: routes[0].ratelimit: unknown key; did you mean rateLimit?"


def test_a_fault_names_its_resource() -> None:
    """Kind and name tell programs which resource a fault belongs to."""
    [fault] = faults("upstreams: [{name: a, url: 'http://x', http2: maybe}]\n")
    assert (fault.kind, fault.name) == ("upstream", "a")
    [fault] = faults("proxy: {port: -1}\n")
    assert (fault.kind, fault.name) == ("settings", "default")


def test_a_fault_has_the_path_that_the_operator_wrote() -> None:
    """Where a shorthand or another name was used, the fault stands there and not at the canonical place."""
    routes = "upstreams: [{name: a, url: 'http://x'}]\nroutes:\n"
    [fault] = faults(routes + "  - {path: /a, upstream: a, rateLimit: {requests: 5, window: 0}}\n")
    assert (fault.path, fault.line) == ("routes[0].rateLimit.window", 3)
    [fault] = faults("timeouts: {connect: 0}\n")
    assert fault.path == "timeouts.connect"
    [fault] = faults("routes: [{path: /a, targetUrl: 'http://x:99999'}]\n")
    assert fault.path == "routes[0].targetUrl"


def test_what_follows_from_another_fault_is_not_told() -> None:
    """A field that was misspelt is not reported as missing as well."""
    [fault] = faults("upstreams: [{name: a, url: 'http://x'}]\nroutes: [{path: /a, upstrem: a}]\n")
    assert (fault.path, fault.code) == ("routes[0].upstrem", "unknown_key")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n", "just words\n"])
def test_a_document_is_a_mapping(text: str) -> None:
    """An empty file is a fault, not a configuration without routes: half-written files must change nothing."""
    [fault] = faults(text)
    assert "expected keys such as upstreams and routes" in fault.message


def test_a_missing_file_is_one_clear_fault(tmp_path: Path) -> None:
    """What cannot be read is told with its name and the reason."""
    with pytest.raises(ConfigError, match=r"cannot read .*proxy\.yml: no such file or directory") as caught:
        read_file(tmp_path / "proxy.yml")
    assert [fault.code for fault in caught.value.faults] == ["unreadable"]


def test_a_directory_and_binary_files_are_clear_faults(tmp_path: Path) -> None:
    """Neither is a crash."""
    with pytest.raises(ConfigError, match="is a directory"):
        read_file(tmp_path)
    (tmp_path / "binary.yml").write_bytes(b"routes:\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text: byte 7"):
        read_file(tmp_path / "binary.yml")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    """Editors that write one are not punished."""
    (tmp_path / "proxy.yml").write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())
    assert read_file(tmp_path / "proxy.yml") == read(SMALLEST)


@pytest.mark.parametrize("text", [SMALLEST, LARGER])
def test_what_is_written_reads_back_the_same(text: str) -> None:
    """An export is a document with the same meaning."""
    document = read(text)
    again: Document = read(write(document.config))
    assert again.config == document.config


def test_settings_may_stand_under_their_own_key() -> None:
    """The model's own JSON, with `settings`, is a document too; saying a section at both places is a fault."""
    assert read("settings: {proxy: {port: 81}}\n") == read("proxy: {port: 81}\n")
    [fault] = faults("settings: {proxy: {port: 81}}\nproxy: {port: 82}\n")
    assert (fault.path, fault.code) == ("settings.proxy", "duplicate_key")
    [fault] = faults("settings: {proxi: {port: 81}}\n")
    assert "did you mean proxy?" in fault.message


def test_an_empty_list_of_blocked_addresses_is_not_silently_the_default() -> None:
    """The model cannot tell an empty list from none, so the operator hears what holds."""
    [warning] = read("security: {blockedIPs: []}\n").warnings
    assert (warning.path, warning.line) == ("security.blockedIPs", 1)
