"""Sync: a store follows its tree, takes just what is new, and ends where one fresh ingest of the tree would."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import DONE, MD, OTHER, as_fresh, put, rows, text

from mlpdata import ahead
from mlpdata.annotate import annotate
from mlpdata.api import Store
from mlpdata.discover import Output
from mlpdata.errors import ParseError, UsageError
from mlpdata.intake import ingest, sync
from mlpdata.runs import Event, read_output
from mlpdata.standing import refused_below, status
from mlpdata.testing.springs import Run

STORE = Path("store")
TREE = Path("runs")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree in the current folder."""
    monkeypatch.chdir(tmp_path)
    TREE.mkdir()
    return TREE


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of outputs that are read, as they are."""
    names: list[str] = []

    def counting(output: Output) -> Iterator[Event]:
        names.append(output.name)
        return read_output(output)

    monkeypatch.setattr(ahead, "read_output", counting)
    return names


def ids(path: str) -> list[object]:
    """Ids of the configurations of a run in their order."""
    found = rows(STORE, "id", f"configurations WHERE path = '{path}'", "row")
    return [one for (one,) in found]


def shown() -> list[tuple[object, ...]]:
    return rows(STORE, "path, n_configurations")


# one commit, and only what is new


def test_what_is_new_is_taken_in_one_commit_and_nothing_is_read_again(read: list[str]) -> None:
    put(TREE / "a", DONE)
    first = sync(TREE)
    put(TREE / "b", OTHER)
    put(TREE / "c", replace(OTHER, seed=6))
    read.clear()

    second = sync(TREE)

    assert read == ["b/OUTCAR", "c/OUTCAR"]
    assert second.unchanged == ["a/OUTCAR"]
    assert [one.id for one in Store(STORE).log()] == [second.snapshot, first.snapshot]


def test_nothing_new_is_no_new_snapshot() -> None:
    put(TREE / "a", DONE)
    first = sync(TREE)
    again, exact = sync(TREE), sync(TREE, exact=True)
    assert first.snapshot == again.snapshot == exact.snapshot
    assert len(list(Store(STORE).log())) == 1


# growth


def test_a_file_that_grew_takes_the_place_of_its_beginning_and_common_frames_keep_their_ids() -> None:
    put(TREE / "a", MD)
    sync(TREE)
    before = ids("a/OUTCAR")
    put(TREE / "a", DONE.grown(2))

    report = sync(TREE)

    assert [(one.path, one.n_configurations, one.replaced) for one in report.entered] == [("a/OUTCAR", 5, True)]
    assert len(before) == 3
    assert ids("a/OUTCAR")[:3] == before
    assert shown() == [("a/OUTCAR", 5)]
    assert as_fresh(TREE, STORE)


@pytest.mark.parametrize("lost", [30, 700])
def test_a_vasprun_that_was_cut_and_is_written_anew_is_the_same_run(lost: int) -> None:
    run = Run("vasprun", seed=3, n_steps=4)
    path = put(TREE / "a", run)
    path.write_bytes(text(run)[:-lost])
    sync(TREE)
    (before,) = shown()
    common = ids("a/vasprun.xml")
    put(TREE / "a", run.grown(1).ended("finished"))

    report = sync(TREE)

    assert before[1] in (3, 4)
    assert not report.changed
    assert rows(STORE, "path, n_configurations, status") == [("a/vasprun.xml", 5, "complete")]
    assert ids("a/vasprun.xml")[: len(common)] == common
    assert as_fresh(TREE, STORE)


def test_a_file_compressed_again_after_it_grew_is_the_same_run() -> None:
    packed = put(TREE / "a", MD).with_suffix(".gz")
    packed.with_suffix("").unlink()
    packed.write_bytes(gzip.compress(text(MD), mtime=0))
    sync(TREE)
    packed.write_bytes(gzip.compress(text(DONE.grown(3)), mtime=0))

    report = sync(TREE)

    assert not report.changed
    assert shown() == [("a/OUTCAR.gz", 6)]
    assert as_fresh(TREE, STORE)


def test_a_file_that_is_compressed_beside_itself_is_one_calculation_at_every_moment() -> None:
    plain = put(TREE / "a", DONE)
    sync(TREE)
    packed = plain.with_suffix(".gz")
    packed.write_bytes(gzip.compress(text(DONE), mtime=0))
    sync(TREE)
    assert shown() == [("a/OUTCAR", 3)]
    assert as_fresh(TREE, STORE)

    plain.unlink()
    sync(TREE, exact=True)
    assert shown() == [("a/OUTCAR.gz", 3)]
    assert as_fresh(TREE, STORE)


# what changed otherwise


def test_another_run_under_the_same_name_is_reported_and_what_is_stored_stays(read: list[str]) -> None:
    put(TREE / "a", DONE)
    before = sync(TREE)
    put(TREE / "a", OTHER)

    after = sync(TREE)

    assert [(one.path, one.code) for one in after.changed] == [("a/OUTCAR", "changed")]
    assert "What is stored stays" in after.changed[0].reason
    assert (after.content, after.snapshot) == (before.content, before.snapshot)
    read.clear()
    assert sync(TREE).changed == after.changed
    assert read == []


def test_the_same_header_with_other_numbers_is_another_run() -> None:
    put(TREE / "a", DONE)
    before = sync(TREE)
    put(TREE / "a", replace(DONE, seed=15).grown(2))  # as many atoms of the same kind, started in the same second

    after = sync(TREE)

    assert [one.path for one in after.changed] == ["a/OUTCAR"]
    assert after.content == before.content


def test_an_exact_sync_takes_the_other_run_and_the_old_one_is_gone() -> None:
    put(TREE / "a", DONE)
    sync(TREE)
    old = set(ids("a/OUTCAR"))
    put(TREE / "a", OTHER)
    sync(TREE)

    report = sync(TREE, exact=True)

    assert "takes the place" in report.changed[0].reason
    assert not old & set(ids("a/OUTCAR"))
    assert as_fresh(TREE, STORE)
    assert not sync(TREE, exact=True).changed


def test_a_run_that_changed_back_is_the_one_that_is_stored() -> None:
    put(TREE / "a", DONE)
    before = sync(TREE)
    put(TREE / "a", OTHER)
    sync(TREE)
    put(TREE / "a", DONE)
    report = sync(TREE)
    assert (report.changed, report.unchanged, report.content) == ([], ["a/OUTCAR"], before.content)


# refused files


def test_refused_files_are_not_read_twice(read: list[str]) -> None:
    put(TREE / "a", DONE)
    put(TREE / "b", Run("extxyz", seed=3))  # states no units
    first = sync(TREE)
    assert read == ["a/OUTCAR", "b/frames.extxyz"]
    read.clear()

    second = sync(TREE)

    assert read == []
    assert second.refused == first.refused
    assert first.refused[0].code == "units-unknown"


def test_a_refused_file_is_tried_again_when_something_new_is_said_of_its_numbers(read: list[str]) -> None:
    put(TREE / "b", Run("extxyz", seed=3))
    sync(TREE)
    (TREE / "b/mlpdata.yaml").write_text("units: {energy: eV, length: angstrom}\n")
    assert not sync(TREE).refused
    assert read == ["b/frames.extxyz"] * 2
    assert shown() == [("b/frames.extxyz", 1)]


def test_what_was_missing_on_the_machine_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(TREE / "a", DONE)

    def gone(output: Output) -> Iterator[Event]:
        moved = path.rename(path.with_name("moved"))
        try:
            yield from read_output(output)
        finally:
            moved.rename(path)

    with monkeypatch.context() as patched:
        patched.setattr(ahead, "read_output", gone)
        assert [one.path for one in sync(TREE).refused] == ["a/OUTCAR"]
    assert not sync(TREE).refused
    assert shown() == [("a/OUTCAR", 3)]


def test_a_file_that_breaks_after_its_first_run_still_follows_its_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(output: Output) -> Iterator[Event]:
        yield from read_output(output)
        raise ParseError("expected a further run, found none.", path=str(output.path), line=9)

    monkeypatch.setattr(ahead, "read_output", breaking)
    put(TREE / "a", DONE)
    assert [one.line for one in sync(TREE).refused] == [9]
    (TREE / "mlpdata.yaml").write_text("license: MIT\n")

    sync(TREE, exact=True)

    assert rows(STORE, "path, license") == [("a/OUTCAR", "MIT")]


def test_failed_lists_what_was_refused_when_it_was_tried_and_what_cannot_be_opened() -> None:
    put(TREE / "a", DONE)
    put(TREE / "b", Run("extxyz", seed=3))
    (TREE / "c").mkdir()
    (TREE / "c/OUTCAR").touch()
    sync(TREE)
    assert {one.path: one.code for one in refused_below(TREE, STORE)} == {
        "b/frames.extxyz": "units-unknown",
        "c/OUTCAR": "input",
    }


# what is said


def test_annotations_outlive_the_growth_of_a_run_and_end_with_an_exact_sync() -> None:
    put(TREE / "a", MD)
    sync(TREE)
    annotate(
        STORE, "SELECT calculation_id FROM calculations", {"kind": "defect", "tag.by": "hand"}, by="me", why="looked"
    )
    put(TREE / "a", DONE.grown(1))

    sync(TREE)
    assert rows(STORE, "n_configurations, kind, tags['by']") == [(4, "defect", "hand")]
    assert "me" in str(rows(STORE, "json")[0][0])

    sync(TREE, exact=True)
    assert rows(STORE, "n_configurations, kind, tags['by']") == [(4, "aimd", None)]
    assert as_fresh(TREE, STORE)


def test_a_sidecar_that_changes_changes_the_attributes_and_no_id() -> None:
    put(TREE / "a", DONE)
    sync(TREE)
    before = ids("a/OUTCAR")
    (TREE / "a/mlpdata.yaml").write_text("license: MIT\nkind: random\ntags: {batch: one}\n")

    sync(TREE)

    assert rows(STORE, "license, kind, tags['batch']") == [("MIT", "random", "one")]
    assert ids("a/OUTCAR") == before
    assert as_fresh(TREE, STORE)


def test_a_sidecar_that_is_taken_back_retracts_nothing_but_what_it_said() -> None:
    put(TREE / "a", DONE)
    sync(TREE)
    sidecar = TREE / "mlpdata.yaml"
    sidecar.write_text("license: MIT\n")
    sync(TREE)
    sidecar.unlink()

    report = sync(TREE, exact=True)

    assert report.retracted == []
    assert rows(STORE, "license") == [(None,)]
    assert as_fresh(TREE, STORE)


def test_templates_and_maps_speak_below_the_tree_and_report_what_they_meet(tmp_path: Path) -> None:
    put(TREE / "Si/450K/one", DONE)
    put(TREE / "odd", OTHER)
    table = tmp_path / "said.csv"
    table.write_text("path,license\nSi/450K/one,MIT\nSi/450K/two,MIT\n")

    report = sync(TREE, from_path=["{system}/{temperature}K/{run}"], maps=[table])

    assert rows(STORE, "path, temperature_target, license") == [
        ("Si/450K/one/OUTCAR", 450.0, "MIT"),
        ("odd/OUTCAR", 300.0, None),
    ]
    assert rows(STORE, "system")[0] == ("Si",)
    assert any("450" in one and "300" in one for one in report.conflicts)
    assert any("Si/450K/two" in one for one in report.notes)
    assert any("odd/OUTCAR" in one for one in report.notes)


def test_a_template_that_matches_nothing_at_all_is_a_mistake() -> None:
    put(TREE / "a", DONE)
    with pytest.raises(UsageError, match="expected a template that matches the runs"):
        sync(TREE, from_path=["{system}/{temperature}K/{run}"])
    assert not STORE.exists()


def test_two_that_speak_of_one_run_are_a_conflict_and_the_map_counts(tmp_path: Path) -> None:
    put(TREE / "a", DONE)
    (TREE / "a/mlpdata.yaml").write_text("kind: random\n")
    table = tmp_path / "said.csv"
    table.write_text("path,kind\na,defect\n")

    report = sync(TREE, maps=[table])

    assert rows(STORE, "kind") == [("defect",)]
    assert any("defect" in one and "random" in one and "a/OUTCAR" in one for one in report.conflicts)


def test_an_ingest_takes_templates_and_maps_relative_to_each_folder(tmp_path: Path) -> None:
    put(TREE / "Si/one", DONE)
    table = tmp_path / "said.csv"
    table.write_text("path,kind\nSi/one,defect\n")
    ingest(TREE, from_path=["{system}/{run}"], maps=[table])
    assert rows(STORE, "path, system, kind") == [("runs/Si/one/OUTCAR", "Si", "defect")]


# restarts and paths


NEXT = DONE.continued(9000, overlap=True).grown(3).ended("finished")
"""Begins with the last configuration of DONE."""
CHAIN = [("run1/OUTCAR", "", 3), ("run2/OUTCAR", "run1/OUTCAR", 3)]


@pytest.mark.parametrize("order", [("run1", "run2"), ("run2", "run1")])
def test_a_restart_is_one_group_and_shows_the_overlap_once_in_whatever_order_it_comes(order: tuple[str, ...]) -> None:
    runs = {"run1": DONE, "run2": NEXT}
    for name in order:
        put(TREE / name, runs[name])
        sync(TREE)

    assert rows(STORE, "path, continues, n_configurations") == CHAIN
    assert len(set(rows(STORE, '"group"'))) == 1
    assert not set(ids("run1/OUTCAR")) & set(ids("run2/OUTCAR"))
    assert as_fresh(TREE, STORE)


def test_without_the_run_it_continues_a_restart_shows_its_first_configuration_again() -> None:
    put(TREE / "run1", DONE)
    put(TREE / "run2", NEXT)
    sync(TREE)
    overlap = ids("run1/OUTCAR")[-1]
    shutil.rmtree(TREE / "run1")

    report = sync(TREE, exact=True)

    assert report.retracted == ["run1/OUTCAR"]
    assert rows(STORE, "path, continues, n_configurations") == [("run2/OUTCAR", "", 4)]
    assert ids("run2/OUTCAR")[0] == overlap
    assert as_fresh(TREE, STORE)


def test_a_run_that_grows_after_its_restart_is_there_stays_in_the_chain() -> None:
    put(TREE / "run1", replace(MD, n_steps=2))
    put(TREE / "run2", NEXT)
    sync(TREE)
    put(TREE / "run1", DONE)
    sync(TREE)
    assert rows(STORE, "path, continues, n_configurations") == CHAIN
    assert as_fresh(TREE, STORE)


def test_the_images_of_a_band_are_one_path() -> None:
    for image in range(3):
        put(TREE / f"neb/{image:02d}", replace(DONE, first=4 * image, n_steps=1))
    (TREE / "neb/INCAR").write_text("IMAGES = 1\n")

    sync(TREE)

    assert {kind for (kind,) in rows(STORE, "kind")} == {"reaction_path"}
    assert len(set(rows(STORE, '"group"'))) == 1
    assert sync(TREE, exact=True).entered == []


def test_status_and_sync_name_the_same_files_failed() -> None:
    put(TREE / "b", Run("extxyz", seed=3))
    sync(TREE)
    assert [(one.name, one.state) for one in status(TREE).runs] == [("b/frames.extxyz", "failed")]


def test_what_a_sidecar_says_as_before_does_not_undo_an_annotation() -> None:
    put(TREE / "a", DONE)
    (TREE / "mlpdata.yaml").write_text("system: silicon\n")
    sync(TREE)
    annotate(STORE, "SELECT calculation_id FROM calculations", {"system": "diamond"}, by="ann")

    assert sync(TREE).entered == []
    assert systems() == [("diamond", "annotated by ann")]
    (TREE / "mlpdata.yaml").write_text("system: graphite\n")
    assert len(sync(TREE).entered) == 1
    assert systems() == [("graphite", "declared in mlpdata.yaml")]


def systems() -> list[tuple[str, str]]:
    """The system of each calculation, and what it rests on."""
    return [(one.system, one.rests_on["system"]) for one in Store(STORE).snapshot().calculations()]
