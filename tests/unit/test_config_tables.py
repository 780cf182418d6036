"""The tables of the configuration language against the model: nothing forgotten, nothing left over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from shared import defaults, shorthands
from shared.check.auth import FIELDS
from shared.check.rules import FREE, KEY_RULES, RULES, TOGETHER
from shared.document import read
from shared.pb.resources_pb2 import Auth, Config
from shared.pb.rollout_pb2 import Gates, RolloutPlan, Wave
from shared.quantities import format_duration, format_size
from shared.shape import fields_of
from shared.unenforced import LATER

_VALUES: tuple[object, ...] = (1, "x", "50%", {})
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def messages(descriptor: Descriptor = Config.DESCRIPTOR, seen: set[str] | None = None) -> Iterator[Descriptor]:
    """Every message of the model that a document can hold."""
    seen = set() if seen is None else seen
    if descriptor.name in seen or descriptor.file is not Config.DESCRIPTOR.file:
        return
    seen.add(descriptor.name)
    if not descriptor.GetOptions().map_entry:
        yield descriptor
    for field in descriptor.fields:
        if field.message_type is not None:
            yield from messages(field.message_type, seen)


MESSAGES = {descriptor.name: descriptor for descriptor in messages()}
PLACES = {f"{name}.{field}" for name, descriptor in MESSAGES.items() for field in fields_of(descriptor)}
PLANS = {
    f"{message.DESCRIPTOR.name}.{field}"
    for message in (RolloutPlan, Wave, Gates)
    for field in fields_of(message.DESCRIPTOR)
}
"""Of a rollout's plan, which is read as the configuration is, but is no part of it."""


def is_scalar(field: FieldDescriptor) -> bool:
    """Whether a field holds plain values itself, alone, in a list, in a map of text, or as free JSON."""
    inner = field.message_type
    if inner is None or inner.full_name == "google.protobuf.Struct":
        return True
    return bool(inner.GetOptions().map_entry and inner.fields_by_name["value"].message_type is None)


SCALARS = {
    f"{name}.{field.json_name}" for name, message in MESSAGES.items() for field in message.fields if is_scalar(field)
}


def test_every_field_has_its_rule() -> None:
    """A new field of the model is decided about: a rule, a check with others, or explicitly free."""
    decided = RULES.keys() | FREE | TOGETHER | KEY_RULES.keys()
    assert SCALARS - decided == set()


def test_no_field_is_decided_about_twice() -> None:
    """A field that is called free has no rule."""
    assert FREE & (RULES.keys() | KEY_RULES.keys()) == set()
    assert set() == FREE & TOGETHER
    assert TOGETHER & RULES.keys() == set()


@pytest.mark.parametrize(
    "table",
    [RULES, KEY_RULES, FREE, TOGETHER, LATER, shorthands.UNITS, shorthands.WORDINGS, shorthands.EVERYTHING],
    ids=["rules", "key rules", "free", "together", "later", "units", "wordings", "everything"],
)
def test_tables_name_fields_that_exist(table: set[str]) -> None:
    """A field that was renamed or removed leaves nothing behind in a table."""
    assert set(table) - PLACES - PLANS == set()


def test_shorthands_of_objects_fill_fields_that_exist() -> None:
    """What a plain value fills is a field of its message."""
    assert {f"{name}.{field}" for name, (_, field) in shorthands.OBJECTS.items()} - PLACES == set()


def test_aliases_lead_to_fields_that_exist() -> None:
    """Whatever value stands there."""
    for place, target in shorthands.ALIASES.items():
        message = place.split(".")[0]
        assert {f"{message}.{target(value)}" for value in _VALUES} - PLACES == set()


def test_fields_of_auth_types_exist() -> None:
    """The table of types names fields of Auth, and each belongs to a type or to all."""
    known = {field.name for field in Auth.DESCRIPTOR.fields}
    assert set().union(*FIELDS.values()) | {"mode", "type"} == known


def test_settings_are_not_shadowed_by_resources() -> None:
    """Sections of the settings and lists of resources stand at one level in documents: no name is both."""
    assert fields_of(MESSAGES["Settings"]).keys() & fields_of(MESSAGES["Config"]).keys() == set()


