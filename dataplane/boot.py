"""What a node serves before it has reached anyone: the newest kept generation that can be served, else the seed.

A generation that cannot be read, is refused by compile, or ended the process twice is passed over, with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataplane.boot_guard import BootGuard
from dataplane.config_source import Held
from dataplane.last_known_good import Generation, GenerationError, LastKnownGood, is_generation, read_generation
from dataplane.serving import Serving
from shared import log
from shared.faults import ConfigError, Fault
from shared.table import table_of


@dataclass(frozen=True, slots=True)
class Booted:
    """What boot found. `generation` is what is served, None: the seed or nothing; `fallback`: why not the newest."""

    generation: Generation | None = None
    fallback: str = ""
    seed_error: str = ""


def boot(
    serving: Serving, cache: LastKnownGood, guard: BootGuard, *, seed: Path | None = None, key: bytes | None = None
) -> Booted:
    """Offer what there is until something is served; never raises, because a control plane may still have better."""
    skipped: list[str] = []
    loops: list[Generation] = []
    for generation in cache.read():
        if isinstance(generation, GenerationError):
            reason = str(generation)
        elif guard.refuses(generation.held.table.digest):
            reason = f"{generation.path}: {generation.held} twice ended this process soon after it was applied"
            loops.append(generation)
        elif not (reason := _refused(serving, generation)):
            return Booted(generation, "; ".join(skipped))
        log.warn("cache.skipped", reason=reason)
        skipped.append(reason)
    seed_error = _seed(serving, seed, key) if seed is not None else ""
    # Better a generation that may end the process than none, which surely serves nobody.
    rest = loops if serving.served is None else []
    taken = next((generation for generation in rest if not _refused(serving, generation)), None)
    return Booted(taken, "; ".join(skipped), seed_error)


def _refused(serving: Serving, generation: Generation) -> str:
    """Why this is not served now; "": it is."""
    try:
        serving.offer(generation.held, "cache")
    except ConfigError as error:
        return f"{generation.path}: {error}"
    return ""


def _seed(serving: Serving, path: Path, key: bytes | None) -> str:
    """Why the seed is not served now; "": it is."""
    try:
        serving.offer(read_seed(path, key), "seed")
    except ConfigError as error:
        log.warn("seed.refused", file=str(path), faults=[str(fault) for fault in error.faults])
        return f"seed {path}: {error}"
    return ""


def read_seed(path: Path, key: bytes | None) -> Held:
    """The table of a YAML document, or of a kept generation copied from another node; ConfigError says why not."""
    try:
        if is_generation(path):
            if key is None:
                raise GenerationError(f"{path}: it is encrypted; give FLEXGATE_CACHE_KEY, the key of where it was kept")
            return read_generation(path, key).held
    except (OSError, GenerationError) as error:
        raise ConfigError([Fault("", str(error), "unreadable_seed")]) from error
    from shared.document import read_file  # noqa: PLC0415 - memory: the YAML parser, for a first boot only

    return Held(table_of(read_file(path).config), 0)
