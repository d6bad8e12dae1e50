"""Commits to a bucket: several writers, answers that are lost, a server that dies at any request."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from object_store import CUT, DROP, Bucket, Fault, Request

from mlpdata.api import Store
from mlpdata.errors import CommitUncertain, StoreError
from mlpdata.store import bucket as requests
from mlpdata.store import mirror
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation, frames, ingest

Machine = Callable[[str], Path]

WRITER = """
import sys
from mlpdata.testing.samples import ingest
store, first, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + n):
    ingest(store, [number], n_configurations=1)
"""


def is_commit(request: Request) -> bool:
    return request.method == "PUT" and request.path.endswith("/HEAD")


def at_commit(act: Callable[[], str | None]) -> Fault:
    """What to do to the first request that would replace HEAD; other requests pass."""
    done: list[bool] = []

    def fault(number: int, request: Request) -> str | None:
        if is_commit(request) and not done:
            done.append(True)
            return act()
        return None

    return fault


def lost_and_built_upon(act: Callable[[], object]) -> Fault:
    """The answer to the first commit is lost; before it is sent again, `act` commits upon it."""
    count = iter(range(3))

    def fault(number: int, request: Request) -> str | None:
        nth = next(count, 2) if is_commit(request) else 2
        if nth == 1:
            act()
        return DROP if nth == 0 else None

    return fault


def runs(store: str) -> list[str]:
    return sorted(one.path for one in Store(store).snapshot().calculations())


@pytest.mark.parametrize("n", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_two_machines_that_commit_at_once_lose_nothing(bucket: Bucket, tmp_path: Path, n: int) -> None:
    store = bucket.fresh()
    Repository.create(store)
    bucket.begin()

    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, store, str(first), str(n)],
            env={**os.environ, "MLPDATA_CACHE": str(tmp_path / f"machine {first}")},
        )
        for first in (0, n)
    ]
    assert [writer.wait() for writer in writers] == [0, 0]

    assert runs(store) == sorted(calculation(number).path for number in range(2 * n))
    assert len(list(Store(store).log())) == 2 * n
    assert sum(map(is_commit, bucket.requests)) > 2 * n  # some had to be worked out again: they did meet
    assert verify(store).ok


@pytest.fixture
def other(bucket: Bucket, machine: Machine) -> tuple[str, Repository]:
    """A store with the run 1, and its repository on another machine; this one is `mine`."""
    store = bucket.fresh()
    machine("other")
    ingest(store, [1])
    found = Repository.open(store)
    machine("mine")
    return store, found


def commit_to(repository: Repository, number: int) -> None:
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(3, number))
        writer.end(calculation(number))
        repository.commit(writer)


def test_a_commit_that_comes_second_is_worked_out_upon_the_first(bucket: Bucket, other: tuple[str, Repository]) -> None:
    store, repository = other
    bucket.begin(at_commit(lambda: commit_to(repository, 2)))

    mine = ingest(store, [3])

    assert mine.parents == (next(iter(list(Store(store).log())[1:])).id,)
    assert runs(store) == [calculation(number).path for number in (1, 2, 3)]
    assert len(list(Store(store).log())) == 3


def test_the_same_run_from_two_machines_at_once_is_shown_once(bucket: Bucket, other: tuple[str, Repository]) -> None:
    store, repository = other
    bucket.begin(at_commit(lambda: commit_to(repository, 2)))

    ingest(store, [2, 3])

    assert runs(store) == [calculation(number).path for number in (1, 2, 3)]


@pytest.mark.parametrize("fault", [CUT, DROP])
def test_a_commit_whose_answer_is_lost_once_takes_place_once(
    bucket: Bucket, other: tuple[str, Repository], fault: str
) -> None:
    store, _ = other
    bucket.begin(at_commit(lambda: fault))

    mine = ingest(store, [2])

    assert next(one.id for one in Store(store).log()) == mine.id
    assert len(list(Store(store).log())) == 2
    assert runs(store) == [calculation(number).path for number in (1, 2)]


def test_a_commit_upon_which_another_was_built_before_its_answer_came_is_acknowledged(
    bucket: Bucket, other: tuple[str, Repository]
) -> None:
    store, repository = other
    bucket.begin(lost_and_built_upon(lambda: commit_to(repository, 9)))

    mine = ingest(store, [2])

    assert [one.id for one in Store(store).log()][1] == mine.id
    assert runs(store) == [calculation(number).path for number in (1, 2, 9)]
    assert len(list(Store(store).log())) == 3


def test_a_retraction_whose_answer_was_lost_does_not_undo_what_another_did_after_it(
    bucket: Bucket, other: tuple[str, Repository]
) -> None:
    store, repository = other
    key = next((segment, one.record) for segment, one, _ in repository.snapshot().segment_calculations())
    bucket.begin(lost_and_built_upon(lambda: repository.commit(restore=[key])))

    Repository.open(store).commit(retract=[(*key, "a mistake")])

    assert runs(store) == [calculation(1).path]
    assert len(list(Store(store).log())) == 3


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon, so that many deaths of a server can be tried."""
    monkeypatch.setattr(requests, "RETRIES", 0)
    monkeypatch.setattr(mirror, "WAITS", (0.01,))


