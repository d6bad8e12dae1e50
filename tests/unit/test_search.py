"""The search: every file below some paths once, in folders and in archives, with what is known of it."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

import pytest
from archives import link, tar
from small_runs import DONE, MD, OTHER, put, text

from mlpdata.discover import Found, find_outputs
from mlpdata.errors import UsageError
from mlpdata.readers.place import Member
from mlpdata.said.sayings import Sayings
from mlpdata.testing.layouts import files
from mlpdata.testing.springs import Run

TREE = Path("runs")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of one run in the current folder."""
    monkeypatch.chdir(tmp_path)
    put(TREE / "a", DONE)
    return TREE


def names(*paths: Path | str, root: Path = TREE, follow_links: bool = False) -> list[str]:
    """Names of the outputs, those that cannot be read left out."""
    search = find_outputs([Path(path) for path in paths], root, Sayings(), follow_links=follow_links)
    return [output.name for output in search.outputs if output.error is None]


def found(*paths: Path | str) -> Found:
    return find_outputs([Path(path) for path in paths], TREE, Sayings())


# each once


def test_paths_within_each_other_and_given_twice_are_seen_once() -> None:
    put(TREE / "b/c", OTHER)
    assert names(TREE / "b", TREE, TREE / "b/c/OUTCAR", TREE) == ["a/OUTCAR", "b/c/OUTCAR"]


def test_of_several_trees_outside_the_root_names_begin_with_their_folders(tmp_path: Path) -> None:
    put(tmp_path / "one", DONE)
    put(tmp_path / "two/x", OTHER)
    assert names(tmp_path / "one", "two", root=tmp_path / "elsewhere") == ["one/OUTCAR", "two/x/OUTCAR"]


def test_a_link_to_a_file_of_the_tree_is_that_file_and_of_links_out_of_it_the_first_counts(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", OTHER)
    (TREE / "a/again").symlink_to("OUTCAR")
    (TREE / "0").symlink_to(TREE.absolute() / "a/OUTCAR")
    (TREE / "x").symlink_to(outside)
    (TREE / "y").symlink_to(outside)
    (TREE / "z").symlink_to("y")
    assert names(TREE) == ["a/OUTCAR", "x"]
    assert names(TREE / "0", TREE / "a/again") == ["0"]


def test_hard_links_are_files_of_their_own_and_the_later_ones_copies() -> None:
    (TREE / "b").mkdir()
    (TREE / "b/OUTCAR").hardlink_to(TREE / "a/OUTCAR")
    one, other = found(TREE).outputs
    assert (one.name, other.name, one.sha256 == other.sha256) == ("a/OUTCAR", "b/OUTCAR", True)


def test_folders_behind_links_are_seen_once_where_that_is_asked(tmp_path: Path) -> None:
    put(tmp_path / "outside", OTHER)
    for name in ("x", "y"):
        (TREE / name).symlink_to(tmp_path / "outside")
    (TREE / "a/up").symlink_to("..")
    assert names(TREE) == ["a/OUTCAR"]
    assert names(TREE, follow_links=True) == ["a/OUTCAR", "x/OUTCAR"]


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read() -> None:
    (TREE / "OUTCAR").symlink_to("nowhere")
    (broken, whole) = found(TREE).outputs
    assert broken.error is not None
    assert "No such file" in broken.error.message
    assert whole.error is None


# what cannot be read


def test_an_unreadable_folder_is_one_error_and_the_rest_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    (TREE / "locked").mkdir()
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    whole, locked = found(TREE).outputs
    assert (whole.name, locked.name) == ("a/OUTCAR", "locked")
    assert locked.error is not None
    assert "Permission denied" in locked.error.message


@pytest.mark.parametrize("kind", ["pipe", "text", "empty"])
def test_a_file_that_is_named_must_be_an_output(kind: str) -> None:
    path = TREE / "named.out"
    {"pipe": lambda: os.mkfifo(path), "text": lambda: path.write_text("x"), "empty": path.touch}[kind]()
    (output,) = found(path).outputs
    assert output.error is not None
    assert {"pipe": "pipe", "text": "known code", "empty": "empty file"}[kind] in output.error.message


def test_nothing_there_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="found nothing there"):
        names("nowhere")


# what is left out


def test_what_is_left_out_is_named_below_the_tree() -> None:
    (TREE / ".mlpdataignore").write_text("a/\n")
    (TREE / "c").mkdir()
    (TREE / "c/error.3.tar.gz").write_bytes(b"an archive")
    search = found(TREE)
    assert search.outputs == []
    assert [(one.name, one.reason.split()[0]) for one in search.passed_over] == [
        ("a", "runs/.mlpdataignore:1:"), ("c/error.3.tar.gz", "custodian"),
    ]  # fmt: skip


# archives


