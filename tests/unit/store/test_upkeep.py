"""Upkeep: compaction, garbage, purge and revert change where things lie, and what is shown only as they say."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpdata.errors import CorruptError, NotFound, StoreError
from mlpdata.store import layout, upkeep
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.compact import MOST, SMALLEST, due
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.store.upkeep import collect_garbage, compact, migrate, purge, revert
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation, frames, ingest

TABLES = ("configurations", "calculations", "methods", "sources")
PLACES = ("row", "global_row", "segment", "first_row")
"""Columns that say where something lies."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Four commits of three configurations a calculation, one calculation amended, one retracted, one hidden and shown."""
    path = tmp_path / "store"
    first = ingest(path, [1, 2], time="2026-01-01T00:00:00+00:00")
    ingest(path, [3], time="2026-01-02T00:00:00+00:00")
    repository = Repository.open(path)
    wanted = calculation(1, kind="random", group="g")
    repository.commit(amend=[Amended(first.segments[0], calculation(1).record, wanted, 1)], by="ann", why="rattled")
    repository.commit(retract=[(first.segments[0], calculation(2).record, "wrong cutoff")])
    ingest(path, [4, 5])
    repository.tag("five")
    return path


def shown(opened: OpenSnapshot) -> dict[str, list[dict[str, object]]]:
    """All that a snapshot shows, in an order of its own."""
    found = {}
    for name in TABLES:
        table = opened.table(name)
        table = table.drop_columns([column for column in PLACES if column in table.column_names])
        found[name] = sorted(table.to_pylist(), key=repr)
    ids = opened.ids()
    order = np.argsort(ids.view("S16").ravel(), kind="stable")
    read = opened.read(ids[order])
    said = {name: values for name, values in read.arrays.items() if not blank(name, values)}
    found["frames"] = [{name: values.tobytes() for name, values in said.items()}]
    return found


def blank(name: str, values: NDArray[Any]) -> bool:
    """Whether an array says nothing: another version may lack it."""
    absent = PROPERTIES[name].blank(len(values))
    return np.array_equal(values, absent, equal_nan=values.dtype.kind == "f")


def everything(path: Path) -> dict[str, dict[str, list[dict[str, object]]]]:
    """What each version shows, by id."""
    repository = Repository.open(path)
    return {one.id: shown(repository.snapshot(one.id)) for one in repository.log()}


def same(
    now: dict[str, dict[str, list[dict[str, object]]]], before: dict[str, dict[str, list[dict[str, object]]]]
) -> bool:
    return all(now[name] == before[name] for name in before)


def segments(path: Path) -> list[str]:
    return sorted(one.name for one in (path / layout.SEGMENTS).iterdir())


def test_a_compacted_store_shows_what_it_showed_in_every_version_before_and_after_garbage_is_gone(store: Path) -> None:
    before, repository = everything(store), Repository.open(store)
    head = repository.snapshot().record

    done = compact(repository, head.segments)

    assert done.replaced == head.segments
    now = Repository.open(store).snapshot()
    assert (now.content, now.record.segments) == (head.content, (done.segment,))
    assert (now.record.n_configurations, now.record.n_calculations) == (head.n_configurations, head.n_calculations)
    assert shown(now) == before[head.id]
    assert same(everything(store), before)

    removed = collect_garbage(Repository.open(store), grace=0)

    assert sorted(removed.segments) == sorted(head.segments)
    assert segments(store) == [done.segment]
    assert same(everything(store), before)
    assert verify(store).faults == []


def test_a_store_that_was_compacted_again_is_read_through_the_last_segment(store: Path) -> None:
    before = everything(store)
    repository = Repository.open(store)
    compact(repository, repository.snapshot().record.segments[:2])
    collect_garbage(repository, grace=0)
    ingest(store, [6])
    before |= everything(store)
    compact(Repository.open(store), Repository.open(store).snapshot().record.segments)
    collect_garbage(Repository.open(store), grace=0)

    assert len(segments(store)) == 1
    assert same(everything(store), before)
    assert verify(store).faults == []


def test_what_is_known_of_a_calculation_stays_known_where_it_is_now(store: Path) -> None:
    repository = Repository.open(store)
    segment = repository.snapshot().record.segments[0]
    before = repository.snapshot().history(segment, calculation(1).record)
    done = compact(repository, repository.snapshot().record.segments)

    assert before
    assert repository.snapshot().history(done.segment, calculation(1).record) == before
    # what another writer worked out before the compaction is carried out where the calculations are now
    after = repository.commit(
        retract=[(segment, calculation(1).record, "late")],
        restore=[(segment, calculation(2).record)],
        amend=[Amended(segment, calculation(2).record, calculation(2, system="late"))],
    )
    paths = {one.path: one for one in repository.snapshot().calculations()}
    assert calculation(1).path not in paths
    assert paths[calculation(2).path].system == "late"
    assert verify(store).faults == []
    assert after.n_calculations == 4


