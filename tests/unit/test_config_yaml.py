"""YAML to data with lines: what a document means, and what is refused."""

from __future__ import annotations

import pytest

from shared.faults import ConfigError
from shared.yaml_lines import MAX_DEPTH, load


def refusal(text: str) -> tuple[int, str]:
    """(line, message) of the one fault that a text is refused with."""
    with pytest.raises(ConfigError) as caught:
        load(text)
    [fault] = caught.value.faults
    return fault.line, fault.message


def test_scalars_follow_yaml_1_2() -> None:
    """Only true and false are booleans; `on`, dates and times stay text, so `on` can be a key."""
    source = load("on: yes\na: [true, FALSE, ~, 7, -1.5, 0x1f, 2030-01-31, 12:30, '7', 1e999, .nan]\n")
    assert source.data == {
        "on": "yes",
        "a": [True, False, None, 7, -1.5, 31, "2030-01-31", "12:30", "7", "1e999", ".nan"],
    }
    assert source.faults == []


def test_every_place_has_its_line() -> None:
    """A key has the line it stands in, an element of a list the line where it starts."""
    source = load("# comment\nroutes:\n  - path: /a\n    hosts:\n      - x\n      - y\n  - {path: /b}\n")
    assert source.lines == {
        "routes": 2,
        "routes[0]": 3,
        "routes[0].path": 3,
        "routes[0].hosts": 4,
        "routes[0].hosts[0]": 5,
        "routes[0].hosts[1]": 6,
        "routes[1]": 7,
        "routes[1].path": 7,
    }


def test_duplicate_keys_are_faults() -> None:
    """The later of two equal keys is named with both lines; the first one's value is kept for the other checks."""
    source = load("a: 1\nb: 2\na: {c: 3}\n")
    assert source.data == {"a": 1, "b": 2}
    [fault] = source.faults
    assert (fault.path, fault.line, fault.code) == ("a", 3, "duplicate_key")
    assert "line 1" in fault.message


@pytest.mark.parametrize("key", ["1", "true", "~", "[a]", "{a: b}"])
def test_keys_are_text(key: str) -> None:
    """Numbers, booleans and collections cannot be keys; what follows is still read."""
    source = load(f"? {key}\n: x\nb: 2\n")
    assert source.data == {"b": 2}
    assert [fault.line for fault in source.faults] == [1]


def test_anchors_aliases_and_merges() -> None:
    """An alias repeats its anchor; `<<` brings in keys that the mapping does not have itself."""
    source = load("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a]\nd: {<<: [{y: 9}, *a]}\n")
    assert source.data == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": [{"x": 1, "y": 2}], "d": {"x": 1, "y": 9}}


def test_an_alias_bomb_is_refused() -> None:
    """A text of a few lines that would expand to billions of values costs nothing."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    line, message = refusal(bomb)
    assert line == 7
    assert "too large" in message


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_deep_nesting_is_refused(text: str) -> None:
    """Nesting beyond any use is a fault, not a crash of the process."""
    assert refusal(text) == (1, f"nested deeper than {MAX_DEPTH} levels")


def test_aliases_cannot_add_up_to_deep_nesting() -> None:
    """Levels within an alias count too: a chain of anchors does not get around the bound."""
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))
    line, message = refusal(chain)
    assert line == MAX_DEPTH - 1
    assert "nested" in message


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        ("a: [1, 2\nb: 3\n", 2, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", 2, "one document"),
        ("a: *nowhere\n", 1, "*nowhere refers to nothing above it"),
        ("a: &a [*a]\n", 1, "*a refers to nothing above it"),
        ("a: 1\nb: \x01\n", 1, "not valid YAML"),
        ("a: \ud800\n", 0, "not valid text"),
    ],
)
def test_what_is_no_document(text: str, line: int, part: str) -> None:
    """Syntax errors, second documents, dangling aliases and broken text are one fault at their line."""
    found_line, message = refusal(text)
    assert part in message
    assert found_line == line or "\x01" in text  # libyaml reads ahead: it knows no line for a bad byte


def test_tags_are_refused() -> None:
    """Tags choose types in ways operators do not expect; strings may be tagged as strings."""
    source = load("a: !!str 5\nb: !env X\nc: !!set {x}\n")
    assert source.data == {"a": "5", "b": "X", "c": {"x": None}}
    assert [(fault.path, fault.line) for fault in source.faults] == [("b", 2), ("c", 3)]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n"])
def test_nothing_is_none(text: str) -> None:
    """A text without content has no data; the normaliser says what to write."""
    assert load(text).data is None