def test_members_are_named_behind_the_archive_and_have_the_digest_of_their_bytes() -> None:
    (TREE / "old.tar.gz").write_bytes(gzip.compress(tar({"./x/OUTCAR": text(DONE), "y/OUTCAR": text(OTHER)}), mtime=0))
    outputs = {output.name: output for output in found(TREE).outputs}
    assert list(outputs) == ["a/OUTCAR", "old.tar.gz!x/OUTCAR", "old.tar.gz!y/OUTCAR"]
    assert outputs["old.tar.gz!x/OUTCAR"].sha256 == outputs["a/OUTCAR"].sha256
    assert outputs["old.tar.gz!y/OUTCAR"].path == Member(TREE / "old.tar.gz", "y/OUTCAR", b"")
    assert outputs["old.tar.gz!y/OUTCAR"].size == len(text(OTHER))


def test_an_archive_may_be_named_itself() -> None:
    (TREE / "old.tar").write_bytes(tar({"x/OUTCAR": text(DONE)}))
    assert names(TREE / "old.tar") == ["old.tar!x/OUTCAR"]


def test_what_is_left_out_of_an_archive_has_its_reason() -> None:
    members = {"x/OUTCAR": text(DONE), ".git/OUTCAR": text(DONE), "x/OUTCAR.orig": text(DONE)}
    (TREE / "old.tar").write_bytes(
        tar([*members.items(), ("../up/OUTCAR", text(DONE)), link("fifo", "", tarfile.FIFOTYPE)])
    )
    search = found(TREE / "old.tar")
    assert [output.name for output in search.outputs] == ["old.tar!x/OUTCAR"]
    assert {one.name: one.reason for one in search.passed_over} == {
        "old.tar!../up/OUTCAR": "expected a path inside the archive, found one that leads out of it.",
        "old.tar!fifo": "expected a file, found a device or pipe.",
        "old.tar!x/OUTCAR.orig": "a copy of before the first correction or edit",
    }


def test_links_in_an_archive_are_no_further_files() -> None:
    (TREE / "old.tar").write_bytes(tar([("x/OUTCAR", text(DONE)), link("y/OUTCAR", "../x/OUTCAR")]))
    assert names(TREE / "old.tar") == ["old.tar!x/OUTCAR"]


def test_a_damaged_archive_is_an_error_of_its_own_and_what_comes_before_is_read() -> None:
    whole = tar({"x/OUTCAR": text(DONE), "y/OUTCAR": text(OTHER)})
    (TREE / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (TREE / "bad.zip").write_bytes(b"PK\x03\x04 and nothing more")
    outputs = {output.name: output.error for output in found(TREE).outputs}
    assert outputs["bad.zip"] is not None
    assert outputs["cut.tar"] is not None
    assert "What comes before is read" in outputs["cut.tar"].message
    assert outputs["cut.tar!x/OUTCAR"] is None
    assert outputs["a/OUTCAR"] is None


def test_companions_are_found_beside_a_file_and_in_an_archive_and_are_no_outputs() -> None:
    run = files(Run("cp2k", seed=3, n_steps=2))
    (TREE / "c").mkdir()
    for name, content in run.items():
        (TREE / "c" / name).write_bytes(content)
    (TREE / "old.tar").write_bytes(tar({f"c/{name}": content for name, content in run.items()}))

    outputs = {output.name: output for output in found(TREE).outputs}

    assert list(outputs) == ["a/OUTCAR", "c/run.out", "old.tar!c/run.out"]
    disk, inside = outputs["c/run.out"].companions, outputs["old.tar!c/run.out"].companions
    assert [one.path.name for one in disk] == [one.path.name for one in inside] == ["run-pos-1.xyz"]
    assert [one.sha256 for one in disk] == [one.sha256 for one in inside]
    assert outputs["c/run.out"].key == outputs["old.tar!c/run.out"].key


def test_files_of_one_run_are_joined_in_an_archive_as_in_a_folder() -> None:
    run = files(Run("vasp", seed=3, n_steps=2))
    (TREE / "old.tar").write_bytes(tar({f"{folder}{name}": run[name] for folder in ("", "x/") for name in run}))
    outputs = found(TREE / "old.tar").outputs
    assert [(one.name, [other.name for other in one.others]) for one in outputs] == [
        ("old.tar!vasprun.xml", ["old.tar!OUTCAR"]),
        ("old.tar!x/vasprun.xml", ["old.tar!x/OUTCAR"]),
    ]


# what tools say


def test_marks_of_workflow_tools_and_names_of_folders_are_tags() -> None:
    folder = TREE / "iter.000003/02.fp/task.000.000001"
    put(folder, OTHER)
    put(TREE / "fw", MD)
    (TREE / "fw/FW.json").write_text('{"fw_id": 12, "name": "relax"}')
    (TREE / "bad").mkdir()
    put(TREE / "bad", Run("pwscf", seed=3))
    (TREE / "bad/FW.json").write_text("{")
    tags = {output.name: dict(output.tags) for output in found(TREE).outputs}
    assert tags["a/OUTCAR"] == {}
    assert tags["fw/OUTCAR"] == {"workflow": "fireworks", "fw_id": "12", "fw_name": "relax"}
    assert tags["bad/pw.out"] == {"workflow": "fireworks"}
    assert tags["iter.000003/02.fp/task.000.000001/OUTCAR"] == {
        "workflow": "dpgen", "dpgen_iteration": "000003", "dpgen_stage": "fp", "dpgen_task": "000.000001",
    }  # fmt: skip
