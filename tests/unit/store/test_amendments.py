"""Amendments: a stored calculation is shown with other attributes, or without its first configurations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.compute as pc
import pytest

from mlpdata.digest import canonical_json, content_id, sha256, shown
from mlpdata.errors import CorruptError, NewerSchema, NotFound, UsageError
from mlpdata.frames import concatenate
from mlpdata.schema.records import Amendment, Revision, Snapshot
from mlpdata.store.amendments import AMENDABLE, Amended
from mlpdata.store.columns import ids_of
from mlpdata.store.commit import Repository, Staged
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation, frames, ingest

STORED = calculation(1)
WANTED = calculation(
    1,
    kind="random",
    temperature_target=500.0,
    group="melt",
    system="water",
    continues="runs/0/vasprun.xml",
    license=None,
    citation="A. Author, 2020",
    tags={"project": "ice"},
    declared={"kind": "random"},
    rests_on={"kind": "annotated by ann"},
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Runs 1 and 2 in one segment, run 3 in another, four configurations each."""
    ingest(tmp_path / "store", [1, 2], n_configurations=4)
    ingest(tmp_path / "store", [3], n_configurations=4)
    return Repository.open(tmp_path / "store")


def amended(repository: Repository, number: int = 1, skip: int = 0, **changes: object) -> Amended:
    """Run `number` with other attributes, by the segment in which it is shown."""
    record = calculation(number).record
    keyed = repository.snapshot().keyed()
    segment = next(segment for segment, name, _, hidden in keyed if name == record and not hidden)
    return Amended(segment, record, calculation(number, **changes), skip)


def test_an_amended_calculation_is_shown_as_amended_wherever_it_is_shown(repository: Repository) -> None:
    first, second = repository.snapshot().record.segments
    repository.commit(amend=[Amended(first, STORED.record, WANTED)])
    snapshot = repository.snapshot()

    assert snapshot.calculations() == [WANTED, calculation(2), calculation(3)]
    assert snapshot.segment_calculations()[0] == (first, WANTED, False)
    assert snapshot.stored_calculations() == [
        (first, STORED, False), (first, calculation(2), False), (second, calculation(3), False),
    ]  # fmt: skip
    assert next(snapshot.keyed()) == (first, STORED.record, WANTED, False)
    assert snapshot.calculations_of([(first, STORED.record)]) == {(first, STORED.record): WANTED}

    row = snapshot.table("calculations").to_pylist()[0]
    assert row["calculation_record"] == STORED.record
    assert type(WANTED).model_validate_json(row["json"]) == WANTED
    assert row["content"] == content_id(shown(WANTED.record, frames(4, 1).ids()))
    for name in ("kind", "temperature_target", "group", "system", "continues", "license", "citation"):
        assert row[name] == getattr(WANTED, name)
    assert (row["tags"], row["config_type"]) == ([("project", "ice")], None)


def test_each_configuration_says_what_its_amended_calculation_says(repository: Repository) -> None:
    repository.commit(amend=[amended(repository, 1, **_changes())])
    table = repository.snapshot().table("configurations")

    for row in table.to_pylist():
        one = next(one for one in (WANTED, calculation(2), calculation(3)) if one.path == row["path"])
        for name in ("kind", "temperature_target", "group", "system"):
            assert row[name] == getattr(one, name)
        assert (row["license"], dict(row["tags"])) == (one.license, one.tags)
        assert row["config_type"] == one.tags.get("config_type")
    assert sorted(table["kind"].to_pylist()) == ["aimd"] * 8 + ["random"] * 4
    assert table.schema.field("temperature_target").metadata == {b"unit": b"K"}


def _changes() -> dict[str, object]:
    return {name: getattr(WANTED, name) for name in AMENDABLE}


def test_content_is_that_of_a_store_in_which_it_was_never_otherwise(repository: Repository, tmp_path: Path) -> None:
    found = repository.commit(amend=[amended(repository, 1, skip=1, **_changes())])

    fresh = Repository.create(tmp_path / "fresh")
    with fresh.stage() as writer:
        for record, block in ((calculation(3), frames(4, 3)), (WANTED, frames(4, 1).select([1, 2, 3])), (calculation(2), frames(4, 2))):  # fmt: skip
            writer.begin()
            writer.append(block)
            writer.end(record)
        expected = fresh.commit(writer)
    assert (found.content, found.n_configurations) == (expected.content, 11)
    assert found.content == repository.snapshot().content


