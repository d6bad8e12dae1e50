"""Kill the process, or fail the disk, at every durable operation of an ingest of three runs.

Whatever happens where: the store shows the old version or the new one, nothing in it is damaged, and the same ingest
completes afterwards.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from mlpdata.errors import CommitUncertain, StoreError
from mlpdata.frames import Frames
from mlpdata.schema.records import Snapshot
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.faults import DISK_ERRORS, Operation, failing_at, kill_at, recorded
from mlpdata.testing.samples import calculation

PARTS = 4
"""The operations are shared out over this many tests, so that they may run beside each other."""


def frames(number: int) -> Frames:
    """Two configurations, as few arrays as a run can have."""
    random = np.random.default_rng(number)
    return Frames(
        [2, 1],
        {
            "atomic_numbers": [14, 14, 8],
            "positions": random.normal(size=(3, 3)),
            "pbc": np.zeros((2, 3)),
            "energy": random.normal(size=2),
            "forces": random.normal(size=(3, 3)),
        },
    )


def ingest(store: Path, numbers: tuple[int, ...]) -> Snapshot:
    repository = Repository.open_or_create(store)
    with repository.stage() as writer:
        for number in numbers:
            writer.begin()
            writer.append(frames(number))
            writer.end(calculation(number))
        return repository.commit(writer)


def ingest_three_runs(store: Path) -> Snapshot:
    return ingest(store, (3, 4, 5))


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A store of two runs, never touched; tests copy it."""
    ingest(tmp_path / "before" / "store", (1, 2))
    return tmp_path / "before"


def fresh(before: Path) -> Path:
    """A copy of the store of two runs."""
    folder = before.with_name("copy")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder)
    return folder / "store"


def shown(store: Path) -> str:
    head = Repository.open(store).head()
    assert head is not None
    return head.content


def plan(before: Path) -> tuple[list[Operation], str, str]:
    """The durable operations of the ingest, and the content before and after."""
    store = fresh(before)
    old = shown(store)
    operations = recorded(lambda: ingest_three_runs(store))
    return operations, old, shown(store)


def check_old_or_new_and_complete(store: Path, old: str, new: str, where: Operation) -> None:
    assert shown(store) in {old, new}, where
    assert verify(store).faults == [], where
    assert ingest_three_runs(store).content == new, where
    assert list((store.with_name("store.work") / "staging").iterdir()) == [], where


@pytest.mark.parametrize("part", range(PARTS))
def test_a_killed_ingest_leaves_the_old_snapshot_or_the_new(before: Path, part: int) -> None:
    operations, old, new = plan(before)
    assert len(operations) > 80

    for nth in range(1 + part, len(operations) + 1, PARTS):
        store = fresh(before)
        assert kill_at(nth, lambda store=store: ingest_three_runs(store))
        check_old_or_new_and_complete(store, old, new, operations[nth - 1])


def test_the_snapshot_is_new_only_after_head_was_replaced(before: Path) -> None:
    operations, old, new = plan(before)
    last = len(operations)
    assert [(one.name, one.path.name) for one in operations[-2:]] == [("rename", "HEAD"), ("fsync", "store")]

    for nth, expected in ((last - 1, old), (last, new)):
        store = fresh(before)
        assert kill_at(nth, lambda store=store: ingest_three_runs(store))
        assert shown(store) == expected


def test_a_kill_while_a_store_is_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    new = ingest_three_runs(tmp_path / "whole" / "store").content
    operations = recorded(lambda: Repository.create(tmp_path / "count" / "store"))

    for nth in range(1, len(operations) + 1):
        store = tmp_path / str(nth) / "store"
        assert kill_at(nth, lambda store=store: ingest_three_runs(store))
        assert ingest_three_runs(store).content == new, operations[nth - 1]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_disk_that_fails_once_changes_nothing(before: Path, part: int) -> None:
    operations, old, new = plan(before)

    for nth in range(1 + part, len(operations) + 1, PARTS):
        store = fresh(before)
        error = DISK_ERRORS[nth % len(DISK_ERRORS)]
        with failing_at(nth, error), pytest.raises(StoreError) as caught:
            ingest_three_runs(store)
        uncertain = isinstance(caught.value, CommitUncertain)
        assert uncertain == (nth == len(operations)), operations[nth - 1]
        assert shown(store) == (new if uncertain else old), operations[nth - 1]
        check_old_or_new_and_complete(store, old, new, operations[nth - 1])


