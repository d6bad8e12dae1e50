"""Trees as people have them: each test is a case in which a report or a record was wrong once."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from archives import tar
from small_runs import DONE, MD, OTHER, fresh, put, rows, text
from tiny import Verb, refused

from mlpdata import ahead, intake, relating
from mlpdata.api import Store
from mlpdata.digest import sha256, sha256_file
from mlpdata.discover import Output
from mlpdata.errors import Unavailable
from mlpdata.intake import ingest, last_tree, sync
from mlpdata.layouts import MAX_MARK_BYTES
from mlpdata.readers import archive
from mlpdata.readers.archive import SMALL
from mlpdata.readers.codecs import Codec, codec_of
from mlpdata.runs import Event, read_output
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.sidecar import Sidecar
from mlpdata.standing import TreeStatus, status
from mlpdata.store.amendments import Amended
from mlpdata.testing.layouts import files
from mlpdata.testing.springs import Run

TREE = Path("runs")
PACKED = Path("packed")
AS_STORED = "(SELECT kind, json_extract_string(json, '$.image_of') AS image_of FROM calculations)"
CP2K = Run("cp2k", seed=7, n_steps=2).ended("finished")
GAUSSIAN = Run("gaussian", seed=7, n_steps=3)
ORCA = Run("orca", seed=7, n_steps=4)


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


def test_a_store_in_the_tree_is_no_part_of_it(verb: Verb) -> None:
    put(TREE / "a", DONE)
    sync(".")
    found = status(".")
    assert dict(found.passed_over) == {
        "store": "a store of mlpdata",
        "store.work": "the work folder of a store of mlpdata",
    }
    assert (found.not_outputs, found.counts["done"]) == (0, 1)
    Path("file").touch()
    refused(verb("sync", "runs", "--store", "file"), 4, "file: expected a folder for the store, found a file")


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


def test_a_row_that_names_a_member_as_reports_do_is_told_how_to_name_it(verb: Verb) -> None:
    (TREE / "old.tar").write_bytes(tar({"a/OUTCAR": text(DONE), "b/OUTCAR": text(OTHER)}))
    Path("map.csv").write_text("path,system\nold.tar/a,one\nold.tar!b,two\n")
    assert (
        "map.csv:3: 'old.tar!b' matches no run. After an archive write / for !."
        in verb("sync", "runs", "--map", "map.csv").out
    )
    assert rows("store", "path, system") == [("old.tar!a/OUTCAR", "one"), ("old.tar!b/OUTCAR", "O3 TTT")]


def test_a_text_that_is_empty_declares_nothing() -> None:
    put(TREE / "a", DONE)
    (TREE / "mlpdata.yaml").write_text("system: ''\ncitation: one\n")
    ingest(TREE, group="", system="", citation=" ")
    ((group, system, citation, declared),) = rows(
        "store", "\"group\", system, citation, json_extract_string(json, '$.declared')"
    )
    assert str(group).startswith("runs/a/OUTCAR ")
    assert (system, citation, declared) == ("C5 TTT", "one", '{"citation":"one"}')


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


# runs that grow where they cannot be told by their first bytes


def gzipped(folder: Path, run: Run) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.out.gz").write_bytes(gzip.compress(text(run), mtime=0))


def as_fresh() -> bool:
    """Whether the store shows what one fresh exact sync of the tree shows."""
    return Store("store").snapshot().content == fresh(TREE, Path("fresh"))


def test_a_run_of_which_nothing_came_yet_is_never_kept_before_what_it_has_become() -> None:
    """A header that was not whole when it was read is another one than that of the whole file."""
    whole = text(GAUSSIAN)
    start = whole.index(b"Charge =")
    (TREE / "run.log.gz").write_bytes(gzip.compress(whole[:start]))
    sync(TREE)
    assert rows("store", "n_configurations") == [(0,)]
    (TREE / "run.log.gz").write_bytes(gzip.compress(whole))
    assert [one.state for one in status(TREE).runs] == ["grown"]
    report = sync(TREE)
    assert (report.changed, rows("store", "n_configurations")) == ([], [(GAUSSIAN.n_steps,)])
    assert as_fresh()


def test_a_restart_whose_first_configuration_is_hidden_may_grow() -> None:
    earlier = replace(DONE, n_steps=4)
    later = earlier.continued(started=7300, overlap=True)
    gzipped(TREE / "1", earlier)
    gzipped(TREE / "2", later.grown(1))
    sync(TREE)
    assert rows("store", "n_configurations, continues") == [(4, ""), (1, "1/run.out.gz")]
    gzipped(TREE / "2", later.grown(3))
    report = sync(TREE)
    assert report.changed == []
    assert rows("store", "n_configurations, continues") == [(4, ""), (3, "1/run.out.gz")]
    assert as_fresh()


def test_the_last_configuration_of_a_run_that_was_cut_may_get_further_labels() -> None:
    """ORCA prints the energy of a geometry before its gradient."""
    whole = text(ORCA)
    cut = whole.index(b"CARTESIAN GRADIENT", whole.index(b"CYCLE   3"))
    (TREE / "run.out.gz").write_bytes(gzip.compress(whole[:cut]))
    sync(TREE)
    before = rows("store", "id, max_force IS NULL", "configurations", "row")
    (TREE / "run.out.gz").write_bytes(gzip.compress(whole))
    report = sync(TREE)
    after = rows("store", "id, max_force IS NULL", "configurations", "row")

    assert report.changed == []
    assert [lacks_forces for _, lacks_forces in before] == [False, False, True]
    assert after[:2] == before[:2]
    assert [lacks_forces for _, lacks_forces in after] == [False] * 4


def test_another_run_of_the_name_is_reported_though_its_last_geometry_is_the_same() -> None:
    """What was read whole does not get further labels."""
    (TREE / "run.out.gz").write_bytes(gzip.compress(text(replace(ORCA, n_steps=1).ended("finished"))))
    sync(TREE)
    other = re.sub(rb"(SINGLE POINT ENERGY +-)", rb"\g<1>1", text(ORCA), count=1)
    assert other != text(ORCA)
    (TREE / "run.out.gz").write_bytes(gzip.compress(other))
    assert [one.path for one in sync(TREE).changed] == ["run.out.gz"]


# a tree that changes while it is read


@pytest.fixture
def meddle(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something done after the scan and before the first output is read."""

    def arrange(action: Callable[[], object]) -> None:
        waiting = [action]

        def reading(output: Output) -> Iterator[Event]:
            if waiting:
                waiting.pop()()
            return read_output(output)

        monkeypatch.setattr(ahead, "read_output", reading)

    return arrange


