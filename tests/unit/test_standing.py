"""Status: each state of a run with its reason, what is missing and what is left out, without reading what is known."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from archives import tar
from small_runs import DONE, MD, OTHER, put, text

from mlpdata import standing
from mlpdata.errors import UsageError
from mlpdata.intake import sync
from mlpdata.schema.sidecar import Sidecar
from mlpdata.standing import MEANINGS, TreeStatus, refused_below, status
from mlpdata.testing.layouts import files
from mlpdata.testing.springs import Run

TREE = Path("runs")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of one run in the current folder."""
    monkeypatch.chdir(tmp_path)
    put(TREE / "a", DONE)
    return TREE


def states(**how: object) -> dict[str, str]:
    """The state of each run."""
    return {one.name: one.state for one in status(TREE, **how).runs}


def reason(name: str) -> str:
    (found,) = (one.reason for one in status(TREE).runs if one.name == name)
    return found


# each state


def test_without_a_store_everything_is_new_and_none_is_made() -> None:
    assert states() == {"a/OUTCAR": "new"}
    assert not Path("store").exists()


def test_what_is_stored_and_complete_is_done() -> None:
    sync(TREE)
    assert states() == {"a/OUTCAR": "done"}
    assert reason("a/OUTCAR") == ""


def test_a_run_without_an_end_mark_is_unfinished_and_the_reason_says_so() -> None:
    put(TREE / "b", replace(MD, seed=9))
    sync(TREE)
    assert states() == {"a/OUTCAR": "done", "b/OUTCAR": "unfinished"}
    assert "General timing" in reason("b/OUTCAR")


def test_a_longer_file_that_begins_with_what_was_read_has_grown() -> None:
    put(TREE / "b", replace(MD, seed=9))
    sync(TREE)
    put(TREE / "b", replace(MD, seed=9).grown(2))
    assert states()["b/OUTCAR"] == "grown"


def test_files_that_are_written_anew_with_the_same_header_have_grown() -> None:
    run = Run("vasprun", seed=3, n_steps=2)
    put(TREE / "x", run)
    packed = TREE / "g/OUTCAR.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(text(replace(MD, seed=9)), mtime=0))
    sync(TREE)
    put(TREE / "x", run.ended("finished"))
    packed.write_bytes(gzip.compress(text(replace(MD, seed=9).grown(1)), mtime=0))
    assert states() == {"a/OUTCAR": "done", "g/OUTCAR.gz": "grown", "x/vasprun.xml": "grown"}


def test_a_run_to_which_a_file_was_added_has_grown_and_one_that_lost_a_file_is_to_be_said_anew() -> None:
    run = files(replace(DONE, code="vasp"))
    (TREE / "b").mkdir()
    (TREE / "b/OUTCAR").write_bytes(run["OUTCAR"])
    shutil.rmtree(TREE / "a")
    sync(TREE)
    (TREE / "b/vasprun.xml").write_bytes(run["vasprun.xml"])
    assert states() == {"b/vasprun.xml": "grown"}
    assert "another was not" in reason("b/vasprun.xml")

    sync(TREE)
    assert states() == {"b/vasprun.xml": "done"}
    (TREE / "b/OUTCAR").unlink()
    assert states() == {"b/vasprun.xml": "said"}


def test_what_is_said_anew_is_said() -> None:
    sync(TREE)
    (TREE / "mlpdata.yaml").write_text("license: MIT\n")
    assert states() == {"a/OUTCAR": "said"}
    sync(TREE)
    assert states() == {"a/OUTCAR": "done"}
    assert states(default=Sidecar(citation="ours")) == {"a/OUTCAR": "said"}
    assert states(from_path=["{system}"]) == {"a/OUTCAR": "said"}


def test_another_run_of_the_name_is_changed_before_and_after_a_sync() -> None:
    sync(TREE)
    put(TREE / "a", OTHER)
    for _ in range(2):
        assert states() == {"a/OUTCAR": "changed"}
        assert "What is stored stays" in reason("a/OUTCAR")
        sync(TREE)


def test_other_numbers_under_the_same_header_are_changed_once_sync_has_looked() -> None:
    sync(TREE)
    put(TREE / "a", replace(DONE, seed=15))
    assert states() == {"a/OUTCAR": "grown"}
    sync(TREE)
    assert states() == {"a/OUTCAR": "changed"}


def test_the_first_of_identical_files_counts_and_the_others_are_copies() -> None:
    put(TREE / "b", DONE)
    assert states() == {"a/OUTCAR": "new", "b/OUTCAR": "copy"}
    sync(TREE)
    assert states() == {"a/OUTCAR": "done", "b/OUTCAR": "copy"}


