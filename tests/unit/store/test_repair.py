"""What is damaged is mended from a copy or from the rest of the store, byte for byte; what is given up is what is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mlpdata.errors import CorruptError, NotFound, UsageError
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.giving_up import DAMAGED
from mlpdata.store.repair import BIT, LAST, NEAREST, REST, repair
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation, frames

PATHS = {number: calculation(number).path for number in range(1, 6)}


def add(store: Path, numbers: list[int], n_configurations: int = 3, seed: int = 0) -> None:
    """One commit; with molecules of one kind, so that tables and shards of two segments differ."""
    repository = Repository.open_or_create(store)
    with repository.stage() as writer:
        for number in numbers:
            writer.begin()
            writer.append(frames(n_configurations, seed + number))
            writer.end(calculation(number))
        repository.commit(writer)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segments, one calculation amended, one retracted, a tag."""
    store = tmp_path_factory.mktemp("pristine") / "store"
    add(store, [1, 2, 3])
    add(store, [4, 5], 4)
    repository = Repository.open(store)
    first, last = repository.snapshot().record.segments
    wanted = calculation(4, kind="random", license=None)
    repository.commit(amend=[Amended(last, calculation(4).record, wanted, 1)], by="ann", why="rattled")
    repository.commit(retract=[(first, calculation(3).record, "test")])
    repository.tag("v1")
    return store


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "store"))


def files(store: Path) -> dict[str, bytes]:
    return {
        path.relative_to(store).as_posix(): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()
    }


def names(pristine: Path) -> list[str]:
    return list(files(pristine))


def segments(store: Path) -> tuple[str, ...]:
    head = Repository.open(store).head()
    assert head is not None
    return head.segments


def everything(store: Path) -> list[object]:
    """All that a reader can get of the current snapshot."""
    snapshot = Repository.open(store).snapshot()
    read = snapshot.read(snapshot.ids())
    tables = [snapshot.table(name).to_pylist() for name in ("configurations", "calculations", "methods", "sources")]
    return [*tables, *(array.tobytes() for array in read.arrays.values())]


def shown(store: Path) -> dict[str, tuple[str, int]]:
    """Kind and number of configurations by path."""
    table = Repository.open(store).snapshot().table("calculations", ["path", "kind", "n_configurations"])
    return {row["path"]: (row["kind"], row["n_configurations"]) for row in table.to_pylist()}


def scribble(path: Path, at: int = 0) -> None:
    """Change sixteen bytes, so that no single bit can be set back."""
    content = bytearray(path.read_bytes())
    for place in range(at, min(at + 16, len(content))):
        content[place] ^= 0xA5
    path.write_bytes(content)


def damage(path: Path, kind: str) -> None:
    if kind == "gone":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "longer":
        path.write_bytes(path.read_bytes() + b"more")
    else:
        scribble(path)


@pytest.mark.parametrize("kind", ["scribbled", "gone", "cut", "longer"])
def test_whatever_is_damaged_a_copy_gives_the_same_bytes_back(store: Path, pristine: Path, kind: str) -> None:
    expected = files(pristine)
    for name in list(expected)[:: 1 if kind == "scribbled" else 5]:
        damage(store / name, kind)
        if name.startswith("refs") and kind == "gone":
            shutil.copyfile(pristine / name, store / name)  # nothing says that there was a tag
            continue

        report = repair(store, pristine)

        assert report.faults == [], name
        assert files(store) == expected, name
        assert [one.path for one in report.mended] == [str(store / name)]


def test_many_files_at_once_and_whole_folders_come_back(store: Path, pristine: Path) -> None:
    first, last = segments(store)
    for name in names(pristine)[::3]:
        scribble(store / name)
    shutil.rmtree(store / "segments" / first)
    shutil.rmtree(store / "snapshots")
    one, two = (store / "segments" / last / "arrays" / name for name in ("forces/c.0.0", "energy/c.0"))
    content = one.read_bytes()
    shutil.copyfile(two, one)
    two.write_bytes(content)

    repair(store, pristine)

    assert files(store) == files(pristine)
    assert verify(store).ok


