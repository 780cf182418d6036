"""Documents: what is accepted means one thing, and what is not is refused in order."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import controlplane
from shared.check import check
from shared.check.advice import advice
from shared.document import export, read, write
from shared.faults import ConfigError
from shared.normalise import normalise
from shared.pb.resources_pb2 import Config
from shared.unenforced import unenforced
from shared.yaml_dump import dump
from shared.yaml_lines import load
from tests.property.config_documents import CONFIGS, TEXT, Json, documents

STARTER = Path(controlplane.__file__).with_name("starter.yml").read_text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
slow = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


def accepted(text: str) -> Config | None:
    """The configuration of a text; None where it is refused, which takes a fault with a message."""
    try:
        return read(text).config
    except ConfigError as error:
        assert error.faults
        assert all(fault.message for fault in error.faults)
        return None


@slow
@given(documents())
def test_good_documents_are_accepted(document: Json) -> None:
    """No rule refuses what the reference allows."""
    assert accepted(dump(document)) is not None


@slow
@given(documents())
def test_what_is_accepted_survives_export(document: Json) -> None:
    """As YAML, as the document's JSON and as the model's own JSON, it reads back unchanged."""
    config = read(dump(document)).config
    assert read(write(config)).config == config
    assert read(dump(export(config))).config == config
    assert read(dump(json_format.MessageToDict(config))).config == config


@slow
@given(documents())
def test_normalising_twice_changes_nothing(document: Json) -> None:
    """The canonical form has no shorthands left."""
    once = normalise(document)
    again = normalise(once.data)
    assert (again.data, again.faults) == (once.data, [])


@slow
@given(documents(), st.data())
def test_any_value_at_any_place_is_taken_or_refused(document: Json, data: st.DataObject) -> None:
    """Whatever stands somewhere in a good document, nothing but ConfigError is raised, and what is taken survives."""
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(VALUES)
    config = accepted(dump(document))
    if config is not None:
        assert read(write(config)).config == config


@slow
@given(st.data())
def test_damaged_text_is_taken_or_refused(data: st.DataObject) -> None:
    """Cut, doubled, shifted and scribbled over, the starter raises nothing but ConfigError."""
    text = STARTER
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        text = (
            text[:start] + data.draw(st.text(st.characters() | st.sampled_from("{}[]:-*&!|>'\"%@`#\t\n "))) + text[end:]
        )
    accepted(text)


@given(st.text() | st.text(string.printable))
@example("{? a}")
@example("a: &a\n  <<: *a\n")
@example("? |\n")
def test_any_text_is_taken_or_refused(text: str) -> None:
    """Text of no sense at all raises nothing but ConfigError."""
    accepted(text)


@slow
@given(CONFIGS)
def test_checks_never_raise(config: Config) -> None:
    """Whatever a message holds: it may come from a store or a stream, and was not read from a document."""
    faults = check(config)
    assert all(fault.path and fault.message and fault.kind for fault in faults)
    unenforced(config)
    advice(config)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_is_dumped_is_loaded(data: dict[str, object]) -> None:
    """Text that looks like a number, a date or a boolean in some YAML stays text."""
    finite = load(dump(data))
    if "nan" not in str(data) and "inf" not in str(data):
        assert finite.data == data
    assert finite.faults == []


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=8))
def test_faults_have_the_line_of_their_place(routes: list[tuple[int, bool]]) -> None:
    """However many comments and empty lines stand between, a fault is told at the line it stands in."""
    lines = ["upstreams:", "  - {name: a, url: 'http://a'}", "routes:"]
    wrong = []
    for index, (gap, bad) in enumerate(routes):
        lines += ["  # comment", ""] * gap
        lines.append(f"  - path: /r{index}")
        lines.append("    upstream: a")
        if bad:
            lines.append("    rateLimit:")
            lines.append("      max: many")
            wrong.append((len(lines), f"routes[{index}].rateLimit.max"))
            lines.append("      windowMs: 5")
    try:
        read("\n".join(lines))
        found = []
    except ConfigError as error:
        found = [(fault.line, fault.path) for fault in error.faults]
    assert found == wrong
