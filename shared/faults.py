"""What is wrong with a configuration: every fault at once, each with the place where it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong (or, as a warning, not enforced).

    `path` is the field path in the document ("routes[2].rateLimit.max"), `message` says what is wrong and what to do.
    `kind` and `name` tell the resource where it is known; `line` is 1-based, 0 where there is no document.
    """

    path: str
    message: str
    code: str = "invalid"
    kind: str = ""
    name: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else f"{self.kind} {self.name}: " if self.name else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used; nothing of it was applied."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(map(str, self.faults)))
