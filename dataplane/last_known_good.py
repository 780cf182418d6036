"""The last configurations that served well, on disk: a node boots from them when there is no control plane.

Up to three generations, each a file of its own that is never written twice: a temporary file, fsync, rename, fsync of
the directory. So a crash or a full disk at any moment costs the newest generation at most. A file that is torn, changed
or sealed with another key is skipped with its reason; reading never raises.

File: magic, format, key id, revision, time of saving, length of the sealed part | SHA-256 of all else | sealed part: a
Snapshot of discovery.proto.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from google.protobuf.message import DecodeError

from dataplane.config_source import Held
from dataplane.seal import SealError, key_id, key_in, seal, unseal
from shared.faults import ConfigError, Fault
from shared.pb.discovery_pb2 import Snapshot
from shared.table import Table

GENERATIONS = 3
MAGIC = b"FLEXGATE"
FORMAT = 1
_HEADER = struct.Struct(
    ">8sH8sQdQ"
)  # magic, format, key id, revision, saved (epoch seconds), length of the sealed part
_CHECKSUM_BYTES = 32  # SHA-256 of header and sealed part, between them
_NAME = re.compile(r"generation-(\d{1,18})\.lkg")


class GenerationError(Exception):
    """This file is not a whole generation that this node can read; says why."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One kept configuration. `saved` is in epoch seconds, for information only."""

    path: Path
    held: Held
    saved: float


class LastKnownGood:
    """The generations in one directory, which belongs to one process."""

    def __init__(self, directory: Path, key: bytes | None = None, *, now: Callable[[], float] = time.time) -> None:
        """Makes the directory, and the key where none is given; ConfigError where it cannot be written to."""
        self._directory = directory
        self._now = now
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _probe(directory)
            self._given_key = key
            self._key = key or key_in(directory)
        except OSError as error:
            reason = f"the cache directory {directory} cannot be written to: {error.strerror}; give another --cache-dir"
            raise ConfigError([Fault("", reason, "unwritable_cache")]) from error

    def __repr__(self) -> str:
        return f"<LastKnownGood {self._directory} {[path.name for path in self.paths()]}>"

    def paths(self) -> list[Path]:
        """The files of the generations, newest first."""
        return [path for _, path in self._numbered()]

    def _numbered(self) -> list[tuple[int, Path]]:
        with suppress(OSError):
            matches = [(_NAME.fullmatch(path.name), path) for path in self._directory.iterdir()]
            return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)
        return []

    def read(self) -> Iterator[Generation | GenerationError]:
        """Each generation, newest first, or why it cannot be read."""
        for path in self.paths():
            try:
                yield read_generation(path, self._key)
            except GenerationError as error:
                yield error

    def save(self, held: Held) -> Path:
        """Keep this as the newest generation; OSError: it was not, and the older ones are as they were.

        A directory that was emptied or taken away meanwhile (a volume mounted anew) is made again, with a key.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._key = self._given_key or key_in(self._directory)
        kept = self._numbered()
        path = self._directory / f"generation-{kept[0][0] + 1 if kept else 1:08}.lkg"
        _write_durably(path, encode(held, self._key, self._now()))
        for _, old in kept[GENERATIONS - 1 :]:
            with suppress(OSError):
                old.unlink()
        return path


def encode(held: Held, key: bytes, saved: float) -> bytes:
    """The file of a generation."""
    snapshot = Snapshot(
        revision=held.revision,
        store_epoch=held.epoch,
        digest=held.table.digest,
        resources=held.table.values(),
        last=True,
    )
    plain = snapshot.SerializeToString()
    length = len(plain) + 12 + 16  # nonce and tag
    header = _HEADER.pack(MAGIC, FORMAT, key_id(key), held.revision, saved, length)
    sealed = seal(key, plain, header)
    return header + sha256(header + sealed).digest() + sealed


def decode(data: bytes, key: bytes) -> tuple[Held, float]:
    """(what was kept, when) from a generation's file; GenerationError where it is not whole or not for this key."""
    if len(data) < _HEADER.size + _CHECKSUM_BYTES:
        raise GenerationError("it is torn: not even its header is whole")
    header, rest = data[: _HEADER.size], data[_HEADER.size :]
    magic, version, key_of, _, saved, length = _HEADER.unpack(header)
    if magic != MAGIC:
        raise GenerationError("it is not a kept configuration")
    if version != FORMAT:
        raise GenerationError(f"it has format {version}, and this version reads format {FORMAT}")
    checksum, sealed = rest[:_CHECKSUM_BYTES], rest[_CHECKSUM_BYTES:]
    if len(sealed) != length or sha256(header + sealed).digest() != checksum:
        raise GenerationError("it is torn or damaged: the checksum does not match")
    if key_of != key_id(key):
        raise GenerationError("it was encrypted with another key; is FLEXGATE_CACHE_KEY the one it was kept with?")
    try:
        snapshot = Snapshot.FromString(unseal(key, sealed, header))
    except (SealError, DecodeError) as error:
        raise GenerationError(str(error)) from error
    table = Table(snapshot.resources)
    if table.digest != snapshot.digest:
        raise GenerationError("its resources do not have the digest they were kept with")
    return Held(table, snapshot.revision, snapshot.store_epoch), saved


def read_generation(path: Path, key: bytes) -> Generation:
    """The generation in this file; GenerationError names the file and says why there is none."""
    try:
        held, saved = decode(path.read_bytes(), key)
    except OSError as error:
        raise GenerationError(f"{path}: cannot be read: {error.strerror}") from error
    except GenerationError as error:
        raise GenerationError(f"{path}: {error}") from error
    return Generation(path, held, saved)


def is_generation(path: Path) -> bool:
    """Whether this file is a kept configuration rather than a YAML document."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _probe(directory: Path) -> None:
    """Find out now whether files can be made here, and take away what a crash left half-written."""
    for left in directory.glob("*.tmp"):
        left.unlink(missing_ok=True)
    probe = directory / "probe.tmp"
    probe.write_bytes(b"")
    probe.unlink()


def _write_durably(path: Path, data: bytes) -> None:
    """All of it or nothing, also across a power cut."""
    fresh = path.with_suffix(".tmp")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