def _tables() -> dict[str, list[str]]:
    """The rows of the reference by key, as cells."""
    rows: dict[str, list[str]] = {}
    for line in REFERENCE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| `") else []
        for key in re.findall(r"`([^`]+)`", cells[0]) if cells else []:
            rows.setdefault(key, cells)
    return rows


def test_every_key_is_documented() -> None:
    """The reference names each field that operators may write in one of its tables."""
    rows = [line for line in REFERENCE.read_text().splitlines() if line.startswith("| `")]
    documented = {
        word for row in rows for quoted in re.findall(r"`([^`]+)`", row) for word in re.findall(r"\w+", quoted)
    }
    missing = {place for place in PLACES if place.split(".")[1] not in documented}
    assert missing == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("proxy.host", defaults.HOST),
        ("proxy.port", str(defaults.PORT)),
        ("proxy.adminPort", str(defaults.ADMIN_PORT)),
        ("proxy.workers", str(defaults.WORKERS)),
        ("proxy.maxBodySize", format_size(defaults.MAX_BODY_SIZE)),
        ("proxy.maxHeaderSize", format_size(defaults.MAX_HEADER_SIZE)),
        ("proxy.maxHeadersSize", format_size(defaults.MAX_HEADERS_SIZE)),
        ("proxy.maxConnections", str(defaults.MAX_CONNECTIONS)),
        ("proxy.drainTimeout", format_duration(defaults.DRAIN_TIMEOUT)),
        ("proxy.timeout.request", format_duration(defaults.REQUEST_TIMEOUT)),
        ("proxy.timeout.connect", format_duration(defaults.CONNECT_TIMEOUT)),
        ("proxy.timeout.dns", format_duration(defaults.DNS_TIMEOUT)),
        ("proxy.timeout.header", format_duration(defaults.HEADER_TIMEOUT)),
        ("proxy.timeout.response", format_duration(defaults.RESPONSE_TIMEOUT)),
        ("proxy.timeout.idle", format_duration(defaults.IDLE_TIMEOUT)),
        ("security.blockedIPs", ", ".join(defaults.BLOCKED_IPS)),
        ("security.auth.header", defaults.AUTH_HEADER),
        ("rateLimit.key", defaults.RATE_LIMIT_KEY),
        ("connectionPool.maxSockets", str(defaults.MAX_SOCKETS)),
        ("connectionPool.maxFreeSockets", str(defaults.MAX_FREE_SOCKETS)),
        ("connectionPool.timeout", format_duration(defaults.POOL_IDLE_TIMEOUT)),
        ("upstreams[].healthCheck.path", defaults.HEALTH_CHECK_PATH),
        ("upstreams[].healthCheck.interval", format_duration(defaults.HEALTH_CHECK_INTERVAL)),
        ("upstreams[].healthCheck.timeout", format_duration(defaults.HEALTH_CHECK_TIMEOUT)),
        ("upstreams[].healthCheck.healthyThreshold", str(defaults.HEALTHY_THRESHOLD)),
        ("upstreams[].healthCheck.unhealthyThreshold", str(defaults.UNHEALTHY_THRESHOLD)),
        ("circuitBreaker.failureThreshold", str(defaults.BREAKER_FAILURE_THRESHOLD)),
        ("circuitBreaker.openDuration", format_duration(defaults.BREAKER_OPEN_DURATION)),
        ("logging.level", defaults.LOG_LEVEL),
        ("logging.sampling.successRate", str(defaults.SUCCESS_RATE)),
    ],
)
def test_documented_defaults_are_the_real_ones(key: str, value: str) -> None:
    """The reference shows the constants of shared/defaults.py."""
    assert _tables()[key][2].replace("`", "") == value


def test_the_default_configuration_is_fine() -> None:
    """The defaults, written out, are accepted."""
    written = (
        f"proxy: {{host: {defaults.HOST}, port: {defaults.PORT}, adminPort: {defaults.ADMIN_PORT}}}\n"
        f"security: {{blockedIPs: {list(defaults.BLOCKED_IPS)}}}\n"
        f"logging: {{level: {defaults.LOG_LEVEL}, format: {defaults.LOG_FORMAT}}}\n"
    )
    assert read(written).warnings == []