def test_a_disk_that_stays_full_changes_nothing_and_leaves_no_scratch(before: Path) -> None:
    operations, old, new = plan(before)

    for nth in range(1, len(operations), 7):
        store = fresh(before)
        with failing_at(nth, errno.ENOSPC, lasting=True), pytest.raises(StoreError, match="full"):
            ingest_three_runs(store)
        staging = store.with_name("store.work") / "staging"
        assert shown(store) == old
        assert sum(path.stat().st_size for path in staging.rglob("*") if path.is_file()) == 0, operations[nth - 1]
        check_old_or_new_and_complete(store, old, new, operations[nth - 1])


def ingest_and_amend(store: Path) -> Snapshot:
    """One commit that brings run 3, and shows runs 1 and 3 with other attributes."""
    repository = Repository.open(store)
    head = repository.snapshot().record
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(3))
        writer.end(calculation(3))
        staged = repository.adopt(writer)
        segment = head.segments[-1] if staged is None or staged.segment is None else staged.segment
        amended = [
            Amended(head.segments[0], calculation(1).record, calculation(1, kind="random"), 1),
            Amended(segment, calculation(3).record, calculation(3, continues=calculation(1).path)),
        ]
        return repository.commit(staged=[staged] if staged else (), amend=amended, by="ann", why="rattled")


def check_old_or_new_and_amend(store: Path, old: str, new: str, where: Operation) -> None:
    assert shown(store) in {old, new}, where
    assert verify(store).faults == [], where
    kinds = [one.kind for one in Repository.open(store).snapshot().calculations()]
    assert kinds == (["aimd"] * 2 if shown(store) == old else ["random", "aimd", "aimd"]), where
    assert ingest_and_amend(store).content == new, where
    assert len(Repository.open(store).snapshot().record.amendments) == 1, where
    assert list((store.with_name("store.work") / "staging").iterdir()) == [], where


def plan_amendment(before: Path) -> tuple[list[Operation], str, str]:
    store = fresh(before)
    old = shown(store)
    operations = recorded(lambda: ingest_and_amend(store))
    return operations, old, shown(store)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_killed_amendment_leaves_the_old_snapshot_or_the_new(before: Path, part: int) -> None:
    operations, old, new = plan_amendment(before)
    assert sum(one.path.parent.name == "amendments" for one in operations) >= 4  # open, write, sync, rename
    assert old != new

    for nth in range(1 + part, len(operations) + 1, PARTS):
        store = fresh(before)
        assert kill_at(nth, lambda store=store: ingest_and_amend(store))
        check_old_or_new_and_amend(store, old, new, operations[nth - 1])


def test_a_disk_that_fails_during_an_amendment_changes_nothing(before: Path) -> None:
    operations, old, new = plan_amendment(before)
    moved = next(nth for nth, one in enumerate(operations, 1) if one.name == "rename")  # before it nothing is new here

    for nth in range(moved, len(operations) + 1):
        store = fresh(before)
        error = DISK_ERRORS[nth % len(DISK_ERRORS)]
        with failing_at(nth, error), pytest.raises(StoreError) as caught:
            ingest_and_amend(store)
        uncertain = isinstance(caught.value, CommitUncertain)
        assert uncertain == (nth == len(operations)), operations[nth - 1]
        assert shown(store) == (new if uncertain else old), operations[nth - 1]
        check_old_or_new_and_amend(store, old, new, operations[nth - 1])


def test_a_writer_whose_disk_failed_is_never_committed_later(before: Path) -> None:
    store = fresh(before)
    old = shown(store)
    repository = Repository.open(store)
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(3))
        writer.end(calculation(3))
        with failing_at(9, errno.EIO), pytest.raises(StoreError):
            repository.commit(writer)
        with pytest.raises(StoreError):
            repository.commit(writer)

    assert shown(store) == old


def test_a_commit_that_failed_at_head_can_be_repeated_with_the_same_writer(before: Path) -> None:
    store = fresh(before)
    repository = Repository.open(store)
    operations, _, new = plan(before)
    store = fresh(before)
    with repository.stage() as writer:
        for number in (3, 4, 5):
            writer.begin()
            writer.append(frames(number))
            writer.end(calculation(number))
        count = len(recorded(writer.finish))
        assert count < len(operations)
        with failing_at(6, errno.EIO), pytest.raises(StoreError):
            repository.commit(writer)
        assert repository.commit(writer).content == new
    assert verify(store).ok