def test_what_was_damaged_is_kept_aside(store: Path, pristine: Path) -> None:
    name = f"segments/{segments(store)[0]}/arrays/positions/c.0.0"
    scribble(store / name)
    damaged = (store / name).read_bytes()

    report = repair(store, pristine)

    aside = store.with_name("store.work") / "damaged" / name
    assert report.aside == [str(aside)]
    assert aside.read_bytes() == damaged
    scribble(store / name, 50)
    repair(store, pristine)
    assert aside.read_bytes() == damaged
    assert aside.with_name(f"{aside.name}.2").exists()


def test_a_copy_that_is_damaged_in_the_same_place_gives_nothing(store: Path, pristine: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(pristine, tmp_path / "copy"))
    name = f"segments/{segments(store)[0]}/arrays/positions/c.0.0"
    for one in (store, copy):
        scribble(one / name)

    before = files(store)
    report = repair(store, copy)

    assert [Path(fault.path) for fault in report.faults] == [store / name]
    assert files(store) == before
    assert not (store.with_name("store.work") / "damaged").exists()


DERIVED = (
    "arrays/zarr.json", "arrays/forces/zarr.json", "arrays/n_atoms/c.0", "arrays/atom_start/c.0", "ids.bin", "calculations.bin",
    "configurations.parquet", "methods.parquet", "sources.parquet", "segment.json",
)  # fmt: skip
"""Files of a segment that follow from the others."""


@pytest.mark.parametrize("place", DERIVED)
def test_what_follows_from_the_rest_of_a_segment_needs_no_copy(store: Path, pristine: Path, place: str) -> None:
    path = store / "segments" / segments(store)[0] / place
    path.unlink()

    report = repair(store)

    assert report.faults == []
    assert files(store) == files(pristine)
    assert report.mended[0].how == REST or report.mended[0].how.startswith("segments/")


def test_padding_and_index_of_a_shard_follow_from_its_record(store: Path, pristine: Path) -> None:
    path = store / "segments" / segments(store)[0] / "arrays" / "energy_sigma0" / "c.0"
    for at in (9 * 8, path.stat().st_size - 16):  # nine configurations, 64 rows, then the index
        scribble(path, at)
        assert [one.how for one in repair(store).mended] == [REST]
        assert files(store) == files(pristine)