Meddle = Callable[[Callable[[], object]], None]


def test_the_record_of_a_file_that_grows_between_scan_and_read_is_of_the_bytes_that_were_read(meddle: Meddle) -> None:
    put(TREE / "a", MD)
    meddle(lambda: put(TREE / "a", MD.grown(2)))
    report = sync(TREE)
    assert [one.n_configurations for one in report.entered] == [MD.n_steps + 2]
    assert rows("store", "sha256, bytes", "sources") == [
        (sha256_file(TREE / "a/OUTCAR"), (TREE / "a/OUTCAR").stat().st_size)
    ]
    assert sync(TREE).unchanged == ["a/OUTCAR"]
    assert as_fresh()


@pytest.mark.parametrize("size", [SMALL - 1, SMALL + 1])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_what_is_written_while_a_file_is_read_is_neither_read_nor_hashed(
    size: int, packed: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = TREE / "OUTCAR"
    path.write_bytes(packed(b"a line\n" * (size // 7)))
    held = path.read_bytes()

    def growing(raw: IO[bytes]) -> Codec | None:
        found = codec_of(raw)
        path.write_bytes(held + packed(b"more\n"))
        return found

    monkeypatch.setattr(archive, "codec_of", growing)
    with archive.open_input(path) as source:
        assert (source.sha256, source.stored_bytes) == (sha256(held), len(held))
        assert packed is not bytes or source.data[:] == held


@pytest.mark.parametrize("size", [SMALL - 1, SMALL + 1])
def test_a_file_that_is_cut_while_it_is_opened_is_to_be_tried_again(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = TREE / "OUTCAR"
    path.write_bytes(b"a line\n" * (size // 7))

    def shrinking(raw: IO[bytes]) -> Codec | None:
        found = codec_of(raw)
        os.truncate(path, 8)
        return found

    monkeypatch.setattr(archive, "codec_of", shrinking)
    with pytest.raises(Unavailable, match="found it shorter"), archive.open_input(path):
        pass


def test_a_file_that_vanishes_between_scan_and_read_costs_itself_and_is_new_when_it_is_back(meddle: Meddle) -> None:
    put(TREE / "a", DONE)
    path = put(TREE / "b", OTHER)
    meddle(lambda: path.rename("away"))
    report = sync(TREE)
    assert [(one.path, one.code) for one in report.refused] == [("b/OUTCAR", "unavailable")]
    assert [one.path for one in report.entered] == ["a/OUTCAR"]
    Path("away").rename(path)
    assert [(one.name, one.state) for one in status(TREE).runs] == [("a/OUTCAR", "done"), ("b/OUTCAR", "new")]
    assert [one.path for one in sync(TREE).entered] == ["b/OUTCAR"]
    assert as_fresh()


def test_a_further_file_of_a_run_that_is_away_for_a_moment_is_read_when_it_is_back(meddle: Meddle) -> None:
    both = Run("vasp", seed=3, n_steps=2)
    for name, content in files(both).items():
        (TREE / name).write_bytes(content)
    meddle(lambda: (TREE / "OUTCAR").rename("away"))
    report = sync(TREE)
    assert [one.path for one in report.refused] == ["OUTCAR"]
    assert [one.path for one in report.entered] == ["vasprun.xml"]
    Path("away").rename(TREE / "OUTCAR")
    sync(TREE)
    assert as_fresh()


def test_what_the_system_does_not_give_out_is_an_error_of_one_file(
    meddle: Meddle, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(TREE / "a", DONE)
    put(TREE / "b", OTHER)

    def failing(raw: IO[bytes]) -> Codec | None:
        if Path(raw.name).parent.name == "b":
            raise OSError(errno.EIO, "Input/output error")
        return codec_of(raw)

    meddle(lambda: monkeypatch.setattr(archive, "codec_of", failing))
    report = sync(TREE)
    assert [(one.path, one.code) for one in report.refused] == [("b/OUTCAR", "unavailable")]
    assert "Input/output error" in report.refused[0].reason
    assert [one.path for one in report.entered] == ["a/OUTCAR"]


def test_an_exact_sync_says_whether_what_it_hides_is_gone_or_cannot_be_read_any_more(verb: Verb) -> None:
    put(TREE / "a", DONE)
    put(TREE / "b", OTHER).parent.rename(TREE / "c")
    put(TREE / "d", replace(OTHER, seed=6))
    sync(TREE, exact=True)
    (TREE / "a/OUTCAR").unlink()
    path = TREE / "c/OUTCAR"
    path.write_bytes(b"")
    answer = verb("sync", "runs", "--exact").out
    assert "Retracted: 1 calculation no longer in the folder." in answer
    assert "Retracted: 1 calculation no longer readable." in answer
    reasons = {one.reason for one in Store("store").snapshot().record.retracted}
    assert reasons == {"no longer in the tree", "its file can no longer be read"}


def test_of_two_writers_that_read_one_run_at_two_times_the_later_state_is_shown_after_the_next_sync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(TREE / "a", MD)

    def outrun(output: Output) -> Iterator[Event]:
        events = list(read_output(output))
        monkeypatch.setattr(ahead, "read_output", read_output)
        put(TREE / "a", MD.grown(2))
        sync(TREE)
        return iter(events)

    monkeypatch.setattr(ahead, "read_output", outrun)
    sync(TREE)
    sync(TREE)
    assert rows("store", "path, n_configurations") == [("a/OUTCAR", MD.n_steps + 2)]
    assert as_fresh()


def test_what_two_writers_bring_is_related_whoever_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    first = replace(DONE, n_steps=3)
    second = first.continued(started=7300, overlap=True).grown(2).ended("finished")
    third = second.continued(started=7400, overlap=True).grown(2).ended("finished")
    put(TREE / "2", second)
    put(TREE / "3", third)

    def outrun(*known: Any) -> list[Amended]:
        found = relating.amendments(*known)
        monkeypatch.setattr(intake, "amendments", relating.amendments)
        put(TREE / "1", first)
        sync(TREE)
        return found

    monkeypatch.setattr(intake, "amendments", outrun)
    sync(TREE)
    assert [group.split()[0] for (group,) in rows("store", '"group"')] == ["1/OUTCAR"] * 3
    assert as_fresh()


def test_a_run_that_is_as_it_was_once_is_related_to_what_came_since() -> None:
    first = replace(DONE, n_steps=3)
    put(TREE / "2", first.continued(started=7300, overlap=True).grown(2))
    sync(TREE)
    put(TREE / "2", first.continued(started=7300, overlap=True).grown(3))
    sync(TREE)
    put(TREE / "1", first)
    put(TREE / "2", OTHER)
    sync(TREE, exact=True)
    put(TREE / "2", first.continued(started=7300, overlap=True).grown(2))
    ingest(TREE / "2", store="store")
    (TREE / "2").rename("2")
    sync(TREE)
    Path("2").rename(TREE / "2")
    sync(TREE, exact=True)
    assert as_fresh()


def test_a_cache_that_another_program_holds_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    put(TREE / "a", DONE)
    sync(TREE)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, **{**options, "timeout": 0.01}))
    with closing(connect("store.work/scan.sqlite", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert [one.state for one in status(TREE).runs] == ["done"]
        assert sync(TREE).unchanged == ["a/OUTCAR"]
    assert last_tree(Path("store")) == TREE.absolute()


# what the files around a run say of it


def test_images_are_known_as_such_when_the_input_of_their_path_comes_after_them() -> None:
    for number in range(3):
        put(TREE / f"neb/0{number}", replace(DONE, first=9 * number, n_steps=1))
    sync(TREE)
    assert rows("store", "DISTINCT kind, image_of", AS_STORED, "kind") == [("aimd", "")]
    (TREE / "neb/INCAR").write_text("IMAGES = 1\n")
    assert {one.state for one in status(TREE).runs} == {"said"}
    sync(TREE)
    assert rows("store", "DISTINCT kind, image_of", AS_STORED, "kind") == [("reaction_path", "neb")]
    assert {one.state for one in status(TREE).runs} == {"done"}
    assert as_fresh()
    (TREE / "neb/INCAR").unlink()
    sync(TREE, exact=True)
    assert rows("store", "DISTINCT kind, image_of", AS_STORED, "kind") == [("aimd", "")]
    assert as_fresh()


# names


def test_a_name_of_several_lines_is_one_line_of_a_report(verb: Verb) -> None:
    put(TREE / "a\nThe store shows 7", MD)
    put(TREE / "b\nIgnored: all of it", replace(MD, seed=5)).write_bytes(b"")
    for answer in (verb("sync", "runs"), verb("status", "runs"), verb("failed", "runs", "--running", "0")):
        assert answer.code == 0
        assert not [line for line in answer.out.splitlines() if line.startswith(("The store shows 7", "Ignored: all"))]
    assert verb("status", "runs", "--state", "unfinished").out == "a?The store shows 7/OUTCAR\n"