def test_a_calculation_stored_twice_is_carried_over_once(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as one, repository.stage() as other:
        for writer, numbers in ((one, (1, 2)), (other, (2, 3))):
            for number in numbers:
                writer.begin()
                writer.append(frames(3, number))
                writer.end(calculation(number))
        repository.commit(one)
        head = repository.commit(other)
    assert [item.reason for item in head.retracted] == [f"stored before in segment {head.segments[0]}"]
    before = everything(tmp_path / "store")

    done = compact(repository, head.segments)

    after = Repository.open(tmp_path / "store").snapshot()
    assert after.segments[0].n_calculations == 3
    assert (after.record.retracted, after.content) == ((), head.content)
    collect_garbage(repository, grace=0)
    assert segments(tmp_path / "store") == [done.segment]
    assert same(everything(tmp_path / "store"), before)


def test_arrays_that_few_segments_have_and_calculations_without_configurations_are_carried_over(tmp_path: Path) -> None:
    path = tmp_path / "store"
    repository = Repository.create(path)
    with_charges = frames(2, 1).with_arrays(charges=np.arange(frames(2, 1).n_atoms.sum(), dtype=float))
    for number, block in ((1, with_charges), (2, None), (3, frames(4, 3))):
        with repository.stage() as writer:
            writer.begin()
            if block is not None:
                writer.append(block)
            writer.end(calculation(number))
            repository.commit(writer)
    before = everything(path)
    compact(repository, repository.snapshot().record.segments)
    collect_garbage(repository, grace=0)
    assert same(everything(path), before)
    np.testing.assert_array_equal(
        Repository.open(path).snapshot().read(with_charges.ids()).get("charges"), with_charges.get("charges")
    )


def test_too_many_segments_of_one_size_are_due() -> None:
    small = {f"s{number}": 10 for number in range(MOST)}
    assert due(small) == []
    assert due({**small, "large": SMALLEST * MOST}) == []
    assert due({**small, "large": SMALLEST * MOST, "one more": SMALLEST}) == [*small, "one more"]


def test_compaction_by_policy_keeps_the_number_of_segments_small(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for number in range(1, MOST + 2):
        ingest(path, [number], n_configurations=1)
    head = Repository.open(path).snapshot().record
    assert len(head.segments) == MOST + 1
    assert len(compact(Repository.open(path)).replaced) == MOST + 1
    assert len(Repository.open(path).snapshot().record.segments) == 1
    assert compact(Repository.open(path)).replaced == ()


def test_what_is_damaged_is_not_carried_over(store: Path) -> None:
    repository = Repository.open(store)
    path = layout.segment_folder(store, repository.snapshot().record.segments[0]) / "arrays/positions/c.0.0"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    before = repository.snapshot().record
    with pytest.raises(CorruptError, match="checksum"):
        compact(repository, before.segments)
    assert Repository.open(store).snapshot().record == before
    assert segments(store) == sorted(before.segments)


def test_two_that_compact_the_same_segments_do_so_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Repository.open(store).snapshot().record.segments
    write = upkeep.write_compacted

    def overtaken(*given: object) -> object:
        monkeypatch.setattr(upkeep, "write_compacted", write)
        compact(Repository.open(store), names[1:])
        return write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(upkeep, "write_compacted", overtaken)
    with pytest.raises(StoreError, match="another writer"):
        compact(Repository.open(store), names)
    assert verify(store).faults == []
    assert len(Repository.open(store).snapshot().record.segments) == 2


def test_garbage_has_a_time_of_grace_and_what_a_version_needs_is_none(store: Path) -> None:
    repository = Repository.open(store)
    stray = layout.segment_folder(store, "a" * 64)
    shutil.copytree(layout.segment_folder(store, repository.snapshot().record.segments[0]), stray)
    assert collect_garbage(repository, grace=3600).n_too_young == 1
    os.utime(stray, (0, 0))
    assert collect_garbage(repository, grace=3600, dry_run=True).segments == ["a" * 64]
    assert stray.exists()
    found = collect_garbage(repository, grace=3600)
    assert (found.segments, found.snapshots, found.amendments) == (["a" * 64], [], [])
    assert found.n_bytes > 0
    assert not stray.exists()
    assert not list((repository.work / "staging").iterdir())
    assert verify(store).faults == []


def test_what_a_tag_names_is_no_garbage(store: Path) -> None:
    repository = Repository.open(store)
    last = repository.snapshot().record
    (store / "HEAD").write_text(f"{last.parents[0]}\n")
    collect_garbage(Repository.open(store), grace=0)
    assert Repository.open(store).snapshot("five").record == last
    assert verify(store).faults == []
    (store / "refs/five").unlink()
    found = collect_garbage(Repository.open(store), grace=0)
    assert (found.snapshots, found.segments) == ([last.id], [last.segments[-1]])
    assert verify(store).faults == []


def test_what_is_purged_is_gone_from_every_file_and_what_showed_it_says_so(store: Path) -> None:
    before, repository = everything(store), Repository.open(store)
    record = calculation(3).record
    bytes_of_it = frames(3, 3).positions.tobytes()
    assert any(bytes_of_it[:48] in path.read_bytes() for path in store.rglob("c.*"))
    n_before = repository.snapshot().record.n_configurations

    done = purge(repository, {record: "license withdrawn"})

    assert (done.calculations, done.n_configurations) == ([record], 3)
    assert not any(bytes_of_it[:48] in path.read_bytes() for path in store.rglob("c.*"))
    assert not any(record.encode() in path.read_bytes() for path in store.rglob("*.json"))
    now = Repository.open(store).snapshot()
    assert now.record.n_configurations == n_before - 3
    assert calculation(3).path not in {one.path for one in now.calculations()}
    showed = {
        name for name, what in before.items() if any(calculation(3).path == row["path"] for row in what["calculations"])
    }
    assert set(done.unreadable) == showed
    for name in showed:
        with pytest.raises(NotFound, match="purged"):
            Repository.open(store).snapshot(name)
    for name in before.keys() - showed:
        assert shown(Repository.open(store).snapshot(name)) == before[name]
    with pytest.raises(NotFound, match="no record"):
        purge(repository, {record: "again"})


def test_a_purge_of_everything_leaves_an_empty_version(tmp_path: Path) -> None:
    path = tmp_path / "store"
    ingest(path, [1])
    purge(Repository.open(path), {calculation(1).record: "all wrong"})
    now = Repository.open(path).snapshot()
    assert (now.record.n_configurations, len(now.ids()), now.calculations()) == (0, 0, [])
    assert now.content == "0" * 64
    again = ingest(path, [1])
    assert again.n_configurations == 3
    assert verify(path).faults == []


def test_a_revert_shows_what_an_earlier_version_showed_and_can_be_reverted(store: Path) -> None:
    before, repository = everything(store), Repository.open(store)
    log = list(repository.log())
    for wanted in log:
        now = revert(repository, wanted.id)
        assert now.content == wanted.content
        assert shown(repository.snapshot()) == before[wanted.id]
        assert verify(store).faults == []
    assert same(everything(store), before)


def test_a_revert_reaches_behind_a_compaction(store: Path) -> None:
    before, repository = everything(store), Repository.open(store)
    log = list(repository.log())
    compact(repository, log[0].segments)
    for garbage in (False, True):
        if garbage:
            collect_garbage(repository, grace=0)
        for wanted in log:
            assert revert(Repository.open(store), wanted.id).content == wanted.content
            assert shown(Repository.open(store).snapshot()) == before[wanted.id]
    assert verify(store).faults == []


def test_a_revert_to_what_is_shown_changes_nothing(store: Path) -> None:
    repository = Repository.open(store)
    head = repository.snapshot().record
    assert revert(repository, head.id) == head


OLD = Path(__file__).parents[2] / "data/stores/v1"
CONTENTS = (
    "0671a1774f137a38e0f1168bd5e4b26e3224e443e04f58c52552a527251692f7",
    "b35a6660957eb2c1511d48a3f50a2c2ce54fd3e587a940fe9410fb3d4e74773a",
    "42438592a62f68c5e94cceb85e91c17104bfc575ae1b4b967a992ad9c9a6dfe6",
    "15469b7a5e555d8e7e779d9e79015ffaf10de63c1b283eb7a11b7b669cb432c6",
)
"""Of the versions of the store of schema version 1, newest first, as they were printed when it was written."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_a_store_of_the_first_schema_version_reads_and_takes_more(old: Path) -> None:
    repository = Repository.open(old)
    assert [one.content for one in repository.log()] == list(CONTENTS)
    assert verify(old).faults == []
    opened = repository.snapshot()
    rows = opened.table("configurations", ["path", "energy", "row"]).sort_by(
        [("path", "ascending"), ("row", "ascending")]
    )
    energies = [round(one, 4) for one in rows["energy"].to_pylist()]
    assert energies == [-856.5621, -856.2479, -10.5, -10.5, -10.5, -2075.1430, -856.1182]  # as printed in 2026
    head = ingest(old, [1])
    assert head.schema_version == 2
    assert (head.n_configurations, head.n_calculations) == (7 + 3, 5 + 1)
    assert verify(old).faults == []


def test_a_store_of_the_first_schema_version_is_migrated_and_all_its_versions_read(old: Path) -> None:
    before = everything(old)
    done = migrate(Repository.open(old))
    assert len(done.replaced) == 2
    assert Repository.open(old).snapshot().segments[0].schema_version == 2
    collect_garbage(Repository.open(old), grace=0)
    assert segments(old) == [done.segment]
    assert same(everything(old), before)
    assert Repository.open(old).snapshot().content == CONTENTS[0]
    assert verify(old).faults == []
    assert migrate(Repository.open(old)).replaced == ()
