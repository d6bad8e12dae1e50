"""History: what each snapshot added and removed, counted by configuration."""

from __future__ import annotations

from pathlib import Path

from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.history import steps
from mlpdata.testing.samples import calculation, frames, ingest


def counts(store: Path) -> list[tuple[int, int]]:
    """Added and removed of each snapshot, the oldest first."""
    return [(one.added, one.removed) for one in steps(Repository.open(store))][::-1]


def test_what_is_added_and_what_is_hidden_is_counted(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = ingest(store, [1, 2], n_configurations=4)
    repository = Repository.open(store)
    repository.commit(retract=[(first.segments[0], calculation(1).record, "wrong")])
    repository.commit(restore=[(first.segments[0], calculation(1).record)])
    ingest(store, [3], n_configurations=5)

    assert counts(store) == [(8, 0), (0, 4), (4, 0), (5, 0)]


def test_a_reading_that_replaces_another_counts_by_what_differs(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = ingest(store, [1], n_configurations=4)
    repository = Repository.open(store)
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(4, 1).select([0, 1, 3]))
        writer.append(frames(2, 9))
        writer.end(calculation(1, citation="read anew"))
        repository.commit(writer, retract=[(first.segments[0], calculation(1).record, "superseded")])

    assert counts(store) == [(4, 0), (2, 1)]


def test_configurations_that_an_amendment_hides_are_removed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = ingest(store, [1], n_configurations=4)
    repository = Repository.open(store)
    repository.commit(amend=[Amended(first.segments[0], calculation(1).record, calculation(1), skip=3)])
    repository.commit(amend=[Amended(first.segments[0], calculation(1).record, calculation(1, kind="defect"), skip=1)])
    repository.commit(amend=[Amended(first.segments[0], calculation(1).record, calculation(1, kind="random"), skip=1)])

    assert counts(store) == [(4, 0), (0, 3), (2, 0), (0, 0)]


def test_steps_name_their_tags_and_end_where_asked(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        ingest(tmp_path / "store", [number])
    repository = Repository.open(tmp_path / "store")
    repository.tag("paper")
    repository.tag("v1")

    found = list(steps(repository, 2))

    assert [one.tags for one in found] == [("paper", "v1"), ()]
    assert [one.record for one in found] == list(repository.log())[:2]
