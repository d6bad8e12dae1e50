"""Commits: what a snapshot shows, whatever the order, the repetition and the company in which it was brought."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mlpdata import digest, durable
from mlpdata.errors import CorruptError, NewerSchema, NotFound, StoreError, StoreLocked, UsageError
from mlpdata.frames import concatenate
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.faults import recorded
from mlpdata.testing.samples import calculation, frames, ingest


def test_an_empty_store_has_no_snapshot_and_says_how_to_fill_it(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")

    assert repository.head() is None
    assert list(repository.log()) == []
    with pytest.raises(NotFound, match="mlpdata ingest"):
        repository.snapshot()


def test_where_there_is_no_store_the_error_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="mlpdata ingest"):
        Repository.open(tmp_path / "store")


def test_a_folder_with_other_files_does_not_become_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")

    with pytest.raises(StoreError, match="empty folder"):
        Repository.open_or_create(tmp_path)


def test_what_was_committed_is_read_back_in_the_order_of_the_ids(tmp_path: Path) -> None:
    ingest(tmp_path / "store", [1, 2, 3], n_configurations=5)

    snapshot = Repository.open(tmp_path / "store").snapshot()
    whole = concatenate([frames(5, number) for number in (1, 2, 3)])
    order = np.random.default_rng(0).permutation(15)
    read = snapshot.read(whole.ids()[order])
    for name, values in whole.select(order).arrays.items():
        np.testing.assert_array_equal(read.get(name), values)
    assert snapshot.calculations() == [calculation(1), calculation(2), calculation(3)]


def test_content_is_the_sum_over_calculations_whatever_their_order_and_segments(tmp_path: Path) -> None:
    expected = digest.content_id(sum(digest.shown(calculation(n).record, frames(3, n).ids()) for n in (1, 2, 3)))

    assert ingest(tmp_path / "at once", [1, 2, 3]).content == expected
    assert ingest(tmp_path / "reversed", [3, 2, 1]).content == expected
    ingest(tmp_path / "in turn", [2])
    assert ingest(tmp_path / "in turn", [1, 3]).content == expected


def test_the_same_calculations_give_the_same_segment_at_any_time_and_place(tmp_path: Path) -> None:
    first = ingest(tmp_path / "a", [1, 2], time="2020-01-01T00:00:00+00:00")
    second = ingest(tmp_path / "deeper" / "b", [1, 2], time="2024-05-05T00:00:00+00:00")

    assert first.segments == second.segments
    assert first.id != second.id


def test_ingesting_the_same_again_changes_nothing(tmp_path: Path) -> None:
    first = ingest(tmp_path / "store", [1, 2])

    assert ingest(tmp_path / "store", [1, 2]) == first
    assert ingest(tmp_path / "store", [2]) == first
    assert len(list((tmp_path / "store" / "segments").iterdir())) == 1


def test_a_calculation_that_is_stored_already_is_not_stored_twice(tmp_path: Path) -> None:
    ingest(tmp_path / "store", [1, 2])
    snapshot = ingest(tmp_path / "store", [2, 3])

    assert (snapshot.n_calculations, snapshot.n_configurations) == (3, 9)
    opened = Repository.open(tmp_path / "store").snapshot()
    assert [one.path for one in opened.calculations()] == [calculation(n).path for n in (1, 2, 3)]
    assert [segment.n_calculations for segment in opened.segments] == [2, 1]


@pytest.mark.parametrize("pending", [4, 8, 100])
def test_an_abandoned_calculation_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pending: int
) -> None:
    monkeypatch.setattr("mlpdata.store.segment.PENDING_CONFIGURATIONS", pending)
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as writer:
        for number in (1, 2, 3):
            writer.begin()
            for part in range(3):
                writer.append(frames(5, 10 * number + part, forces=number == 2))
            if number == 2:
                writer.abandon()
            else:
                writer.end(calculation(number))
        snapshot = repository.commit(writer)

    opened = repository.snapshot()
    whole = concatenate([frames(5, 10 * n + part, forces=False) for n in (1, 3) for part in range(3)])
    assert snapshot.n_configurations == 30
    np.testing.assert_array_equal(opened.ids(), whole.ids())
    assert "forces" not in opened.mapped.names
    assert verify(tmp_path / "store").ok


def test_the_writer_refuses_calls_out_of_order(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as writer:
        with pytest.raises(UsageError, match="begin"):
            writer.append(frames(1, 1))
        writer.begin()
        with pytest.raises(UsageError, match="not finished"):
            writer.begin()
        with pytest.raises(UsageError, match="not finished"):
            repository.commit(writer)


def test_one_record_with_two_sets_of_configurations_is_refused(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as writer:
        for seed in (1, 2):
            writer.begin()
            writer.append(frames(3, seed))
            if seed == 2:
                with pytest.raises(UsageError, match="found two for"):
                    writer.end(calculation(1))
                writer.abandon()
            else:
                writer.end(calculation(1))
        assert repository.commit(writer).n_configurations == 3


def test_a_retracted_calculation_is_not_shown_and_comes_back_when_restored(tmp_path: Path) -> None:
    first = ingest(tmp_path / "store", [1, 2])
    repository = Repository.open(tmp_path / "store")
    record = calculation(1).record

    hidden = repository.commit(retract=[(first.segments[0], record, "wrong cutoff")])
    opened = repository.snapshot()
    assert hidden.n_configurations == 3
    assert hidden.content == ingest(tmp_path / "other", [2]).content
    assert [one.reason for one in hidden.retracted] == ["wrong cutoff"]
    np.testing.assert_array_equal(opened.ids(), frames(3, 2).ids())
    with pytest.raises(NotFound, match=frames(3, 1).ids()[0].tobytes().hex()):
        opened.rows(frames(3, 1).ids())
    assert [(c.path, gone) for _, c, gone in opened.segment_calculations()] == [
        (calculation(1).path, True),
        (calculation(2).path, False),
    ]

    restored = repository.commit(restore=[(first.segments[0], record)])
    assert restored.content == first.content
    assert len(list(repository.log())) == 3


def test_ingesting_a_retracted_calculation_shows_it_again_without_storing_it_again(tmp_path: Path) -> None:
    first = ingest(tmp_path / "store", [1, 2])
    repository = Repository.open(tmp_path / "store")
    repository.commit(retract=[(first.segments[0], calculation(1).record, "vanished")])

    again = ingest(tmp_path / "store", [1])

    assert again.content == first.content
    assert again.segments == first.segments


def test_a_replaced_record_leaves_one_of_the_two(tmp_path: Path) -> None:
    first = ingest(tmp_path / "store", [1])
    repository = Repository.open(tmp_path / "store")
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(3, 1))
        writer.end(calculation(1, license="CC0-1.0"))
        second = repository.commit(writer, retract=[(first.segments[0], calculation(1).record, "license")])

    assert (second.n_calculations, second.n_configurations) == (1, 3)
    opened = repository.snapshot()
    assert opened.table("configurations")["license"].to_pylist() == ["CC0-1.0"] * 3
    assert opened.rows(frames(3, 1).ids()).tolist() == [3, 4, 5]


def test_retracting_what_is_not_there_is_refused(tmp_path: Path) -> None:
    first = ingest(tmp_path / "store", [1])

    with pytest.raises(NotFound, match="no record"):
        Repository.open(tmp_path / "store").commit(retract=[(first.segments[0], "0" * 64, "?")])


def test_two_writers_that_bring_the_same_show_it_once(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as ours, repository.stage() as theirs:
        for writer, numbers in ((ours, (1, 2)), (theirs, (2, 3))):
            for number in numbers:
                writer.begin()
                writer.append(frames(3, number))
                writer.end(calculation(number))
        repository.commit(theirs)
        snapshot = repository.commit(ours)

    assert (snapshot.n_calculations, snapshot.n_configurations) == (3, 9)
    assert snapshot.content == ingest(tmp_path / "other", [1, 2, 3]).content
    assert len(repository.snapshot().ids()) == 9
    assert verify(tmp_path / "store").ok


def commit_alone(store: Path, number: int, barrier: multiprocessing.synchronize.Barrier) -> None:
    barrier.wait()
    ingest(store, [number])


def test_processes_that_commit_at_once_are_all_present(tmp_path: Path) -> None:
    Repository.create(tmp_path / "store")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    writers = [context.Process(target=commit_alone, args=(tmp_path / "store", n, barrier)) for n in (1, 2, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    head = Repository.open(tmp_path / "store").head()
    assert head is not None
    assert head.content == ingest(tmp_path / "other", [1, 2, 3]).content
    assert len(list(Repository.open(tmp_path / "store").log())) == 3


def test_a_lock_held_by_another_names_the_process_and_the_cure(tmp_path: Path) -> None:
    with durable.lock(tmp_path / "lock"), pytest.raises(StoreLocked, match=r"process \d+\. Wait"):  # noqa: SIM117
        with durable.lock(tmp_path / "lock", timeout=0.05):
            pass


def test_a_living_writer_keeps_its_staging_folder_while_others_commit(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(3, 1))
        ingest(tmp_path / "store", [2])
        writer.end(calculation(1))
        assert repository.commit(writer).n_calculations == 2
    assert list((tmp_path / "store.work" / "staging").iterdir()) == []


def test_a_commit_of_a_relaxation_takes_fewer_than_sixty_syncs(tmp_path: Path) -> None:
    ingest(tmp_path / "store", [1])
    block = frames(3, 2)
    block = block.with_arrays(energy_no_entropy=block.energy, source_line=[1, 2, 3])
    repository = Repository.open(tmp_path / "store")

    def commit() -> None:
        with repository.stage() as writer:
            writer.begin()
            writer.append(block)
            writer.end(calculation(2))
            repository.commit(writer)

    assert sum(operation.name == "fsync" for operation in recorded(commit)) < 60


@pytest.mark.parametrize("name", ["v1", "paper-2.0"])
def test_a_tag_names_a_snapshot_for_good(tmp_path: Path, name: str) -> None:
    first = ingest(tmp_path / "store", [1])
    repository = Repository.open(tmp_path / "store")
    repository.tag(name)
    ingest(tmp_path / "store", [2])

    assert repository.snapshot(name).record == first
    assert repository.tags() == {name: first.id}


@pytest.mark.parametrize("name", ["", "../HEAD", "a/b", ".hidden", "x" * 200, "v1.tmp", "a\nb"])
def test_a_tag_that_is_no_plain_name_is_refused(tmp_path: Path, name: str) -> None:
    ingest(tmp_path / "store", [1])

    with pytest.raises(UsageError, match="letters"):
        Repository.open(tmp_path / "store").tag(name)


def test_a_snapshot_is_found_by_id_prefix_and_date(tmp_path: Path) -> None:
    first = ingest(tmp_path / "store", [1], time="2024-03-01T12:00:00+00:00")
    second = ingest(tmp_path / "store", [2], time="2024-03-02T12:00:00+00:00")
    repository = Repository.open(tmp_path / "store")

    assert [one.id for one in repository.log()] == [second.id, first.id]
    for at in (first.id, first.id[:8], "2024-03-01", "2024-03-02T11:59:59", "2024-03-02T13:00:00+02:00"):
        assert repository.snapshot(at).record == first
    assert repository.snapshot("2024-03-02").record == second
    for at in ("2024-02-29", "0" * 8, first.id[:7], "../../etc/passwd", "no-such-tag"):
        with pytest.raises(NotFound, match="mlpdata log"):
            repository.snapshot(at)


def test_the_time_of_a_commit_is_now(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    snapshot = ingest(tmp_path / "store", [1])

    assert abs((datetime.fromisoformat(snapshot.time) - before).total_seconds()) < 60


def test_a_store_of_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    head = ingest(tmp_path / "store", [1])
    newer = digest.canonical_json({**head.as_json(), "schema_version": 99, "novelty": 1})
    name = digest.sha256(newer)
    (tmp_path / "store" / "snapshots" / f"{name}.json").write_bytes(newer)
    (tmp_path / "store" / "HEAD").write_text(f"{name}\n")

    with pytest.raises(NewerSchema, match="Update mlpdata"):
        Repository.open(tmp_path / "store")


@pytest.mark.parametrize("text", ["", "../../etc/passwd\n", "A" * 64 + "\n", "0" * 64, "0" * 64 + "\n", "empty"])
def test_a_head_that_names_no_snapshot_is_damage_not_an_empty_store(tmp_path: Path, text: str) -> None:
    ingest(tmp_path / "store", [1])
    (tmp_path / "store" / "HEAD").write_text(text)

    with pytest.raises(CorruptError):
        Repository.open(tmp_path / "store")


def test_a_lost_head_is_damage_not_an_empty_store(tmp_path: Path) -> None:
    ingest(tmp_path / "store", [1])
    (tmp_path / "store" / "HEAD").unlink()

    with pytest.raises(CorruptError, match="HEAD"):
        Repository.open_or_create(tmp_path / "store")


def test_network_file_systems_are_refused_unless_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "file_system", lambda _: "nfs4")
    with pytest.raises(StoreError, match="MLPDATA_TRUST_LOCKS"):
        Repository.create(tmp_path / "store")

    monkeypatch.setenv("MLPDATA_TRUST_LOCKS", "1")
    assert Repository.create(tmp_path / "store").head() is None
