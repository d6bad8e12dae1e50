"""Merging two histories: nothing of either side is lost, and what only one side changed is as that side says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlpdata import digest
from mlpdata.errors import CorruptError
from mlpdata.schema.records import Snapshot
from mlpdata.store import layout
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.merge import Merged, merge
from mlpdata.store.upkeep import collect_garbage, compact, purge
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation, frames, ingest

Stores = tuple[Path, Path]


def expected(*numbers: int) -> str:
    """What a snapshot of these runs is called, worked out anew."""
    return digest.content_id(sum(digest.shown(calculation(n).record, frames(3, n).ids()) for n in numbers))


@pytest.fixture
def clones(tmp_path: Path) -> Stores:
    """Two clones of a store of two runs, each of which took one more."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ingest(ours, [1, 2], time="2026-01-01T00:00:00+00:00")
    shutil.copytree(ours, theirs)
    ingest(ours, [3], time="2026-01-02T00:00:00+00:00")
    ingest(theirs, [4], time="2026-01-03T00:00:00+00:00")
    return ours, theirs


def head(path: Path) -> Snapshot:
    return Repository.open(path).snapshot().record


def merged(clones: Stores) -> Merged:
    """The first with the second, which must be well, and the same whichever of the two takes the other."""
    ours, theirs = clones
    other = Path(shutil.copytree(theirs, ours.parent / "theirs, merged"))
    found = merge(Repository.open(ours), Repository.open(theirs))
    assert merge(Repository.open(other), Repository.open(ours)).snapshot == found.snapshot  # they are ahead
    assert verify(ours).faults == []
    assert verify(other).faults == []
    return found


def both_ways(clones: Stores) -> None:
    """Whichever store takes the other, they show the same."""
    first, second = (Path(shutil.copytree(one, one.with_name(f"{one.name} again"))) for one in clones)
    merge(Repository.open(first), Repository.open(clones[1]))
    merge(Repository.open(second), Repository.open(clones[0]))
    assert head(first).content == head(second).content


def test_two_clones_that_both_took_more_are_merged_without_loss(clones: Stores) -> None:
    before = {one.id for path in clones for one in Repository.open(path).log()}
    both_ways(clones)
    found = merged(clones)
    assert found.snapshot is not None
    assert found.snapshot.content == expected(1, 2, 3, 4)
    assert set(found.snapshot.parents) <= before
    assert len(found.snapshot.parents) == 2
    assert (found.brought, found.hidden, found.conflicts) == ([calculation(4).record], [], [])
    assert {one.id for one in Repository.open(clones[0]).log()} == before | {found.snapshot.id}


def test_a_store_that_is_behind_is_brought_forward_and_one_that_is_ahead_stays(clones: Stores) -> None:
    ours, theirs = clones
    behind = Path(shutil.copytree(ours, ours.parent / "behind"))
    ingest(ours, [5])
    ahead = head(ours)
    assert merge(Repository.open(behind), Repository.open(ours)).snapshot == ahead
    assert merge(Repository.open(ours), Repository.open(behind)).snapshot == ahead
    empty = Repository.create(ours.parent / "empty")
    assert merge(Repository.open(ours), empty).snapshot == ahead
    assert merge(empty, Repository.open(ours)).snapshot == ahead
    assert verify(ours.parent / "empty").faults == []
    assert verify(theirs).faults == []


def test_stores_without_a_common_history_are_merged_and_what_both_have_is_shown_once(tmp_path: Path) -> None:
    ingest(tmp_path / "ours", [1, 2])
    ingest(tmp_path / "theirs", [2, 3])
    found = merged((tmp_path / "ours", tmp_path / "theirs"))
    assert found.snapshot is not None
    assert (found.snapshot.content, found.snapshot.n_calculations) == (expected(1, 2, 3), 3)
    assert found.brought == [calculation(3).record]


def test_what_one_side_retracted_or_restored_is_as_it_says(clones: Stores) -> None:
    ours, theirs = clones
    first = head(ours).segments[0]
    Repository.open(theirs).commit(retract=[(first, calculation(1).record, "wrong cutoff")])
    both_ways(clones)
    found = merged(clones)
    assert found.snapshot is not None
    assert found.snapshot.content == expected(2, 3, 4)
    assert [one.reason for one in found.snapshot.retracted] == ["wrong cutoff"]
    assert found.hidden == [calculation(1).record]
    Repository.open(theirs).commit(restore=[(first, calculation(1).record)])
    assert merge(Repository.open(ours), Repository.open(theirs)).snapshot.content == expected(1, 2, 3, 4)  # type: ignore[union-attr]


def amend(path: Path, number: int, **changes: object) -> Callable[[], object]:
    """Amend one of the first two runs."""
    repository = Repository.open(path)
    segment = repository.snapshot().record.segments[0]
    wanted = Amended(segment, calculation(number).record, calculation(number, **changes), 0)
    return lambda: repository.commit(amend=[wanted], by=path.name)


def test_attributes_are_as_the_side_says_that_changed_them_and_the_later_word_counts(clones: Stores) -> None:
    ours, theirs = clones
    amend(ours, 1, system="ours")()
    amend(theirs, 2, system="theirs")()
    one = merged(clones)
    assert one.conflicts == []
    found = {one.path: one.system for one in Repository.open(ours).snapshot().calculations()}
    assert (found[calculation(1).path], found[calculation(2).path]) == ("ours", "theirs")
    segment = head(ours).segments[0]
    steps = Repository.open(ours).snapshot().history(segment, calculation(2).record)
    assert [(step.by, step.field, step.new) for step in steps] == [("theirs", "system", "theirs")]