def test_runs_that_gave_up_and_files_that_cannot_be_read_failed_with_their_reason() -> None:
    put(TREE / "b", replace(MD, seed=9).ended("failed"))
    put(TREE / "c", Run("orca", seed=3, n_steps=2).ended("failed"))
    put(TREE / "d", Run("extxyz", seed=3))
    (TREE / "e").mkdir()
    (TREE / "e/OUTCAR").touch()
    assert states()["e/OUTCAR"] == "failed"
    assert states()["d/frames.extxyz"] == "new"

    sync(TREE)

    assert {name for name, state in states().items() if state == "failed"} == {
        "b/OUTCAR", "c/orca.out", "d/frames.extxyz", "e/OUTCAR",
    }  # fmt: skip
    assert "ZPOTRF" in reason("b/OUTCAR")
    assert "SCF" in reason("c/orca.out")
    assert "--units" in reason("d/frames.extxyz")
    assert "empty file" in reason("e/OUTCAR")
    assert [one.path for one in status(TREE).refused] == ["d/frames.extxyz", "e/OUTCAR"]
    assert [one.path for one in refused_below(TREE, Path("store"))] == ["d/frames.extxyz", "e/OUTCAR"]


def test_runs_in_an_archive_stand_like_others() -> None:
    archive = TREE / "old.tar"
    archive.write_bytes(tar({"x/OUTCAR": text(replace(MD, seed=9)), "y/OUTCAR": text(DONE)}))
    assert states() == {"a/OUTCAR": "new", "old.tar!x/OUTCAR": "new", "old.tar!y/OUTCAR": "copy"}
    sync(TREE)
    assert states()["old.tar!x/OUTCAR"] == "unfinished"
    archive.write_bytes(tar({"x/OUTCAR": text(replace(DONE, seed=9).grown(1)), "y/OUTCAR": text(DONE)}))
    assert states()["old.tar!x/OUTCAR"] == "grown"
    sync(TREE)
    assert states()["old.tar!x/OUTCAR"] == "done"


def test_what_is_stored_is_not_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    put(TREE / "b", replace(MD, seed=9))
    sync(TREE)
    monkeypatch.setattr(standing, "open_run", None)
    assert states() == {"a/OUTCAR": "done", "b/OUTCAR": "unfinished"}


# what is not there and what is left out


def test_what_is_gone_is_missing_and_what_moved_is_not() -> None:
    put(TREE / "b", OTHER)
    sync(TREE)
    shutil.rmtree(TREE / "b")
    (TREE / "a").rename(TREE / "z")

    found = status(TREE)

    assert found.missing == ["b/OUTCAR"]
    assert [(one.name, one.state) for one in found.runs] == [("z/OUTCAR", "done")]


def test_counts_hold_every_state_and_what_was_ignored() -> None:
    (TREE / ".mlpdataignore").write_text("old\n")
    (TREE / "old").mkdir()
    (TREE / "note").write_text("x")
    found = status(TREE)
    assert found.counts == {**dict.fromkeys(MEANINGS, 0), "new": 1, "ignored": 1}
    assert found.not_outputs == 1
    assert [(one.name, one.reason.rpartition("/")[2]) for one in found.passed_over] == [
        ("old", ".mlpdataignore:1: old")
    ]
    assert found.named("ignored") == ["old"]
    assert found.named("new") == ["a/OUTCAR"]


def test_an_empty_tree_is_no_mistake() -> None:
    sync(TREE)
    shutil.rmtree(TREE / "a")
    found = status(TREE)
    assert (found.runs, found.missing) == ([], ["a/OUTCAR"])
    assert found.named("missing") == ["a/OUTCAR"]


def test_conflicts_and_notes_are_those_of_a_sync(tmp_path: Path) -> None:
    (TREE / "mlpdata.yaml").write_text("kind: random\n")
    table = tmp_path / "said.csv"
    table.write_text("path,kind\na,defect\nnone,defect\n")

    found = status(TREE, maps=[table])
    report = sync(TREE, maps=[table], dry_run=True)

    assert found.notes == report.notes
    assert set(found.conflicts) <= set(report.conflicts)
    assert len(found.conflicts) == len(found.notes) == 1


def test_the_json_has_all_of_it() -> None:
    found = json.loads(json.dumps(status(TREE).as_json()))
    assert set(found) == {
        "counts", "runs", "missing", "ignored", "not_outputs", "conflicts", "notes", "refused",
    }  # fmt: skip
    assert found["runs"] == [{"name": "a/OUTCAR", "state": "new", "reason": ""}]
    assert TreeStatus().as_json()["runs"] == []


@pytest.mark.parametrize(("name", "said"), [("nowhere", "found none"), ("runs/a/OUTCAR", "found a file")])
def test_what_is_no_folder_is_a_mistake(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        status(name)
