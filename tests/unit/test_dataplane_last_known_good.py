"""What is kept on disk: whatever happens to the files, a whole generation is read or none."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.config_source import Held
from dataplane.last_known_good import (
    GENERATIONS,
    Generation,
    GenerationError,
    LastKnownGood,
    decode,
    encode,
    is_generation,
)
from dataplane.seal import KEY_FILE, SealError, key_in, seal, unseal
from shared.faults import ConfigError
from tests.integration.stream_target import table

KEY = bytes(range(32))
HELD = Held(table("a", "b"), 7, "epoch")
FILE = encode(HELD, KEY, 1234.5)


def revisions(cache: LastKnownGood) -> list[int | str]:
    """The revisions on disk, newest first; for what cannot be read, why."""
    return [one.held.revision if isinstance(one, Generation) else str(one) for one in cache.read()]


def test_what_was_kept_comes_back() -> None:
    """Table, revision, epoch and time survive the disk."""
    held, saved = decode(FILE, KEY)
    assert held == Held(held.table, 7, "epoch")
    assert (held.table, held.table.digest, saved) == (HELD.table, HELD.table.digest, 1234.5)


def test_a_file_torn_at_any_byte_is_refused() -> None:
    """However little of the file the disk has kept, it is never taken for a configuration."""
    for length in range(len(FILE)):
        with pytest.raises(GenerationError):
            decode(FILE[:length], KEY)


def test_a_file_with_any_byte_changed_is_refused() -> None:
    """Bit rot anywhere, in the header too, is found."""
    for place in range(len(FILE)):
        damaged = bytearray(FILE)
        damaged[place] ^= 0x40
        with pytest.raises(GenerationError):
            decode(bytes(damaged), KEY)


@given(st.binary(max_size=200), st.integers(0, len(FILE)), st.integers(0, 50))
def test_a_file_with_anything_spliced_in_is_refused(junk: bytes, place: int, cut: int) -> None:
    """No content but the very one that was written loads."""
    damaged = FILE[:place] + junk + FILE[place + cut :]
    if damaged != FILE:
        with pytest.raises(GenerationError):
            decode(damaged, KEY)


def test_another_key_is_told_from_damage() -> None:
    """Who changed FLEXGATE_CACHE_KEY is told so."""
    with pytest.raises(GenerationError, match="another key"):
        decode(FILE, bytes(32))


def test_nothing_of_the_content_is_readable() -> None:
    """Names and values of the configuration do not stand in the file."""
    secret = encode(Held(table("a-very-secret-name"), 1), KEY, 0.0)
    assert b"secret" not in secret


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_only_the_same_key_and_header_unseal(plain: bytes, header: bytes) -> None:
    """Sealing is undone by the same key and header only."""
    sealed = seal(KEY, plain, header)
    assert unseal(KEY, sealed, header) == plain
    for key, other in ((bytes(32), header), (KEY, header + b"x")):
        with pytest.raises(SealError):
            unseal(key, sealed, other)


def test_three_generations_are_kept_newest_first(tmp_path: Path) -> None:
    """A fourth pushes out the oldest."""
    cache = LastKnownGood(tmp_path, KEY)
    for revision in range(1, 6):
        cache.save(Held(table("a"), revision, "e"))
    assert revisions(cache) == [5, 4, 3]
    assert len(cache.paths()) == GENERATIONS


def test_order_is_that_of_keeping_and_not_of_revisions(tmp_path: Path) -> None:
    """A store restored from a backup counts lower; what was kept last is newest all the same."""
    cache = LastKnownGood(tmp_path, KEY)
    cache.save(Held(table("a"), 90, "old"))
    cache.save(Held(table("a"), 2, "new"))
    assert revisions(LastKnownGood(tmp_path, KEY)) == [2, 90]


def test_a_damaged_generation_hides_none_of_the_others(tmp_path: Path) -> None:
    """The newest is damaged: it is told with its file and reason, and the one before is there."""
    cache = LastKnownGood(tmp_path, KEY)
    for revision in (1, 2, 3):
        path = cache.save(Held(table("a"), revision, "e"))
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "generation-00000002.lkg").unlink()
    (tmp_path / "generation-00000002.lkg").mkdir()  # cannot be read at all
    assert revisions(cache) == [
        f"{path}: it is torn or damaged: the checksum does not match",
        f"{tmp_path}/generation-00000002.lkg: cannot be read: Is a directory",
        1,
    ]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """The new generation cannot be written: the old one stays, and the next attempt may succeed."""
    cache = LastKnownGood(tmp_path, KEY)
    cache.save(Held(table("a"), 1, "e"))
    block = tmp_path / "generation-00000002.tmp"
    block.mkdir()  # stands where the file would be written
    with pytest.raises(OSError, match="directory"):
        cache.save(Held(table("b"), 2, "e"))
    assert revisions(cache) == [1]
    block.rmdir()
    cache.save(Held(table("b"), 2, "e"))
    assert revisions(cache) == [2, 1]


def test_what_a_crash_left_half_written_is_taken_away(tmp_path: Path) -> None:
    """Temporary files of a process that died do not pile up, and are never read."""
    LastKnownGood(tmp_path, KEY).save(Held(table("a"), 1, "e"))
    (tmp_path / "generation-00000002.tmp").write_bytes(FILE[:50])
    cache = LastKnownGood(tmp_path, KEY)
    assert revisions(cache) == [1]
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("key", [None, KEY], ids=["own", "given"])
def test_a_directory_that_was_taken_away_is_made_again(tmp_path: Path, key: bytes | None) -> None:
    """What is kept then can be read at the next start: the key that was in it is made again as well."""
    directory = tmp_path / "cache" / "worker-0"
    cache = LastKnownGood(directory, key)
    cache.save(HELD)
    shutil.rmtree(directory.parent)
    cache.save(HELD)
    assert revisions(cache) == revisions(LastKnownGood(directory, key)) == [7]


def test_files_are_for_this_user_only(tmp_path: Path) -> None:
    """Key and generations are readable by nobody else."""
    cache = LastKnownGood(tmp_path)
    path = cache.save(HELD)
    for file in (path, tmp_path / KEY_FILE):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_key_file_is_made_once(tmp_path: Path) -> None:
    """Without FLEXGATE_CACHE_KEY the same key serves every start; a key file cut short is made anew."""
    LastKnownGood(tmp_path).save(HELD)
    assert revisions(LastKnownGood(tmp_path)) == [7]
    (tmp_path / KEY_FILE).write_bytes(b"short")
    assert len(key_in(tmp_path)) == 32
    [reason] = revisions(LastKnownGood(tmp_path))
    assert "another key" in str(reason)


def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    """Found at start and not when the disk is needed; the line says what and what to do."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError) as error:
        LastKnownGood(tmp_path / "file" / "cache", KEY)
    [fault] = error.value.faults
    assert str(fault) == (
        f"the cache directory {tmp_path}/file/cache cannot be written to: Not a directory; give another --cache-dir"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_found_at_start(tmp_path: Path) -> None:
    """A directory without write permission is refused like one that cannot exist."""
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        LastKnownGood(tmp_path, KEY)


def test_kept_files_are_told_from_yaml(tmp_path: Path) -> None:
    """A seed may be either."""
    kept, written = tmp_path / "kept", tmp_path / "written.yml"
    kept.write_bytes(FILE)
    written.write_text("routes: []\n")
    assert (is_generation(kept), is_generation(written)) == (True, False)