def test_skipped_configurations_are_nowhere(repository: Repository) -> None:
    snapshot = repository.commit(amend=[amended(repository, 2, skip=3)])
    opened = repository.snapshot()
    left = concatenate([frames(4, 1), frames(4, 2).select([3]), frames(4, 3)])

    assert (snapshot.n_configurations, snapshot.n_calculations) == (9, 3)
    assert opened.visible_rows().tolist() == [0, 1, 2, 3, 7, 8, 9, 10, 11]
    np.testing.assert_array_equal(opened.ids(), left.ids())
    np.testing.assert_array_equal(opened.rows(left.ids()), opened.visible_rows())
    with pytest.raises(NotFound, match=frames(4, 2).ids()[2].tobytes().hex()):
        opened.rows(frames(4, 2).ids()[2:])
    table = opened.table("configurations")
    assert sorted(table["global_row"].to_pylist()) == opened.visible_rows().tolist()
    np.testing.assert_array_equal(opened.mapped.frames(table["global_row"].to_numpy()).ids(), ids_of(table["id"]))
    calculations = opened.table("calculations")
    assert calculations["n_configurations"].to_pylist() == [4, 1, 4]
    assert calculations["first_row"].to_pylist() == [0, 7, 0]
    assert opened.skipped(opened.record.segments[0], calculation(2).record) == 3


def test_a_run_of_which_nothing_is_new_shows_no_configuration(repository: Repository) -> None:
    assert repository.commit(amend=[amended(repository, 2, skip=4)]).n_configurations == 8
    assert len(repository.snapshot().ids()) == 8
    assert verify(repository.path).ok


def test_a_dataset_has_amended_rows_and_filters_them(repository: Repository) -> None:
    first = repository.snapshot().record.segments[0]
    repository.commit(
        amend=[amended(repository, 1, skip=1, kind="random")], retract=[(first, calculation(2).record, "test")]
    )
    dataset = repository.snapshot().dataset("configurations")

    assert dataset.count_rows() == 7
    found = dataset.to_table(columns=["id", "segment"], filter=pc.field("kind") == "random")
    assert sorted(found["id"].to_pylist()) == sorted(row.tobytes() for row in frames(4, 1).ids()[1:])
    assert set(found["segment"].to_pylist()) == {0}
    with duckdb.connect() as connection:
        connection.register("configurations", dataset)
        query = "SELECT kind, segment, count(*) FROM configurations GROUP BY ALL ORDER BY ALL"
        assert connection.sql(query).fetchall() == [("aimd", 1, 4), ("random", 0, 3)]
    assert repository.snapshot().dataset("calculations").count_rows() == 2
    assert repository.snapshot().dataset("sources").count_rows() == 2


def test_what_changes_nothing_is_no_commit(repository: Repository) -> None:
    before = repository.head()
    assert repository.commit(amend=[amended(repository, 1)]) == before
    assert not (repository.path / "amendments").exists()

    once = repository.commit(amend=[amended(repository, 1, kind="random")])
    assert repository.commit(amend=[amended(repository, 1, kind="random")], by="other", why="again") == once
    assert len(once.amendments) == 1


def test_an_amendment_can_be_taken_back(repository: Repository) -> None:
    before = repository.snapshot().content
    repository.commit(amend=[amended(repository, 1, skip=2, kind="random")])
    back = repository.commit(amend=[amended(repository, 1)])

    assert back.content == before
    assert repository.snapshot().calculations()[0] == STORED
    assert len(back.amendments) == 2
    assert verify(repository.path).faults == []


def test_an_older_snapshot_shows_what_it_showed(repository: Repository) -> None:
    repository.commit(amend=[amended(repository, 1, kind="random")])
    repository.tag("one")
    repository.commit(amend=[amended(repository, 1, kind="defect")])

    assert repository.snapshot("one").calculations()[0].kind == "random"
    assert repository.snapshot().calculations()[0].kind == "defect"


def test_history_says_who_changed_what_when_and_why(repository: Repository) -> None:
    first = repository.snapshot().record.segments[0]
    one = repository.commit(amend=[amended(repository, 1, kind="random")], by="ann", why="rattled", time="2024-01-01T00:00:00+00:00")  # fmt: skip
    repository.commit(amend=[amended(repository, 2, kind="random")], by="ann")
    two = repository.commit(amend=[amended(repository, 1, kind="defect", group="g", skip=1)], time="2024-02-01T00:00:00+00:00")  # fmt: skip

    history = repository.snapshot().history(first, STORED.record)
    assert [step[0] for step in history] == [one.amendments[0]] + [two.amendments[-1]] * 3
    assert [step[1:] for step in history] == [
        ("ann", "2024-01-01T00:00:00+00:00", "rattled", "kind", "aimd", "random"),
        ("", "2024-02-01T00:00:00+00:00", "", "kind", "random", "defect"),
        ("", "2024-02-01T00:00:00+00:00", "", "group", "group 1", "g"),
        ("", "2024-02-01T00:00:00+00:00", "", "skip", 0, 1),
    ]
    assert repository.snapshot().history(repository.snapshot().record.segments[1], calculation(3).record) == []
    with pytest.raises(NotFound, match="no record"):
        repository.snapshot().history(first, "0" * 64)


