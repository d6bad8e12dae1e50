"""The states that a power cut may leave are those that POSIX allows: no more, or a test would cry wolf, and no fewer."""

from __future__ import annotations

from pathlib import Path

from mlpdata import durable
from mlpdata.testing.crash_states import State, recorded_folder, write_tree


def states_at_the_end(folder: Path, *left_out: str) -> list[State]:
    """After `kept` was replaced by new bytes, without these syncs."""
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "kept").write_bytes(b"old")
    record = recorded_folder(folder, lambda: durable.replace(folder / "part" / "kept", b"new bytes"))
    names = [record.moments[sync].path for sync in record.syncs]
    assert names == ["part/kept.tmp", "part"]
    missing = {sync for sync in record.syncs if record.moments[sync].path in left_out}
    return list(record.crash_states(record.end, "part", missing))


def found(states: list[State]) -> set[bytes | None]:
    return {state.get("part/kept") for state in states}


def test_what_was_synced_is_there(tmp_path: Path) -> None:
    assert found(states_at_the_end(tmp_path)) == {b"new bytes"}


def test_without_the_sync_of_the_file_its_bytes_may_be_gone(tmp_path: Path) -> None:
    assert found(states_at_the_end(tmp_path, "part/kept.tmp")) >= {b"", b"new bytes", b"new ", bytes(9)}


def test_without_the_sync_of_the_folder_the_rename_may_be_gone(tmp_path: Path) -> None:
    assert found(states_at_the_end(tmp_path, "part")) == {b"old", b"new bytes"}


def test_a_file_that_nobody_touched_is_always_there(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "other").write_bytes(b"as it was")
    record = recorded_folder(tmp_path, lambda: durable.write(tmp_path / "part" / "new", b"1"))

    states = [state for moment in range(record.end + 1) for state in record.crash_states(moment, "part")]

    assert {state["part/other"] for state in states} == {b"as it was"}
    assert {state.get("part/new") for state in states} == {None, b"", b"\0", b"1"}


def test_a_state_is_written_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there" / "before").mkdir(parents=True)
    write_tree({"a": None, "a/b": b"1"}, tmp_path / "there")
    assert [path.name for path in sorted((tmp_path / "there").rglob("*"))] == ["a", "b"]
    assert (tmp_path / "there" / "a" / "b").read_bytes() == b"1"
