"""Tags: names for snapshots that hold until somebody says otherwise."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mlpdata import durable
from mlpdata.errors import CorruptError, NotFound, StoreError, UsageError
from mlpdata.store.commit import Repository
from mlpdata.testing.faults import recorded
from mlpdata.testing.samples import ingest


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Two snapshots."""
    ingest(tmp_path / "store", [1])
    ingest(tmp_path / "store", [2])
    return Repository.open(tmp_path / "store")


def ids(repository: Repository) -> list[str]:
    """Of the snapshots, the newest first."""
    return [one.id for one in repository.log()]


def test_a_tag_does_not_move_unless_that_is_asked(repository: Repository) -> None:
    new, old = ids(repository)
    repository.tag("v1", old)
    with pytest.raises(UsageError, match=f"stands for snapshot {old[:12]}. --move"):
        repository.tag("v1")
    assert repository.tags() == {"v1": old}

    repository.tag("v1", move=True)

    assert repository.tags() == {"v1": new}


def test_to_tag_the_same_snapshot_again_writes_nothing(repository: Repository) -> None:
    repository.tag("v1")
    operations = recorded(lambda: repository.tag("v1"))
    assert {one.name for one in operations} <= {"lock", "fsync"}


def test_a_tag_that_was_removed_can_be_given_anew(repository: Repository) -> None:
    new, old = ids(repository)
    repository.tag("v1", old)

    assert repository.untag("v1") == old
    assert repository.tags() == {}
    repository.tag("v1")
    assert repository.tags() == {"v1": new}


@pytest.mark.parametrize("name", ["v2", "../HEAD", "v1.tmp", "a/b"])
def test_a_tag_that_is_not_there_cannot_be_removed(repository: Repository, name: str) -> None:
    repository.tag("v1")
    with pytest.raises(NotFound, match="mlpdata tags"):
        repository.untag(name)
    assert list(repository.tags()) == ["v1"]
    assert repository.head() is not None


@pytest.mark.parametrize(
    ("name", "why"), [("deadbeef", "start of an id"), ("20260131", "start of an id"), ("2026-01-31", "date")]
)
def test_a_tag_that_would_be_read_as_something_else_is_refused(repository: Repository, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        repository.tag(name)
    assert repository.tags() == {}


def test_a_damaged_tag_is_named(repository: Repository) -> None:
    repository.tag("v1")
    (repository.path / "refs" / "v1").write_text("HEAD\n")
    with pytest.raises(CorruptError, match="refs/v1"):
        repository.snapshot("v1")


@pytest.mark.parametrize("nth", range(8))
@pytest.mark.parametrize("change", ["move", "remove"])
def test_a_disk_that_fails_leaves_the_tag_as_it_was_or_as_it_shall_be(
    repository: Repository, nth: int, change: str
) -> None:
    new, old = ids(repository)
    repository.tag("v1", old)
    calls = iter(range(100))

    def fail(operation: str, path: Path) -> None:
        if next(calls) == nth:
            raise OSError(errno.EIO, "Input/output error", str(path))

    durable.set_hook(fail)
    try:
        repository.tag("v1", move=True) if change == "move" else repository.untag("v1")
    except StoreError:
        durable.set_hook(None)
        assert repository.tags() in ({"v1": old}, {"v1": new} if change == "move" else {})
    else:
        durable.set_hook(None)
        assert repository.tags() == ({"v1": new} if change == "move" else {})
    finally:
        durable.set_hook(None)