def test_one_flipped_bit_of_a_small_file_is_set_back(store: Path, pristine: Path) -> None:
    head = Repository.open(store).head()
    assert head is not None
    for name in (f"snapshots/{head.parents[0]}.json", f"amendments/{head.amendments[0]}.json",
                 f"segments/{head.segments[0]}/arrays/energy_sigma0/c.0"):  # fmt: skip
        content = bytearray((store / name).read_bytes())
        content[len(content) // 3] ^= 1
        (store / name).write_bytes(content)
        assert [one.how for one in repair(store).mended] == [BIT]
    assert files(store) == files(pristine)


def test_a_file_that_belongs_to_nothing_is_taken_away(store: Path) -> None:
    stranger = store / "segments" / segments(store)[0] / "notes.txt"
    stranger.write_text("mine")

    report = repair(store)

    assert verify(store).ok
    assert [Path(place).read_text() for place in report.aside] == ["mine"]


# HEAD and tags


def test_a_missing_head_is_the_only_snapshot_that_no_other_follows(store: Path, pristine: Path) -> None:
    (store / "HEAD").unlink()
    assert [one.how for one in repair(store).mended] == [LAST]
    assert files(store) == files(pristine)


@pytest.mark.parametrize("name", ["HEAD", "refs/v1"])
def test_a_flipped_bit_in_a_name_leads_to_the_nearest_snapshot(store: Path, pristine: Path, name: str) -> None:
    for at in (0, 20, 63):
        content = bytearray((store / name).read_bytes())
        content[at] ^= 1
        (store / name).write_bytes(content)
        assert [one.how for one in repair(store).mended] == [NEAREST]
        assert files(store) == files(pristine)


def test_where_head_could_be_one_of_two_the_user_chooses(store: Path) -> None:
    """A writer that died before it replaced HEAD leaves a snapshot that nothing follows either."""
    head = (store / "HEAD").read_bytes()
    add(store, [1], 2, seed=40)
    other = (store / "HEAD").read_text().strip()
    (store / "HEAD").write_bytes(head)
    add(store, [2], 2, seed=60)
    expected = (store / "HEAD").read_text().strip()
    (store / "HEAD").unlink()

    with pytest.raises(UsageError, match=r"found 2: .*--head") as caught:
        repair(store)
    assert expected[:12] in str(caught.value)
    assert other[:12] in str(caught.value)
    with pytest.raises(NotFound, match="found 0"):
        repair(store, head="0000")

    repair(store, head=expected[:12])
    assert (store / "HEAD").read_text().strip() == expected
    with pytest.raises(UsageError, match="well"):
        repair(store, head=other)


def test_the_snapshot_that_head_names_is_given_up_for_the_one_before(store: Path) -> None:
    head = Repository.open(store).head()
    assert head is not None
    (store / "refs" / "v1").unlink()
    (store / "snapshots" / f"{head.id}.json").unlink()

    report = repair(store)
    assert [Path(fault.path).name for fault in report.faults] == [f"{head.id}.json"]

    report = repair(store, drop=True)
    assert verify(store).ok
    assert (store / "HEAD").read_text().strip() == head.parents[0]
    assert report.notes == [f"snapshot {head.id}, which HEAD named, is lost"]


def test_a_tag_of_a_lost_snapshot_goes(store: Path) -> None:
    (store / "refs" / "v1").write_text("0" * 64 + "\n")

    assert repair(store).faults
    repair(store, drop=True)

    assert verify(store).ok
    assert not (store / "refs" / "v1").exists()


# giving up


def test_only_the_calculation_under_the_changed_bytes_is_lost(store: Path) -> None:
    """Positions begin with run 1; the block of a MiB holds all three runs, but ids tell which numbers changed."""
    before = shown(store)
    old = Repository.open(store).snapshot()
    kept = old.table("configurations").filter(old.table("configurations")["path"].to_numpy(False) != PATHS[1])
    numbers = old.read(np.array([list(one.as_py()) for one in kept["id"]], np.uint8))
    scribble(store / "segments" / segments(store)[0] / "arrays" / "positions" / "c.0.0")

    report = repair(store, drop=True)

    assert [(one.path, one.n_configurations, one.sources) for one in report.lost] == [(PATHS[1], 3, (PATHS[1],))]
    assert shown(store) == {path: what for path, what in before.items() if path != PATHS[1]}
    found = verify(store)
    assert found.faults == []
    assert len(found.lost) == 1
    again = Repository.open(store).snapshot().read(np.array([list(one.as_py()) for one in kept["id"]], np.uint8))
    assert all((again.get(name) == numbers.get(name)).all() for name in ("positions", "energy", "forces", "step"))


def test_a_block_that_no_id_covers_costs_all_calculations_in_it(store: Path) -> None:
    scribble(store / "segments" / segments(store)[1] / "arrays" / "energy_sigma0" / "c.0")

    report = repair(store, drop=True)

    assert {(one.path, one.n_configurations) for one in report.lost} == {(PATHS[4], 4), (PATHS[5], 4)}
    assert set(shown(store)) == {PATHS[1], PATHS[2]}
    assert verify(store).ok


def test_what_is_saved_stays_hidden_or_amended(store: Path) -> None:
    first, last = (store / "segments" / name / "arrays" / "positions" / "c.0.0" for name in segments(store))
    scribble(first)
    scribble(last, int(frames(4, 4).n_atoms.sum()) * 24)  # where run 5 begins

    report = repair(store, drop=True)

    assert {one.path for one in report.lost} == {PATHS[1], PATHS[5]}
    assert shown(store) == {PATHS[2]: ("aimd", 3), PATHS[4]: ("random", 3)}
    head = Repository.open(store).head()
    assert head is not None
    assert {one.reason for one in head.retracted if not one.reason.startswith(DAMAGED)} == {"test"}
    assert verify(store).ok


def test_without_its_table_of_calculations_a_segment_is_lost_whole_and_named_by_the_other_tables(store: Path) -> None:
    (store / "segments" / segments(store)[1] / "calculations.parquet").unlink()

    report = repair(store, drop=True)

    assert {(one.path, one.n_configurations) for one in report.lost} == {(PATHS[4], 4), (PATHS[5], 4)}
    assert set(shown(store)) == {PATHS[1], PATHS[2]}
    assert verify(store).ok
    assert everything(store)


def test_a_segment_of_which_nothing_is_left_is_lost(store: Path) -> None:
    shutil.rmtree(store / "segments" / segments(store)[1])

    report = repair(store, drop=True)

    assert [(one.path, one.n_configurations) for one in report.lost] == [("", None)]
    assert set(shown(store)) == {PATHS[1], PATHS[2]}
    assert verify(store).ok


def test_a_lost_amendment_leaves_what_was_stored(store: Path) -> None:
    (path,) = (store / "amendments").iterdir()
    path.unlink()

    report = repair(store, drop=True)

    assert shown(store)[PATHS[4]] == ("aimd", 4)
    assert report.notes == [f"attributes that amendment {path.stem} gave are as they were before it"]
    assert verify(store).ok


def test_the_log_ends_before_a_lost_snapshot(store: Path) -> None:
    (store / "refs" / "v1").unlink()
    chain = [one.id for one in Repository.open(store).log()]
    (store / "snapshots" / f"{chain[1]}.json").unlink()

    report = repair(store, drop=True)

    assert report.notes == [f"the log ends before snapshot {chain[1]}"]
    assert [one.id for one in Repository.open(store).log()] == [report.snapshot, chain[0]]
    assert verify(store).ok


def test_a_twin_that_another_writer_brought_takes_the_place_of_what_is_lost(tmp_path: Path) -> None:
    store = tmp_path / "store"
    add(store, [1])
    repository = Repository.open(store)
    with repository.stage() as one, repository.stage() as two:
        for writer, numbers in ((one, [2, 3]), (two, [2, 4])):
            for number in numbers:
                writer.begin()
                writer.append(frames(3, number))
                writer.end(calculation(number))
            repository.commit(writer)
    before = shown(store)
    shutil.rmtree(store / "segments" / segments(store)[1] / "arrays" / "positions")

    report = repair(store, drop=True)

    assert [one.path for one in report.lost] == [PATHS[3]]
    assert shown(store) == {path: what for path, what in before.items() if path != PATHS[3]}
    assert verify(store).ok


def test_what_was_given_up_is_entered_again_and_the_content_is_the_old_one(tmp_path: Path) -> None:
    store = tmp_path / "store"
    add(store, [1, 2])
    before = Repository.open(store).snapshot().content
    scribble(store / "segments" / segments(store)[0] / "arrays" / "positions" / "c.0.0")
    assert [one.path for one in repair(store, drop=True).lost] == [PATHS[1]]
    assert Repository.open(store).snapshot().content != before

    add(store, [1])

    assert Repository.open(store).snapshot().content == before
    assert verify(store).ok


def test_a_copy_mends_even_what_was_given_up(store: Path, pristine: Path) -> None:
    scribble(store / "segments" / segments(store)[0] / "arrays" / "positions" / "c.0.0")
    repair(store, drop=True)

    repair(store, pristine)

    assert verify(store).lost == []
    assert repair(store, drop=True).snapshot == ""


def test_a_store_that_is_well_is_left_alone(store: Path, pristine: Path) -> None:
    for drop in (False, True):
        report = repair(store, pristine, drop=drop)
        assert (report.mended, report.aside, report.faults, report.lost, report.snapshot) == ([], [], [], [], "")
    assert files(store) == files(pristine)


def test_without_a_store_or_a_copy_nothing_is_done(store: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="store"):
        repair(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="copy"):
        repair(store, tmp_path / "nowhere")


def test_a_damaged_snapshot_cannot_be_opened_before_and_can_after(store: Path) -> None:
    shutil.rmtree(store / "segments" / segments(store)[1] / "arrays" / "forces")
    with pytest.raises(CorruptError):
        everything(store)

    repair(store, drop=True)

    assert everything(store)
