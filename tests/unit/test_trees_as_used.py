"""Trees as people have them: each test is a case in which a report or a record was wrong once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archives import tar
from small_runs import DONE, MD, OTHER, rows, text
from tiny import Verb, refused

from mlpdata.discover import Output
from mlpdata.intake import sync
from mlpdata.layouts import MAX_MARK_BYTES
from mlpdata.runs import read_output
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.sidecar import Sidecar
from mlpdata.standing import TreeStatus, status
from mlpdata.testing.layouts import files
from mlpdata.testing.springs import Run

TREE = Path("runs")
PACKED = Path("packed")
CP2K = Run("cp2k", seed=7, n_steps=2).ended("finished")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree in the current folder."""
    monkeypatch.chdir(tmp_path)
    TREE.mkdir()
    return TREE


def in_both(content: dict[str, bytes]) -> tuple[TreeStatus, TreeStatus]:
    """Write files to the tree, and an archive of them to the tree `packed`; how each stands before a sync of it."""
    for name, one in content.items():
        (TREE / name).parent.mkdir(parents=True, exist_ok=True)
        (TREE / name).write_bytes(one)
    PACKED.mkdir()
    (PACKED / "all.tar").write_bytes(tar(content))
    before = status(TREE, "store"), status(PACKED, "store_packed")
    sync(TREE, "store")
    sync(PACKED, "store_packed")
    return before


# what is counted


def test_a_file_that_is_a_part_of_a_run_is_none_that_no_reader_knows() -> None:
    assert len(files(CP2K)) == 2  # the output, and its trajectory
    disk, inside = in_both({**{f"a/{name}": one for name, one in files(CP2K).items()}, "a/job.sh": b"#!/bin/sh\n"})
    assert disk.not_outputs == inside.not_outputs == 1


# an archive holds what was packed into it


def test_what_workflow_tools_say_of_a_folder_holds_in_an_archive_too() -> None:
    firework = json.dumps({"fw_id": 7, "name": "static", "spec": {"padding": "x" * 70_000}}).encode()
    assert len(firework) < MAX_MARK_BYTES
    in_both(
        {
            "dpgen/iter.000003/02.fp/task.000.000007/OUTCAR": text(DONE),
            "launch/FW.json": firework,
            "launch/OUTCAR": text(OTHER),
        }
    )
    (of_task,), (of_launch,) = rows("store_packed", "tags")
    assert dict(of_task)["dpgen_task"] == "000.000007"
    assert dict(of_launch)["fw_id"] == "7"
    assert rows("store", "tags") == [(of_task,), (of_launch,)]


def test_folders_that_a_walk_does_not_enter_are_passed_over_in_an_archive_too() -> None:
    disk, inside = in_both(
        {
            "fp/task.000.000001/OUTCAR": text(DONE),
            "fp/data.000/OUTCAR": text(OTHER),
            "fp/data.000/set.000/OUTCAR": text(MD),
        }
    )
    assert [one.name for one in disk.passed_over] == ["fp/data.000"]
    assert [one.name for one in inside.passed_over] == ["all.tar!fp/data.000"]
    assert disk.passed_over[0].reason == inside.passed_over[0].reason
    assert rows("store_packed", "path") == [("all.tar!fp/task.000.000001/OUTCAR",)]


def test_what_is_left_out_of_an_archive_has_the_reason_that_it_has_on_disk() -> None:
    content = {
        "a/OUTCAR": text(DONE),
        "a/error.1.tar": tar({"OUTCAR": text(OTHER)}),
        "a/mlpdata.yaml": b"kind: defect\n",
    }
    disk, inside = in_both(content)
    assert [one.reason for one in disk.passed_over] == ["custodian keeps an attempt that failed in it"]
    assert dict(inside.passed_over) == {
        "all.tar!a/error.1.tar": "custodian keeps an attempt that failed in it",
        "all.tar!a/mlpdata.yaml": "sidecars count beside an archive, not in it",
    }


def test_inspect_shows_the_outputs_of_archives_and_not_what_an_archive_begins_with(verb: Verb) -> None:
    in_both({"a/OUTCAR": text(DONE), "b/OUTCAR": text(OTHER)})
    answer = verb("inspect", "packed")
    assert [line for line in answer.out.splitlines() if line[0] != " "] == [
        "packed/all.tar!a/OUTCAR",
        "packed/all.tar!b/OUTCAR",
    ]
    shown, alone = verb("inspect", "packed/all.tar!b/OUTCAR", "--json"), verb("inspect", "runs/b/OUTCAR", "--json")
    assert {**json.loads(shown.out), "path": ""} == {**json.loads(alone.out), "path": ""}
    refused(verb("inspect", "packed/all.tar!c/OUTCAR"), 2, "packed/all.tar!c/OUTCAR: expected a file in the archive")
    refused(verb("inspect", "packed/none.tar!c/OUTCAR"), 2, "packed/none.tar!c/OUTCAR: expected a file or folder")
    (PACKED / "all.tar").write_bytes((PACKED / "all.tar").read_bytes()[:600])
    answer = verb("inspect", "packed/all.tar")
    assert answer.code == 3
    assert "packed/all.tar: expected" in answer.err


def test_the_method_of_a_member_is_shown_under_the_name_that_its_configurations_have(verb: Verb) -> None:
    in_both({"a/OUTCAR": text(DONE), "b/pw.out": text(Run("pwscf", seed=3).ended("finished"))})
    member, file = verb("method", "show", "packed/all.tar!b/pw.out"), verb("method", "show", "runs/b/pw.out")
    assert (member.code, member.out) == (0, file.out)
    both = verb("method", "show", "packed/all.tar")
    assert both.out.count("\nmethod: ") + both.out.startswith("method: ") == 2


# what a run is


@pytest.mark.parametrize(
    ("lattice", "kind"),
    [
        ("10 0 0 0 10 0 0 0 10", "isolated_atom"),
        ("0 5.5 5.5 5.5 0 5.5 5.5 5.5 0", "isolated_atom"),  # 7.8 apart
        ("0 2.02 2.02 2.02 0 2.02 2.02 2.02 0", "unknown"),  # aluminium
        ("20 0 0 19 1.5 0 0 0 20", "unknown"),  # 1.8 apart, along the difference of two long vectors
    ],
)
def test_one_atom_is_isolated_where_its_images_are_far_away(lattice: str, kind: str) -> None:
    """The primitive cell of a crystal has one atom as well, and its energy is no reference for anything."""
    path = TREE / "atom.extxyz"
    path.write_text(f'1\nLattice="{lattice}" Properties=species:S:1:pos:R:3 energy=-3.7 pbc="T T T"\nAl 0 0 0\n')
    *_, calculation = read_output(Output(path, path.name, Sidecar(units={"energy": "eV", "length": "angstrom"})))
    assert isinstance(calculation, Calculation)
    assert calculation.kind == kind