def test_amendments_of_two_writers_are_both_kept_and_the_later_one_counts(repository: Repository) -> None:
    other = Repository.open(repository.path)
    mine = [amended(repository, 1, kind="random"), amended(repository, 2, kind="random")]
    theirs = [amended(other, 2, kind="defect", license=None), amended(other, 3, kind="defect")]
    other.commit(amend=theirs, by="they")
    repository.commit(amend=mine, by="I")

    shown = repository.snapshot().calculations()
    assert [one.kind for one in shown] == ["random", "random", "defect"]
    assert shown[1].license == calculation(2).license  # an amendment is the whole state, not a part of one
    assert len(repository.snapshot().record.amendments) == 2


def test_one_commit_may_bring_retract_restore_and_amend(repository: Repository) -> None:
    first = repository.snapshot().record.segments[0]
    repository.commit(retract=[(first, calculation(2).record, "test")])
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(4, 5))
        writer.end(calculation(5))
        staged = repository.adopt(writer)
        assert staged is not None
        assert staged.segment is not None
        new = Amended(staged.segment, calculation(5).record, calculation(5, continues=STORED.path), 1)
        snapshot = repository.commit(
            staged=[staged],
            retract=[(first, STORED.record, "test")],
            restore=[(first, calculation(2).record)],
            amend=[new, amended(repository, 3, group="melt")],
        )

    assert (snapshot.n_calculations, snapshot.n_configurations) == (3, 4 + 4 + 3)
    assert [one.path for one in repository.snapshot().calculations()] == [calculation(n).path for n in (2, 3, 5)]
    assert repository.snapshot().calculations()[2].continues == STORED.path
    assert verify(repository.path).faults == []


def staged(repository: Repository, *numbers: int) -> Staged:
    with repository.stage() as writer:
        for number in numbers:
            writer.begin()
            writer.append(frames(4, number))
            writer.end(calculation(number))
        found = repository.adopt(writer)
    assert found is not None
    return found


def test_what_several_writers_staged_is_one_commit(repository: Repository, tmp_path: Path) -> None:
    parts = [staged(repository, 4, 5), staged(repository, 5, 6), staged(repository, 1)]
    assert parts[2] == (None, {shown(STORED.record, frames(4, 1).ids()): STORED.record})
    snapshot = repository.commit(staged=parts)

    assert len(snapshot.segments) == 4
    assert snapshot.n_calculations == 6
    assert snapshot.content == ingest(tmp_path / "other", [1, 2, 3, 4, 5, 6], n_configurations=4).content
    assert len(list(repository.log())) == 3
    assert verify(repository.path).faults == []


def test_a_writer_that_brought_nothing_is_not_staged(repository: Repository) -> None:
    with repository.stage() as writer:
        assert repository.adopt(writer) is None


def test_a_pending_snapshot_is_read_like_the_one_that_the_commit_makes_and_changes_nothing(
    repository: Repository,
) -> None:
    first = repository.snapshot().record.segments[0]
    repository.commit(amend=[amended(repository, 3, kind="random")])
    parts = [staged(repository, 4), staged(repository, 5)]
    retract = [(first, STORED.record, "test")]
    files = sorted(repository.path.rglob("*"))
    head = (repository.path / "HEAD").read_bytes()

    pending = repository.pending(parts, retract=retract)
    assert [one.path for one in pending.calculations()] == [calculation(n).path for n in (2, 3, 4, 5)]
    assert pending.calculations()[1].kind == "random"
    assert len(pending.read(pending.ids())) == 16
    assert sorted(repository.path.rglob("*")) == files
    assert (repository.path / "HEAD").read_bytes() == head
    done = repository.commit(staged=parts, retract=retract)
    assert (done.content, done.segments) == (pending.content, pending.record.segments)


def test_the_amendment_of_a_calculation_that_another_writer_brought_meanwhile_is_of_the_one_copy(
    repository: Repository,
) -> None:
    mine = staged(repository, 4, 5)
    assert mine.segment is not None
    wanted = [Amended(mine.segment, calculation(n).record, calculation(n, kind="random")) for n in (4, 5)]
    theirs = ingest(repository.path, [4], n_configurations=4)
    snapshot = repository.commit(staged=[mine], amend=wanted)

    found = {one.path: (segment, one.kind) for segment, _, one, hidden in repository.snapshot().keyed() if not hidden}
    assert found[calculation(4).path] == (theirs.segments[-1], "random")
    assert found[calculation(5).path] == (mine.segment, "random")
    assert snapshot.n_calculations == 5
    assert verify(repository.path).faults == []


