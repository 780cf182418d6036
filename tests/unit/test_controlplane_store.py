"""Revisions survive a restart, and never lie about what they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.start_error import StartError
from controlplane.state import State, StateFile, locked
from controlplane.store import Committed, Write
from controlplane.store.file import FileStore
from shared.faults import ConfigError
from shared.pb.resources_pb2 import Resource
from shared.table import Table


def table(*names: str) -> Table:
    return Table(Resource(kind="route", name=name) for name in names)


def store(directory: Path) -> FileStore:
    """What a process that starts over this directory has."""
    return FileStore(StateFile(directory))


async def commit(into: FileStore, made: Table) -> Committed:
    return await into.commit(None, Write((), made))


async def test_revisions_count_changes(tmp_path: Path) -> None:
    """Each different table is the next revision; the same table is the same revision."""
    files = store(tmp_path)
    revisions = [(await commit(files, made)).revision for made in (table("a"), table("a"), table("b"), table("a"))]
    assert revisions == [1, 1, 2, 3]
    newest = await files.read()
    assert newest is not None
    assert newest.table == table("a")


async def test_a_restart_keeps_the_revision(tmp_path: Path) -> None:
    """The same file after a restart is the same revision of the same epoch; another one counts on."""
    before = await commit(store(tmp_path), table("a"))
    again = await commit(store(tmp_path), table("a"))
    changed = await commit(store(tmp_path), table("b"))
    assert (again.epoch, again.revision) == (before.epoch, before.revision)
    assert (changed.epoch, changed.revision) == (before.epoch, 2)


async def test_lost_state_starts_a_new_epoch(tmp_path: Path) -> None:
    """Without its state a control plane cannot know which revision this is, and says so by a new epoch."""
    before = await commit(store(tmp_path), table("a"))
    (tmp_path / "state.json").unlink()
    after = await commit(store(tmp_path), table("a"))
    assert after.epoch != before.epoch
    assert after.revision == 1


@given(st.binary(max_size=60))
def test_a_broken_state_file_is_no_state(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever stands in the file, reading it gives a sound state or none, and never fails."""
    file = StateFile(tmp_path_factory.mktemp("state"))
    file.path.write_bytes(content)
    state = file.read()
    assert state is None or (state.epoch and state.revision > 0)


@pytest.mark.parametrize(
    "content", ['{"epoch": "", "revision": 1, "digest": ""}', '{"epoch": "e", "revision": 0}', "[]"]
)
def test_an_unsound_state_is_no_state(tmp_path: Path, content: str) -> None:
    """JSON of another shape is not believed."""
    file = StateFile(tmp_path)
    file.path.write_text(content)
    assert file.read() is None


def test_state_round_trip(tmp_path: Path) -> None:
    """What was written is read, and nothing else is left in the directory."""
    file = StateFile(tmp_path)
    file.write(State("e", 7, "aa"))
    assert file.read() == State("e", 7, "aa")
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


async def test_a_disk_that_refuses_changes_nothing(tmp_path: Path) -> None:
    """When the revision cannot be kept the commit fails, and the one before it still stands."""
    directory = tmp_path / "state"
    directory.mkdir()
    files = store(directory)
    await commit(files, table("a"))
    (directory / "state.tmp").mkdir()  # the temporary file cannot be opened
    with pytest.raises(ConfigError, match="cannot keep revision 2"):
        await commit(files, table("b"))
    newest = await files.read()
    assert newest is not None
    assert newest.revision == 1


def test_one_control_plane_for_each_directory(tmp_path: Path) -> None:
    """A second one is refused while the first runs, and a directory that cannot be made is named."""
    with locked(tmp_path / "state"), pytest.raises(StartError, match="in use"), locked(tmp_path / "state"):
        pass
    with locked(tmp_path / "state") as file:
        assert file.read() is None
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be written"), locked(tmp_path / "file" / "state"):
        pass
