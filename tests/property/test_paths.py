"""paths.normalise against its rules, for hostile bytes and for paths made of everything that matters to it."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataplane.paths import BadTarget, Target, normalise

PIECES = [
    "a",
    "B",
    "~",
    ".",
    "..",
    ";",
    "%2e",
    "%2E",
    "%41",
    "%7e",
    "%7E",
    "%c3%A9",
    "%3b",
    "%3B",
    "%25",
    "|",
    "[",
    '"',
    "*",
    ":",
]
BAD = ["%2f", "%2F", "%5c", "%5C", "%00", "\\", "%", "%4", "%zz", "%\uff11", "#", " ", "\x7f", "\n"]
segment = st.lists(st.sampled_from(PIECES), max_size=3).map("".join)
path = st.lists(segment, max_size=6).map(lambda segments: "/" + "/".join(segments))
query = st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"))
hostile = st.binary() | st.text("/.%25fFcC0e?#\\;a ", max_size=20).map(lambda text: b"/" + text.encode())


def accepted(raw: bytes) -> Target | None:
    try:
        return normalise(raw)
    except BadTarget:
        return None


def raw_target(path: str, query: str | None) -> bytes:
    return (path if query is None else f"{path}?{query}").encode()


def naive_segments(path: str) -> list[bytes] | None:
    """What the path means: decoded segments with dots resolved; None where it climbs or hides dots in parameters."""
    meant: list[bytes] = []
    for segment in map(unquote_to_bytes, path.split("/")):
        if segment == b"..":
            if not meant:
                return None
            del meant[-1]
        elif segment.partition(b";")[0] in (b".", b"..") and segment not in (b".", b".."):
            return None
        elif segment not in (b"", b"."):
            meant.append(segment)
    return meant


@given(hostile)
@example(b"")
@example(b"/%")
@example(b"/a?%00")
@example(b"/\x80")
def test_any_bytes_are_normalised_or_refused(raw: bytes) -> None:
    """No input raises anything but BadTarget, and what is accepted holds only visible ASCII and no fragment."""
    target = accepted(raw)
    if target is not None:
        assert re.fullmatch(r"[\x21-\x7e]+", target.path)
        assert "#" not in target.path + (target.query or "")
        assert target.path.startswith("/")


@given(hostile | path.map(str.encode))
def test_normalising_twice_changes_nothing(raw: bytes) -> None:
    """The normal form is its own normal form, so a gateway behind a gateway sees the same path."""
    target = accepted(raw)
    if target is not None:
        again = normalise(raw_target(target.path, target.query))
        assert again == Target(target.path, target.query, False)
        assert target.changed == (raw.partition(b"?")[0] != target.path.encode())


@given(path, query)
def test_the_path_keeps_its_meaning(path: str, query: str | None) -> None:
    """Decoded and resolved, the normal path names what the raw one named; it is refused only where that is unclear."""
    target = accepted(raw_target(path, query))
    meant = naive_segments(path)
    if target is None:
        assert meant is None
        return
    assert [unquote_to_bytes(segment) for segment in target.path.split("/") if segment] == meant
    assert target.query == query


@given(path)
def test_the_spelling_is_the_normal_one(path: str) -> None:
    """Unreserved characters stand raw, all others that no path may hold are encoded, in upper-case hex."""
    target = accepted(path.encode())
    if target is not None:
        assert re.fullmatch(r"(?:/|%[0-9A-F]{2}|[A-Za-z0-9\-._~!$&'()*+,;=:@])+", target.path)
        assert "//" not in target.path
        for code in re.findall("%(..)", target.path):
            assert not re.fullmatch(r"[A-Za-z0-9\-._~]", chr(int(code, 16)))


@given(hostile | path.map(str.encode))
def test_no_origin_can_read_a_climb(raw: bytes) -> None:
    """Even an origin that decodes, takes backslashes for slashes and drops parameters finds no dot segment."""
    target = accepted(raw)
    if target is not None:
        seen = unquote_to_bytes(target.path).replace(b"\\", b"/")
        assert not {segment.partition(b";")[0] for segment in seen.split(b"/")} & {b".", b".."}


@given(path, st.sampled_from(BAD))
def test_what_is_refused_is_refused_anywhere(path: str, bad: str) -> None:
    """One ambiguous or malformed piece spoils a path wherever it stands."""
    for raw in (f"/{bad}{path}", f"{path}{bad}", f"{path}/{bad}"):
        with pytest.raises(BadTarget):
            normalise(raw.encode())
