""".mlpdataignore: git's syntax, inherited downwards, each refusal with file and line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mlpdata.errors import UsageError
from mlpdata.ignored import IGNORE, Ignore


def tree(root: Path, **patterns: str) -> Ignore:
    """What is left out in `a/b`, from the patterns of the folders `top`, `a`, `b`."""
    ignore = Ignore()
    folder = root
    for name in ("top", "a", "b"):
        folder = root if name == "top" else folder / name
        folder.mkdir(exist_ok=True)
        if name in patterns:
            (folder / IGNORE).write_text(patterns[name])
        ignore = Ignore.read(folder).over(ignore)
    return ignore


def test_a_pattern_names_its_file_and_line(tmp_path: Path) -> None:
    ignore = tree(tmp_path, b="# old ones\n\n*.log\n")

    assert ignore.reason("run.log", is_folder=False) == f"{tmp_path / 'a' / 'b' / IGNORE}:3: *.log"
    assert ignore.reason("run.out", is_folder=False) is None


def test_patterns_hold_in_all_folders_below(tmp_path: Path) -> None:
    ignore = tree(tmp_path, top="*.log\n/a/b/x.out\n/x.xml\nb/y.out\n")

    assert ignore.reason("run.log", is_folder=False)
    assert ignore.reason("x.out", is_folder=False)
    assert ignore.reason("x.xml", is_folder=False) is None
    assert ignore.reason("y.out", is_folder=False) is None  # a slash inside: from the folder of the patterns only


def test_a_pattern_that_ends_in_a_slash_is_of_folders(tmp_path: Path) -> None:
    ignore = tree(tmp_path, top="old/\n")

    assert ignore.reason("old", is_folder=True)
    assert ignore.reason("old", is_folder=False) is None


def test_the_last_pattern_decides_and_the_deepest_file(tmp_path: Path) -> None:
    assert tree(tmp_path, top="*.log\n!keep.log\n").reason("keep.log", is_folder=False) is None
    assert tree(tmp_path, top="*.log\n", b="!keep.log\n").reason("keep.log", is_folder=False) is None
    assert tree(tmp_path, top="!keep.log\n", b="*.log\n").reason("keep.log", is_folder=False)


@pytest.mark.parametrize("pattern", ["!", "a\\", "[z-a]"])
def test_a_broken_pattern_is_a_mistake_of_use_with_its_line(tmp_path: Path, pattern: str) -> None:
    (tmp_path / IGNORE).write_text(f"*.log\n{pattern}\n")

    with pytest.raises(UsageError) as caught:
        Ignore.read(tmp_path)

    assert (caught.value.path, caught.value.line) == (str(tmp_path / IGNORE), 2)
    assert pattern in caught.value.message


@pytest.mark.parametrize("content", [b"\xff\xfe*.log\n", b"#" * (2 << 20)])
def test_what_is_no_list_of_patterns_is_a_mistake_of_use(tmp_path: Path, content: bytes) -> None:
    (tmp_path / IGNORE).write_bytes(content)

    with pytest.raises(UsageError):
        Ignore.read(tmp_path)


def test_a_folder_in_its_place_is_a_mistake_of_use(tmp_path: Path) -> None:
    (tmp_path / IGNORE).mkdir()

    with pytest.raises(UsageError):
        Ignore.read(tmp_path)


def test_a_folder_without_patterns_inherits_without_opening_anything(tmp_path: Path) -> None:
    (tmp_path / IGNORE).write_text("*.log\n/a/b.out\n")
    ignore = Ignore("a").over(Ignore.read(tmp_path))

    assert ignore.reason("x.log", is_folder=False)
    assert ignore.reason("b.out", is_folder=False)


def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_a_pattern(tmp_path: Path) -> None:
    (tmp_path / IGNORE).write_bytes(b"\xef\xbb\xbf*.log\r\n*.tmp\r\n")
    ignore = Ignore.read(tmp_path)

    assert ignore.reason("x.log", is_folder=False)
    assert ignore.reason("x.tmp", is_folder=False)


PATTERNS = {
    "top": "*.log\n!important.log\n/only_top\ndocs/*.txt\n**/deep\nbuild/\n\\#odd\nq?.dat\n[ab].x\n!b/z.y\n*.y\ntrail \n",
    "a": "*/\n!b/\n!*k/\n*.out\nfoo/**/bar\nb/all/**\n!b/all/but\nb/*.only\n",
    "b": "!kept.out\n/here\nsub/*\n!sub/x.log\n",
}
NAMES = [
    "x.log", "important.log", "only_top", "x.txt", "deep", "build", "#odd", "q1.dat", "q12.dat", "a.x", "c.x", "z.y",
    "trail", "x.out", "kept.out", "here", "bar", "k", "x.only", "all", "sub",
]  # fmt: skip


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not there")
@pytest.mark.parametrize("is_folder", [False, True], ids=["files", "folders"])
def test_it_says_what_git_says(tmp_path: Path, is_folder: bool) -> None:
    ignore = tree(tmp_path, **PATTERNS)
    folder = tmp_path / "a" / "b"
    for path in (tmp_path, tmp_path / "a", folder):
        (path / ".gitignore").write_bytes((path / IGNORE).read_bytes())
    for name in NAMES:
        (folder / name).mkdir() if is_folder else (folder / name).touch()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    asked = ["git", "-C", str(folder), "-c", "core.excludesFile=", "check-ignore", "--no-index", "-z", "--stdin"]
    said = subprocess.run(asked, input="\0".join(NAMES), capture_output=True, text=True, check=True).stdout.split("\0")

    assert {name for name in NAMES if ignore.reason(name, is_folder=is_folder)} == set(said) - {""}


@pytest.mark.parametrize(("name", "left_out"), [("but", False), ("other", True)])
def test_what_is_in_a_folder_of_which_all_is_left_out_can_be_taken_back(
    tmp_path: Path, name: str, left_out: bool
) -> None:
    (tmp_path / IGNORE).write_text("all/**\n!all/but\n")
    above = Ignore.read(tmp_path)
    here = Ignore("all").over(above)

    assert above.reason("all", is_folder=True) is None
    assert (here.reason(name, is_folder=False) is not None) is left_out
