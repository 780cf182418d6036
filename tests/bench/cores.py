"""Who runs on which core: the proxy alone on the first one, load and origin on all others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.bench.invalid import UnfitMachineError


@dataclass(frozen=True, slots=True)
class Cores:
    """Core numbers as the kernel counts them."""

    proxy: int
    load: tuple[int, ...]


def divide(allowed: Iterable[int]) -> Cores:
    """The cores this process may use, divided; UnfitMachineError where there are fewer than two."""
    first, *others = sorted(allowed)
    if not others:
        raise UnfitMachineError("a benchmark needs two cores: one for the proxy, one for load and origin")
    return Cores(first, tuple(others))


def claim() -> Cores:
    """Divide the cores of this machine, and move this process (and what it starts) off the proxy's."""
    cores = divide(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores.load)
    return cores


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The command held to one core; taskset replaces itself by it, so the process id stays."""
    return ["taskset", "--cpu-list", str(core), *command]