def test_a_server_that_dies_at_the_commit_leaves_it_uncertain_and_says_so(
    bucket: Bucket, other: tuple[str, Repository], impatient: None
) -> None:
    store, _ = other
    for fault, n_snapshots in ((CUT, 1), (DROP, 2)):
        dead: list[str] = []

        def die(number: int, request: Request, fault: str = fault, dead: list[str] = dead) -> str | None:
            if is_commit(request) or dead:
                dead.append(CUT)
                return fault if len(dead) == 1 else CUT
            return None

        bucket.begin(die)
        with pytest.raises(CommitUncertain, match="repeat the command"):
            ingest(store, [2])
        bucket.begin()
        assert len(list(Store(store).log())) == n_snapshots

    assert ingest(store, [2]) == Repository.open(store).head()
    assert len(list(Store(store).log())) == 2


@pytest.mark.parametrize("fault", [CUT, DROP])
def test_a_server_that_dies_at_any_request_leaves_the_old_version_or_the_new(
    bucket: Bucket, machine: Machine, impatient: None, fault: str
) -> None:
    count, content = cost_of_a_commit(bucket, machine)
    for nth in sorted({*range(0, count, 9), *range(count - 4, count)}):
        store = bucket.fresh()
        machine(f"writer {nth}")
        Repository.create(store)
        bucket.begin(lambda number, _, nth=nth: None if number < nth else fault if number == nth else CUT)
        try:
            ingest(store, [1])
            expected = {1}
        except CommitUncertain:
            expected = {0, 1}
        except StoreError:
            expected = {0}

        bucket.begin()
        machine(f"reader {nth}")
        repository = Repository.open(store)
        assert len(list(repository.log())) in expected, f"request {nth} of {count}"
        assert ingest(store, [1]).content == content
        machine(f"third {nth}")
        np.testing.assert_array_equal(Store(store).snapshot().read(frames(3, 1).ids()).forces, frames(3, 1).forces)
    assert verify(store).ok


def cost_of_a_commit(bucket: Bucket, machine: Machine) -> tuple[int, str]:
    """How many requests the commit of one run takes, and the content that it leads to."""
    machine("counting")
    store = bucket.fresh()
    Repository.create(store)
    bucket.begin()
    content = ingest(store, [1]).content
    return len(bucket.requests), content


def test_a_tag_that_another_writer_moves_meanwhile_is_not_moved_back(
    bucket: Bucket, other: tuple[str, Repository]
) -> None:
    store, repository = other
    repository.tag("best")
    second, third = ingest(store, [2]), ingest(store, [3])

    def another(number: int, request: Request) -> str | None:
        if request.method == "PUT" and request.path.endswith("refs/best") and not moved:
            moved.append(True)
            repository.tag("best", third.id, move=True)
        return None

    moved: list[bool] = []
    bucket.begin(another)
    with pytest.raises(StoreError, match="another writer"):
        Repository.open(store).tag("best", second.id, move=True)
    assert Store(store).snapshot("best").record == Store(store).snapshot().record


def test_two_machines_that_make_a_store_at_once_make_one(bucket: Bucket, machine: Machine) -> None:
    store = bucket.fresh()

    def another() -> None:
        machine("other")
        ingest(store, [1])

    bucket.begin(at_commit(another))

    ingest(store, [2])

    assert runs(store) == [calculation(number).path for number in (1, 2)]
