"""paths.normalise by example: what each rule does to a target that a client could send."""

from __future__ import annotations

import pytest

from dataplane.paths import BadTarget, Target, normalise


@pytest.mark.parametrize(
    "raw",
    [
        "/",
        "/api/users",
        "/api/users/",
        "/a.b/..c/.well-known/...",
        "/a;v=1/b=2,3",
        "/things:cancel",
        "/*",
        "/caf%C3%A9",
        "/a%20b%25%3B",
        "/%F0%9F%98%80",
        "/-._~!$&'()*+,;=:@",
    ],
)
def test_a_normal_path_stays_as_it_is(raw: str) -> None:
    """What is normal already is passed on without a change."""
    assert normalise(raw.encode()) == Target(raw, None, False)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/..a/%2e%2E/b", "/b"),
        ("/.%2e.", "/..."),
        ("//", "/"),
        ("//evil.example/x", "/evil.example/x"),
        ("/a///b//", "/a/b/"),
        ("/a//../b", "/b"),
        ("/%7euser/%41%2d%5F", "/~user/A-_"),
        ("/%7Euser", "/~user"),
        ("/%30%39%61%7A%2E5", "/09az.5"),
        ("/caf%c3%a9/%3b", "/caf%C3%A9/%3B"),
        ('/{id}/a|b/"x"/[0]/<>^`', "/%7Bid%7D/a%7Cb/%22x%22/%5B0%5D/%3C%3E%5E%60"),
    ],
)
def test_another_spelling_becomes_the_normal_one(raw: str, path: str) -> None:
    """Dot segments, double slashes and percent-encoding are brought to one form, and the change is told."""
    assert normalise(raw.encode()) == Target(path, None, True)


@pytest.mark.parametrize(
    ("raw", "query", "changed"),
    [
        ("/a", None, False),
        ("/a?", "", False),
        ("/a?x=1&y=%zz&z=/../%2f\\", "x=1&y=%zz&z=/../%2f\\", False),
        ("/a??b?c", "?b?c", False),
        ("/a/..?b=//", "b=//", True),
    ],
)
def test_the_query_goes_on_byte_for_byte(raw: str, query: str | None, changed: bool) -> None:
    """The query is whatever follows the first question mark; no rule for paths touches it."""
    target = normalise(raw.encode())
    assert (target.query, target.changed) == (query, changed)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "does not start with a slash"),
        (b"*", "does not start with a slash"),
        (b"?a", "does not start with a slash"),
        (b"http://a/", "does not start with a slash"),
        (b"/a#b", "a fragment"),
        (b"/a?b#c", "a fragment"),
        (b"/a b", "must be percent-encoded"),
        (b"/a\tb", "must be percent-encoded"),
        (b"/a?b\x00", "must be percent-encoded"),
        (b"/a\n", "must be percent-encoded"),
        (b"/caf\xc3\xa9", "must be percent-encoded"),
        (b"/a?\xff", "must be percent-encoded"),
        (b"/a%00", "an encoded NUL"),
        (b"/a%2fb", "an encoded slash"),
        (b"/a%2Fb", "an encoded slash"),
        (b"/a%5cb", "an encoded backslash"),
        (b"/a%5Cb", "an encoded backslash"),
        (b"/a\\b", "a backslash"),
        (b"/a%zz", "a malformed percent-encoding"),
        (b"/a%4", "a malformed percent-encoding"),
        (b"/a%", "a malformed percent-encoding"),
        (b"/%%41", "a malformed percent-encoding"),
        (b"/..", "climbs above the root"),
        (b"/a/../../b", "climbs above the root"),
        (b"/%2e%2E/b", "climbs above the root"),
        (b"/a/..;/b", "a dot segment with parameters"),
        (b"/a/..;x=1", "a dot segment with parameters"),
        (b"/.;x/a", "a dot segment with parameters"),
        (b"/a/%2e.;x", "a dot segment with parameters"),
        (b"/a/..%3bx", "a dot segment with parameters"),
        (b"/a/..%3Bx", "a dot segment with parameters"),
        (b"/a/.%3B/b", "a dot segment with parameters"),
    ],
)
def test_what_could_be_read_two_ways_is_refused(raw: bytes, reason: str) -> None:
    """Ambiguous and malformed targets are refused with a reason that does not echo them."""
    with pytest.raises(BadTarget, match=reason) as refused:
        normalise(raw)
    assert refused.value.reason == str(refused.value)


def test_a_hostile_target_of_the_largest_size_is_one_pass() -> None:
    """Targets of 32 KiB that nearly match cost what their length costs; a backtracking pattern would never return."""
    for piece in (b"/a", b"/..", b"/a/..", b"/.", b"%41", b"/;", b"//", b"/%C3"):
        hostile = b"/x" + piece * (32_768 // len(piece))
        for raw in (hostile, hostile + b"%", hostile + b" "):
            try:
                assert normalise(raw).path.startswith("/")
            except BadTarget as refused:
                assert refused.reason