def test_of_two_words_about_one_calculation_the_later_one_counts_and_is_named(
    clones: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = clones
    for path, when in ((theirs, "2026-02-02T00:00:00+00:00"), (ours, "2026-02-01T00:00:00+00:00")):
        monkeypatch.setattr("mlpdata.store.commit.now", lambda when=when: when)
        amend(path, 1, system=path.name)()
    both_ways(clones)
    found = merged(clones)
    assert [one.split(":")[0] for one in found.conflicts] == [f"record {calculation(1).record[:12]}"]
    assert {one.path: one.system for one in Repository.open(ours).snapshot().calculations()}[
        calculation(1).path
    ] == "theirs"


@pytest.mark.parametrize("whose", [0, 1])
@pytest.mark.parametrize("clean", [True, False])
def test_what_one_side_compacted_meanwhile_is_found_where_it_is(clones: Stores, whose: int, clean: bool) -> None:
    other = clones[1 - whose]
    Repository.open(other).commit(retract=[(head(other).segments[0], calculation(1).record, "wrong")])
    amend(other, 2, system="amended")()
    compact(Repository.open(clones[whose]), head(clones[whose]).segments)
    if clean:
        collect_garbage(Repository.open(clones[whose]), grace=0)
    both_ways(clones)
    found = merged(clones)
    amended = digest.shown(calculation(2, system="amended").record, frames(3, 2).ids())
    assert found.snapshot is not None
    assert found.snapshot.content == digest.content_id(int(expected(3, 4), 16) + amended)
    assert {one.id: one.content for one in Repository.open(clones[0]).log()}.items() >= {
        one.id: one.content for one in Repository.open(other).log()
    }.items()


def test_when_both_sides_compacted_each_calculation_is_shown_once(clones: Stores) -> None:
    for path in clones:
        compact(Repository.open(path), head(path).segments)
        collect_garbage(Repository.open(path), grace=0)
    found = merged(clones)
    assert found.snapshot is not None
    assert (found.snapshot.content, found.snapshot.n_calculations) == (expected(1, 2, 3, 4), 4)
    compact(Repository.open(clones[0]), head(clones[0]).segments)
    collect_garbage(Repository.open(clones[0]), grace=0)
    assert head(clones[0]).content == expected(1, 2, 3, 4)
    assert verify(clones[0]).faults == []


def with_run(path: Path, number: int, n_configurations: int, size: int) -> str:
    """A reading of run `number` that has grown to so many configurations; its record."""
    repository = Repository.open(path)
    whole = frames(9, number)
    sources = (calculation(number).sources[0].replace(bytes=size, sha256=f"{size:064x}"),)
    record = calculation(number, sources=sources)
    with repository.stage() as writer:
        writer.begin()
        writer.append(whole.select(range(n_configurations)))
        writer.end(record)
        repository.commit(writer)
    return record.record


def test_of_two_readings_of_a_run_that_grew_the_longer_one_is_shown(clones: Stores) -> None:
    short, long = with_run(clones[0], 7, 4, 400), with_run(clones[1], 7, 6, 600)
    both_ways(clones)
    found = merged(clones)
    assert found.snapshot is not None
    assert found.conflicts == []
    assert (found.hidden, found.snapshot.n_configurations) == ([short], 4 * 3 + 6)
    assert long in found.brought


def test_of_two_readings_of_a_run_that_differ_the_one_of_the_later_snapshot_is_shown(clones: Stores) -> None:
    with_run(clones[0], 7, 4, 400)
    repository = Repository.open(clones[1])
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(2, 77))
        writer.end(calculation(7))
        repository.commit(writer, time="2031-01-01T00:00:00+00:00")
    found = merged(clones)
    assert found.snapshot is not None
    assert found.snapshot.n_configurations == 4 * 3 + 2
    assert len(found.conflicts) == 1
    assert calculation(7).id in found.conflicts[0]


def test_what_was_purged_on_one_side_is_not_brought_back(clones: Stores) -> None:
    ours, theirs = clones
    purge(Repository.open(ours), {calculation(1).record: "license withdrawn"})
    found = merge(Repository.open(ours), Repository.open(theirs))
    assert found.snapshot is not None
    assert head(ours).content == expected(2, 3, 4)
    needle = frames(3, 1).positions.tobytes()[:48]
    assert not any(needle in path.read_bytes() for path in ours.rglob("c.*"))


def test_tags_come_along_and_none_is_moved(clones: Stores) -> None:
    ours, theirs = (Repository.open(path) for path in clones)
    ours.tag("mine")
    ours.tag("both")
    wanted = theirs.tag("both")
    theirs.tag("new")
    assert merge(ours, theirs).kept_tags == ["both"]
    assert ours.tags()["new"] == wanted.id
    assert ours.tags()["both"] == ours.tags()["mine"] != wanted.id


def test_a_damaged_store_is_not_merged(clones: Stores) -> None:
    ours, theirs = clones
    path = layout.segment_folder(theirs, head(theirs).segments[-1]) / "arrays/forces/c.0.0"
    content = bytearray(path.read_bytes())
    content[3] ^= 4
    path.write_bytes(content)
    before = head(ours)
    with pytest.raises(CorruptError, match="found others"):
        merge(Repository.open(ours), Repository.open(theirs))
    assert head(ours) == before
    assert verify(ours).faults == []
