"""The walk: each folder and file once, what is passed over with its reason, whatever its name, depth or permissions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlpdata.errors import InputError, UsageError
from mlpdata.tree import Folder, PassedOver, entry_of, folders


def touch(root: Path, *names: str) -> Path:
    """Empty files; a name that ends in `/` is a folder."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return root


def names(root: Path, **how: bool) -> list[str]:
    """Root-relative names of the files, in the order of the walk."""
    return [folder.named(entry.name) for folder in folders(root, **how) for entry in folder.entries]


def passed_over(root: Path) -> dict[str, str]:
    return dict(one for folder in folders(root) for one in folder.passed_over)


# order and names


def test_folders_come_in_order_of_name_before_those_below_them(tmp_path: Path) -> None:
    touch(tmp_path, "b/2", "b/1", "a/c/3", "a/4", "z")
    assert [folder.name for folder in folders(tmp_path)] == ["", "a", "a/c", "b"]
    assert names(tmp_path) == ["z", "a/4", "a/c/3", "b/1", "b/2"]


def test_names_begin_with_what_is_given(tmp_path: Path) -> None:
    touch(tmp_path, "a/1")
    assert [folder.name for folder in folders(tmp_path, "top")] == ["top", "top/a"]
    assert Folder(tmp_path, "").named("x") == "x"


def test_hidden_files_and_sidecars_are_no_entries(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden", ".git/OUTCAR", "mlpdata.yaml", "OUTCAR")
    assert names(tmp_path) == ["OUTCAR"]
    assert passed_over(tmp_path) == {}


@pytest.mark.parametrize("name", ["a b", "new\nline", "ü", "[x]", "a!b", "*", "-rf", "\\", "%s", "x" * 255])
def test_any_name_that_a_system_takes_is_walked(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/{name}")
    assert names(tmp_path) == [f"{name}/{name}"]


def test_names_that_are_no_text_are_walked(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"\xff/\xfe"))
    assert [os.fsencode(name) for name in names(tmp_path)] == [b"\xff/\xfe"]


def test_deep_trees_need_no_recursion(tmp_path: Path) -> None:
    deep = "d/" * 300
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("OUTCAR", os.O_CREAT, dir_fd=here))
    os.close(here)
    (tmp_path / ".mlpdataignore").write_text("nothing\n")
    assert names(tmp_path) == [f"{deep}OUTCAR"]


def test_a_path_longer_than_the_system_opens_costs_what_is_below_it(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    touch(tmp_path, "z/1")
    lost: list[tuple[Path, InputError]] = []

    found = list(folders(tmp_path, unreadable=lambda *one: lost.append(one)))

    assert found[-1].name == "z"
    ((_, error),) = lost
    assert "too long" in error.message


# links


def test_links_to_folders_are_named_and_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "a/1")
    (tmp_path / "b").symlink_to("a")
    assert names(tmp_path) == ["a/1"]
    assert "--follow-links" in passed_over(tmp_path)["b"]


def test_links_to_folders_are_followed_once_where_that_is_asked(tmp_path: Path) -> None:
    outside = touch(tmp_path / "outside", "2")
    tree = touch(tmp_path / "tree", "a/1")
    for name in ("b", "c"):
        (tree / name).symlink_to(outside)
    (tree / "a/up").symlink_to("..")
    (tree / "d").symlink_to("a")
    assert names(tree, follow_links=True) == ["a/1", "b/2"]


def test_a_link_to_a_file_is_an_entry_that_says_so(tmp_path: Path) -> None:
    touch(tmp_path, "a/1")
    (tmp_path / "b").symlink_to("a/1")
    (link, file) = (entry for folder in folders(tmp_path) for entry in folder.entries)
    assert (link.is_link, file.is_link) == (True, False)
    assert (link.inode, link.device) == (file.inode, file.device)
    assert link == entry_of(tmp_path / "b")


@pytest.mark.parametrize("target", ["nowhere", "loop"])
def test_a_link_that_leads_nowhere_is_an_entry_without_a_place(tmp_path: Path, target: str) -> None:
    (tmp_path / "loop").symlink_to(target)
    ((entry,),) = (folder.entries for folder in folders(tmp_path))
    assert entry == entry_of(tmp_path / "loop")
    assert (entry.name, entry.inode) == ("loop", -1)


# what is left out


def test_ignore_files_name_file_and_line_and_hold_below(tmp_path: Path) -> None:
    touch(tmp_path, "a/old/1", "a/new/old/2", "a/new/3", "keep/old/4", "x.bak.out")
    (tmp_path / ".mlpdataignore").write_text("# by hand\n\nold/\n*.bak.out\n")
    (tmp_path / "keep/.mlpdataignore").write_text("!old/\n")

    assert names(tmp_path) == ["a/new/3", "keep/old/4"]
    assert passed_over(tmp_path) == {
        "a/old": f"{tmp_path}/.mlpdataignore:3: old/",
        "a/new/old": f"{tmp_path}/.mlpdataignore:3: old/",
        "x.bak.out": f"{tmp_path}/.mlpdataignore:4: *.bak.out",
    }


def test_a_pattern_that_is_none_is_a_mistake_with_its_line(tmp_path: Path) -> None:
    touch(tmp_path, "a/1")
    (tmp_path / "a/.mlpdataignore").write_text("ok\n!\n")
    with pytest.raises(UsageError, match=r"\.mlpdataignore:2: expected a pattern"):
        list(folders(tmp_path))


def test_what_tools_leave_behind_is_named_with_its_reason(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "c/error.1.tar.gz", "c/OUTCAR.orig",
        "iter.000000/02.fp/task.000.000000/OUTCAR", "iter.000000/02.fp/data.000/set.000/coord.npy",
        "orca/job.inp", "orca/job_atom01.out", "orca/job_im3.out", "orca/other_im3.out",
        "pw/run.xml", "pw/run.save/data-file-schema.xml", "data.000/OUTCAR",
    )  # fmt: skip
    reasons = passed_over(tmp_path)
    assert {name: reasons[name].split()[0] for name in reasons} == {
        "c/OUTCAR.orig": "a",
        "c/error.1.tar.gz": "custodian",
        "iter.000000/02.fp/data.000": "DP-GEN",
        "orca/job_atom01.out": "ORCA's",
        "orca/job_im3.out": "scratch",
        "pw/run.save": "pw.x",
    }
    assert "data.000/OUTCAR" in names(tmp_path)
    assert "orca/other_im3.out" in names(tmp_path)


# what cannot be read


def test_a_folder_that_cannot_be_read_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1", "b/2")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    lost: list[tuple[Path, InputError]] = []

    found = [folder.name for folder in folders(tmp_path, unreadable=lambda *one: lost.append(one))]

    assert found == ["", "b"]
    assert [(path.name, "Permission denied" in error.message) for path, error in lost] == [("a", True)]
    with pytest.raises(InputError, match="Permission denied") as raised:
        list(folders(tmp_path))
    assert str(tmp_path / "a") in str(raised.value)


def test_a_folder_that_vanishes_on_the_way_costs_itself_only(tmp_path: Path) -> None:
    touch(tmp_path, "a/1", "b/2")
    walk = folders(tmp_path, unreadable=lambda *_: None)
    assert next(walk).name == ""
    (tmp_path / "a/1").unlink()
    (tmp_path / "a").rmdir()
    assert [folder.name for folder in walk] == ["b"]


def test_a_pipe_is_an_entry_and_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "OUTCAR")
    assert names(tmp_path) == ["OUTCAR"]
    assert PassedOver("a", "b").reason == "b"