def test_a_value_that_was_not_validated_is_stored_as_if_it_were(repository: Repository) -> None:
    wanted = amended(repository, 1)
    loose = wanted._replace(calculation=STORED.model_copy(update={"temperature_target": 500}))
    strict = repository.commit(amend=[wanted._replace(calculation=calculation(1, temperature_target=500.0))])

    assert repository.commit(amend=[loose]) == strict
    assert verify(repository.path).faults == []


def test_only_attributes_can_be_amended(repository: Repository) -> None:
    with pytest.raises(UsageError, match=r"expected to amend only kind, .*, found another status for runs/1"):
        repository.commit(amend=[amended(repository, 1, status="truncated")])


def test_no_more_configurations_can_be_skipped_than_there_are(repository: Repository) -> None:
    for skip in (5, -1):
        with pytest.raises(UsageError, match=f"at most 4 configurations of runs/1/vasprun.xml, found {skip}"):
            repository.commit(amend=[amended(repository, 1, skip=skip)])


def test_amending_what_is_not_there_is_refused(repository: Repository) -> None:
    first = repository.snapshot().record.segments[0]
    orphan = staged(repository, 7).segment
    assert orphan is not None
    seventh = calculation(7, kind="random")
    for segment, record in ((first, "0" * 64), ("0" * 64, seventh.record), (orphan, calculation(7).record)):
        with pytest.raises(NotFound, match="found no"):
            repository.commit(amend=[Amended(segment, record, seventh)])


def test_a_snapshot_without_amendments_is_named_as_before_there_were_any(repository: Repository) -> None:
    head = repository.head()
    assert head is not None
    assert "amendments" not in head.as_json()
    assert head.id == sha256((repository.path / "snapshots" / f"{head.id}.json").read_bytes())
    later = repository.commit(amend=[amended(repository, 1, kind="random")])
    assert later.parents == (head.id,)
    assert Snapshot(**later.as_json()) == later


def forge(repository: Repository, revision: Revision, **changes: object) -> Path:
    """Put an amendment into the store that no commit wrote."""
    head = repository.head()
    assert head is not None
    text = canonical_json({**Amendment(time=head.time, changes=(revision,)).as_json(), **changes})
    path = repository.path / "amendments" / f"{sha256(text)}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    snapshot = head.replace(amendments=(*head.amendments, path.stem))
    (repository.path / "snapshots" / f"{snapshot.id}.json").write_bytes(canonical_json(snapshot.as_json()))
    (repository.path / "HEAD").write_text(f"{snapshot.id}\n")
    return path


def test_an_amendment_that_says_a_wrong_content_is_a_fault(repository: Repository) -> None:
    segment = repository.snapshot().record.segments[0]
    path = forge(repository, Revision(segment=segment, calculation=STORED.record, fields={"kind": "random"}, content="1" * 64))  # fmt: skip

    faults = verify(repository.path).faults
    assert str(path) in {fault.path for fault in faults}
    assert any("content of record" in fault.what for fault in faults)


@pytest.mark.parametrize("unknown", ["calculation", "segment"])
def test_an_amendment_of_a_calculation_that_is_not_there_is_a_fault(repository: Repository, unknown: str) -> None:
    segment = repository.snapshot().record.segments[0]
    revision = Revision(segment=segment, calculation=STORED.record, skip=1, content="1" * 64)
    path = forge(repository, revision.replace(**{unknown: "0" * 64}))

    for quick in (True, False):
        (fault,) = verify(repository.path, quick=quick).faults
        assert fault.path == str(path)
        assert "expected a calculation of a snapshot" in fault.what


def test_an_amendment_of_a_newer_schema_is_refused_by_name(repository: Repository) -> None:
    segment = repository.snapshot().record.segments[0]
    forge(repository, Revision(segment=segment, calculation=STORED.record, skip=1, content="1" * 64), schema_version=99)

    with pytest.raises(NewerSchema, match="Update mlpdata"):
        repository.snapshot().calculations()


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"{}")])
def test_a_lost_or_changed_amendment_is_named(repository: Repository, damage: Callable[[Path], object]) -> None:
    snapshot = repository.commit(amend=[amended(repository, 1, kind="random")])
    path = repository.path / "amendments" / f"{snapshot.amendments[0]}.json"
    damage(path)

    assert [fault.path for fault in verify(repository.path).faults] == [str(path)]
    with pytest.raises(CorruptError, match="Restore the file"):
        repository.snapshot().calculations()
