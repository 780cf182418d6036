"""What the kernel says about processes and cores: /proc, read and parsed; proc(5) names the fields."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """A line of /proc/PID/stat, as far as it is needed here; user and system are clock ticks."""

    parent: int
    user: int
    system: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree of processes holds and has used since it started."""

    user_seconds: float
    system_seconds: float
    rss_bytes: int
    processes: int

    @property
    def cpu_seconds(self) -> float:
        """User and system together."""
        return self.user_seconds + self.system_seconds


def parse_stat(text: str) -> Stat:
    """The name stands in parentheses and may hold anything, also spaces and parentheses: read on from the last one."""
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(parent=int(fields[1]), user=int(fields[11]), system=int(fields[12]))


def parse_rss(status: str) -> int:
    """Resident bytes from /proc/PID/status; 0 for a process that has no memory any more (a zombie)."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def parse_busy(stat: str, core: int) -> float:
    """Seconds since boot that a core spent on anything at all: user, nice, system, irq, softirq, from /proc/stat."""
    for line in stat.splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
            return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
    raise LookupError(f"/proc/stat does not list core {core}")


def family(root: int, parents: Mapping[int, int]) -> Iterator[int]:
    """The process and all that descend from it; `parents` maps a process to its parent."""
    yield root
    for child, parent in parents.items():
        if parent == root:
            yield from family(child, parents)


def tree(root: int) -> dict[int, Stat]:
    """The process and all that descend from it, at this moment; ProcessLookupError where it is gone."""
    stats = dict(_stats())
    if root not in stats:
        raise ProcessLookupError(f"process {root} is gone")
    return {pid: stats[pid] for pid in family(root, {pid: stat.parent for pid, stat in stats.items()})}


def usage(root: int) -> Usage:
    """What the tree under `root` holds and has used; ProcessLookupError where it is gone."""
    members = tree(root)
    return Usage(
        user_seconds=sum(stat.user for stat in members.values()) / TICKS_PER_SECOND,
        system_seconds=sum(stat.system for stat in members.values()) / TICKS_PER_SECOND,
        rss_bytes=sum(parse_rss(_read(_PROC / str(pid) / "status")) for pid in members),
        processes=len(members),
    )


def busy_seconds(core: int) -> float:
    """Seconds since boot that the core was not idle."""
    return parse_busy(_read(_PROC / "stat"), core)


def _stats() -> Iterator[tuple[int, Stat]]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (text := _read(entry / "stat")):
            yield int(entry.name), parse_stat(text)


def _read(path: Path) -> str:
    """Processes come and go while /proc is read; one that is gone reads as nothing."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
