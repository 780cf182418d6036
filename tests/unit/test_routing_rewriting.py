"""The path that the upstream sees, by example."""

from __future__ import annotations

import pytest

from dataplane.routing import BadPattern, Entry, Found, RouteMatch, Router
from dataplane.routing.rewriting import rewriting


def rewritten(pattern: str, path: str, template: str = "", strip_path: bool | None = None) -> str:
    answer = Router.build([Entry(RouteMatch("r", pattern), None)]).match(path, "", "GET", (), None)
    assert isinstance(answer, Found)
    return rewriting(pattern, template, strip_path)(path, answer.params, answer.rest)


@pytest.mark.parametrize(
    ("pattern", "path", "upstream"),
    [
        ("/x/*", "/x/get", "/get"),
        ("/x/*", "/x", "/"),
        ("/x/*", "/x/", "/"),
        ("/x/*", "/x/a/b/", "/a/b/"),
        ("/x/y/*", "/x/y/z", "/z"),
        ("/t/:tenant/*", "/t/a/b", "/b"),
        ("/*", "/x/get", "/x/get"),
        ("/*", "/", "/"),
        ("/x", "/x", "/x"),
        ("/x/:id", "/x/1", "/x/1"),
    ],
)
def test_what_is_stripped_by_itself(pattern: str, path: str, upstream: str) -> None:
    """A prefix is stripped; exact paths, paths with parameters and "/*" are kept."""
    assert rewritten(pattern, path) == upstream


@pytest.mark.parametrize(
    ("pattern", "path", "strip", "upstream"),
    [
        ("/x/*", "/x/get", False, "/x/get"),
        ("/x/*", "/x", False, "/x"),
        ("/x/:id", "/x/1", True, "/"),
        ("/x", "/x", True, "/"),
        ("/*", "/x/get", True, "/x/get"),
    ],
)
def test_strip_path_says_otherwise(pattern: str, path: str, strip: bool, upstream: str) -> None:
    """`stripPath` takes away what the pattern stands for, without its star, or nothing."""
    assert rewritten(pattern, path, strip_path=strip) == upstream


@pytest.mark.parametrize(
    ("pattern", "path", "template", "upstream"),
    [
        ("/x/*", "/x/a/b", "/v2/*", "/v2/a/b"),
        ("/x/*", "/x/a/", "/v2/*", "/v2/a/"),
        ("/x/*", "/x", "/v2/*", "/v2"),
        ("/x/*", "/x/", "/v2/*", "/v2/"),
        ("/x/*", "/x", "/*", "/"),
        ("/x/*", "/x/a", "/fixed", "/fixed"),
        ("/x/*", "/x/a", "/fixed/", "/fixed/"),
        ("/t/:t/u/:u/*", "/t/a%20b/u/7/c", "/:u/of/:t/*", "/7/of/a%20b/c"),
        ("/u/:id", "/u/7", "/things:get/:id/", "/things:get/7/"),
        ("/u/:id", "/u/7", "/café/a b", "/caf%C3%A9/a%20b"),
    ],
)
def test_a_template_is_filled(pattern: str, path: str, template: str, upstream: str) -> None:
    """`*` is the rest and `:name` a parameter; a slash at the end of the request stays one."""
    assert rewritten(pattern, path, template) == upstream
    assert rewritten(pattern, path, template, strip_path=True) == upstream


@pytest.mark.parametrize(
    ("pattern", "template", "reason"),
    [
        ("/x/*", "v2/*", "start with a slash"),
        ("/x/*", "/v2/*/raw", "as the last segment"),
        ("/x/:id", "/:id/:id", "stands twice"),
        ("/x", "/v2/*", 'no "\\*"'),
        ("/x/:id", "/v2/:name", 'no ":name"'),
        ("/x/*", "/v2?a=b", "under `query`"),
        ("/x/*", "/../*", "climbs"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(pattern: str, template: str, reason: str) -> None:
    """What a template asks for must be there, and what it makes must be a path."""
    with pytest.raises(BadPattern, match=reason):
        rewriting(pattern, template)
