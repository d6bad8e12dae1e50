"""Durable operations: atomic, synced, explained, and open to injected faults."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mlpdata import durable
from mlpdata.errors import CommitUncertain, StoreError
from mlpdata.testing.faults import Operation, failing_at, kill_at, recorded


def test_a_replaced_file_has_the_new_content_and_no_leftover(tmp_path: Path) -> None:
    durable.replace(tmp_path / "HEAD", b"one")
    durable.replace(tmp_path / "HEAD", b"two")

    assert (tmp_path / "HEAD").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["HEAD"]


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path: Path) -> None:
    operations = recorded(lambda: durable.replace(tmp_path / "HEAD", b"one"))

    assert operations == [
        Operation("open", tmp_path / "HEAD.tmp"),
        Operation("write", tmp_path / "HEAD.tmp"),
        Operation("fsync", tmp_path / "HEAD.tmp"),
        Operation("rename", tmp_path / "HEAD"),
        Operation("fsync", tmp_path),
    ]


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_replacement_that_fails_or_dies_before_the_rename_leaves_the_old_content(tmp_path: Path, nth: int) -> None:
    durable.replace(tmp_path / "HEAD", b"old")

    with failing_at(nth), pytest.raises(StoreError, match="full"):
        durable.replace(tmp_path / "HEAD", b"new")
    assert kill_at(nth, lambda: durable.replace(tmp_path / "HEAD", b"new"))

    assert (tmp_path / "HEAD").read_bytes() == b"old"


def test_a_sync_that_fails_after_the_rename_is_the_one_uncertain_outcome(tmp_path: Path) -> None:
    durable.replace(tmp_path / "HEAD", b"old")

    with failing_at(5, errno.EIO), pytest.raises(CommitUncertain, match="verify"):
        durable.replace(tmp_path / "HEAD", b"new")

    assert (tmp_path / "HEAD").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("error", "cure"),
    [(errno.ENOSPC, "Free space"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only"), (errno.EMFILE, "ulimit -n")],
)
def test_an_error_of_the_disk_names_the_file_and_the_cure(tmp_path: Path, error: int, cure: str) -> None:
    with failing_at(1, error), pytest.raises(StoreError, match=cure) as caught:
        durable.write(tmp_path / "x", b"1")

    assert caught.value.path == str(tmp_path / "x")
    assert os.strerror(error) in str(caught.value)


def test_pieces_are_written_one_after_the_other(tmp_path: Path) -> None:
    durable.write(tmp_path / "x", (bytes([i]) * 3 for i in (65, 66)))

    assert (tmp_path / "x").read_bytes() == b"AAABBB"


def test_a_stream_can_be_cut_and_go_on(tmp_path: Path) -> None:
    with durable.Stream(tmp_path / "x") as stream:
        stream.write(b"keep drop")
        stream.truncate(5)
        stream.write(b"more")
    with durable.Stream(tmp_path / "x", "a") as stream:
        stream.write(b"!")

    assert (tmp_path / "x").read_bytes() == b"keep more!"


def test_folders_are_made_with_their_parents_and_synced_in_them(tmp_path: Path) -> None:
    operations = recorded(lambda: durable.make_folder(tmp_path / "a" / "b"))

    assert (tmp_path / "a" / "b").is_dir()
    assert [(name, path.name) for name, path in operations] == [
        ("mkdir", "a"), ("fsync", tmp_path.name), ("mkdir", "b"), ("fsync", "a"),
    ]  # fmt: skip
    assert recorded(lambda: durable.make_folder(tmp_path / "a" / "b")) == []


def test_a_tree_is_synced_from_the_leaves_up(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"1")

    operations = recorded(lambda: durable.sync_tree(tmp_path / "a"))

    assert [path.name for _, path in operations] == ["x", "b", "a"]
    assert {name for name, _ in operations} == {"fsync"}


def test_a_tree_is_removed_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").write_bytes(b"1")
    (tmp_path / "scratch" / "deep").mkdir(parents=True)
    (tmp_path / "scratch" / "link").symlink_to(tmp_path / "precious")

    durable.remove_tree(tmp_path / "scratch")

    assert not (tmp_path / "scratch").exists()
    assert (tmp_path / "precious" / "x").exists()


def test_a_staging_folder_of_the_living_stays_and_of_the_dead_goes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    mark = durable.mark_alive(tmp_path / "a")

    assert not durable.remove_dead(tmp_path / "a")
    os.close(mark)
    assert durable.remove_dead(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    def hold_and_die() -> None:
        with durable.lock(tmp_path / "lock"):
            durable.write(tmp_path / "x", b"1")

    assert kill_at(2, hold_and_die)

    with durable.lock(tmp_path / "lock", timeout=0.0):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_the_type_of_a_file_system_is_known() -> None:
    assert durable.file_system(Path("/proc/self")) == "proc"


def test_a_second_name_is_the_same_file_and_is_synced(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    operations = recorded(lambda: durable.link(tmp_path / "one", tmp_path / "two"))

    assert (tmp_path / "one").samefile(tmp_path / "two")
    assert [(one.name, one.path.name) for one in operations] == [("link", "two"), ("fsync", tmp_path.name)]
    with pytest.raises(StoreError):
        durable.link(tmp_path / "one", tmp_path / "two")
