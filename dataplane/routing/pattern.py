"""Path patterns: "/exact", "/with/:param", "/prefix/*", "/t/:tenant/*".

A pattern is read once, into the normal form that paths.py gives request paths, so that an operator may write "/café" or
"/a%7eb" and it matches what arrives. `:name` stands for one whole, non-empty segment; `*` stands last, for whatever
follows, also nothing: "/x/*" matches "/x" and "/x/" too. "/x" and "/x/" are two different exact paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataplane.paths import BadTarget, normalise

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNFIT = re.compile(r"[^\x21-\x7e]")


class BadPattern(ValueError):
    """A pattern or a rewrite template that means nothing; `reason` says what to write instead."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Pattern:
    """`steps` are the segments between slashes, None for a parameter; `names` are the parameters from left to right.

    `text` is the normal form; `prefix` tells that "/*" follows the steps. Two patterns of the same `steps` and `prefix`
    match the same paths, whatever their parameters are called.
    """

    text: str
    steps: tuple[str | None, ...]
    names: tuple[str, ...]
    prefix: bool

    @property
    def exact(self) -> bool:
        return not (self.prefix or self.names)

    @property
    def captures(self) -> tuple[tuple[str, int], ...]:
        """(parameter, index of its segment in path.split("/"))."""
        places = [index for index, step in enumerate(self.steps, 1) if step is None]
        return tuple(zip(self.names, places, strict=True))


def parse(text: str) -> Pattern:
    """The pattern that an operator wrote; raises BadPattern."""
    normal = normal_path(text)
    segments = normal.split("/")[1:]
    prefix = segments[-1] == "*"
    if prefix:
        segments.pop()
    names = tuple(segment[1:] for segment in segments if segment.startswith(":"))
    for name in names:
        if not NAME.fullmatch(name):
            raise BadPattern(f'":{name}" is no parameter: a name of letters, digits and _ follows the colon')
    if len(set(names)) < len(names):
        raise BadPattern("a parameter stands twice; give each its own name")
    if any("*" in segment for segment in segments):
        raise BadPattern('"*" stands for all that follows: write it once, as the last segment')
    steps = tuple(None if segment.startswith(":") else segment for segment in segments)
    return Pattern(normal, steps, names, prefix)


def normal_path(text: str) -> str:
    """A path from the configuration as requests spell it: what no path may hold raw is encoded; raises BadPattern."""
    wire = _UNFIT.sub(lambda unfit: "".join(f"%{byte:02X}" for byte in unfit[0].encode()), text)
    try:
        target = normalise(wire.encode("ascii"))
    except BadTarget as error:
        raise BadPattern(f"this can never match a request: {_lowered(error.reason)}") from error
    if target.query is not None:
        raise BadPattern('a path holds no "?"; what a route asks of the query stands under `query`')
    return target.path


def _lowered(reason: str) -> str:
    return reason[:1].lower() + reason[1:]
