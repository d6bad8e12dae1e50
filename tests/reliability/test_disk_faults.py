"""A disk that refuses, is full, or takes less than it was given: the commit says so, and nothing is changed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from store_commits import COMMITS, Ground, frames, shown
from trials import FAULTS, after_fault, small_disk

from mlpdata.errors import CommitUncertain, StoreError
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.disks import why_no_mounts
from mlpdata.testing.faults import failing_at, recorded, short_writes
from mlpdata.testing.samples import calculation

SIZES = 64
"""Of disks, from one that is full already to one that is large enough."""


def ground_of(name: str, tmp_path: Path) -> Ground:
    return Ground(next(commit for commit in COMMITS if commit.name == name), tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_at_any_operation_of_an_ingest_changes_nothing(fault: str, tmp_path: Path) -> None:
    ground = ground_of("ingest that amends", tmp_path)
    ground.renew()
    operations = recorded(ground.act)
    ground.renew()

    for nth, operation in enumerate(operations, 1):
        assert after_fault(ground, fault, nth) == [], operation


@pytest.mark.parametrize("name", ["first ingest", "retraction"])
def test_a_disk_that_fails_at_any_operation_of_other_commits_changes_nothing(name: str, tmp_path: Path) -> None:
    ground = ground_of(name, tmp_path)
    ground.renew()
    n_operations = len(recorded(ground.act))
    ground.renew()

    for nth in range(1, n_operations + 1):
        fault = list(FAULTS)[nth % len(FAULTS)]
        assert after_fault(ground, fault, nth) == [], (nth, fault)


def test_a_tag_whose_folder_cannot_be_synced_is_uncertain(tmp_path: Path) -> None:
    ground = ground_of("tag", tmp_path)
    ground.renew()
    n_operations = len(recorded(ground.act))
    for nth in range(1, n_operations + 1):
        ground.renew()
        with failing_at(nth, errno.EIO), pytest.raises(StoreError) as caught:
            ground.act()
        uncertain = isinstance(caught.value, CommitUncertain)
        assert uncertain == (nth == n_operations)
        assert ground.faults(ground.new if uncertain else ground.old) == []


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(tmp_path: Path) -> None:
    ground = ground_of("ingest that amends", tmp_path)
    ground.renew()
    with short_writes():
        ground.act()
    assert ground.faults(ground.new) == []


def test_a_disk_that_stays_full_leaves_no_scratch(tmp_path: Path) -> None:
    ground = ground_of("ingest", tmp_path)
    ground.renew()
    n_operations = len(recorded(ground.act))
    staging = ground.store.with_name("store.work") / "staging"

    for nth in range(1, n_operations, 7):
        ground.renew()
        with failing_at(nth, errno.ENOSPC, lasting=True), pytest.raises(StoreError, match="full"):
            ground.act()
        assert sum(path.stat().st_size for path in staging.rglob("*") if path.is_file()) == 0, nth
        assert ground.faults(ground.old) == []


@pytest.mark.skipif(bool(why_no_mounts()), reason=why_no_mounts())
@pytest.mark.parametrize("name", ["first ingest", "ingest that amends"])
def test_a_disk_that_is_really_full_changes_nothing(name: str, tmp_path: Path) -> None:
    with small_disk(ground_of(name, tmp_path)) as disk:
        n_bytes, n_files = disk.needed
        assert n_bytes > 100_000
        for number in range(SIZES // 2):
            room = n_bytes * number // (SIZES // 2 - 1)
            assert disk.faults(room) == [], f"{room} of {n_bytes} bytes"
        for room in range(1, n_files + 1, 8):
            assert disk.faults(n_bytes, room) == [], f"{room} of {n_files} files"


def test_a_writer_whose_disk_failed_is_never_committed_later(tmp_path: Path) -> None:
    ground = ground_of("ingest", tmp_path)
    ground.renew()
    repository = Repository.open(ground.store)
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(3))
        writer.end(calculation(3))
        with failing_at(9, errno.EIO), pytest.raises(StoreError):
            repository.commit(writer)
        with pytest.raises(StoreError):
            repository.commit(writer)

    assert shown(ground.store) == ground.old


def test_a_commit_that_failed_at_head_can_be_repeated_with_the_same_writer(tmp_path: Path) -> None:
    ground = ground_of("ingest", tmp_path)
    ground.renew()
    repository = Repository.open(ground.store)
    with repository.stage() as writer:
        for number in (3, 4, 5):
            writer.begin()
            writer.append(frames(number))
            writer.end(calculation(number))
        writer.finish()
        with failing_at(6, errno.EIO), pytest.raises(StoreError):
            repository.commit(writer)
        repository.commit(writer)
    assert shown(ground.store) == ground.new
    assert verify(ground.store).ok
