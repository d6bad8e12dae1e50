"""The scan cache: nothing is opened twice, nothing stale is believed, and no damage costs more than time."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from archives import tar
from small_runs import DONE, MD, OTHER, put, text

from mlpdata import scan
from mlpdata.discover import find_outputs
from mlpdata.intake import last_tree, sync
from mlpdata.outcome import Refused
from mlpdata.said.sayings import Sayings
from mlpdata.scan import Cache, cache_at
from mlpdata.standing import status
from mlpdata.testing.layouts import files
from mlpdata.testing.springs import Run

TREE = Path("runs")
CACHE = Path("store.work") / scan.CACHE
THEN = 1_700_000_000


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of two runs in the current folder, written a while ago."""
    monkeypatch.chdir(tmp_path)
    put(TREE / "a", DONE)
    put(TREE / "b", OTHER)
    (TREE / "b/notes.txt").write_text("no output\n")
    settle()
    return TREE


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened to recognise it (name) or for its digest (#name)."""
    names: list[str] = []
    recognise, sha256 = scan.recognise_file, scan.sha256_file

    def recognising(place: Path) -> object:
        names.append(place.name)
        return recognise(place)

    def digesting(path: Path) -> str:
        names.append(f"#{path.name}")
        return sha256(path)

    monkeypatch.setattr(scan, "recognise_file", recognising)
    monkeypatch.setattr(scan, "sha256_file", digesting)
    return names


def settle(folder: Path = TREE) -> None:
    """Let all files be of a while ago."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (THEN, THEN))


def search(path: Path | None = CACHE, tree: Path = TREE) -> list[tuple[str, str]]:
    """Names and digests of the outputs, by way of a cache; none of a kept one where `path` is None."""
    with cache_at(path) as cache:
        found = find_outputs([tree], tree, Sayings(), cache=cache)
    return [(file.name, file.sha256) for output in found.outputs for file in output.files]


ALL = ["OUTCAR", "#OUTCAR", "OUTCAR", "#OUTCAR", "notes.txt"]


# nothing twice


def test_nothing_is_opened_a_second_time(opened: list[str]) -> None:
    first = search()
    assert opened == ALL
    opened.clear()
    assert search() == first
    assert opened == []


def test_status_sync_and_status_share_what_they_saw_however_the_tree_is_named(
    opened: list[str], tmp_path: Path
) -> None:
    status(TREE)
    assert opened == ALL
    opened.clear()
    sync(TREE)
    status(tmp_path / "runs/../runs")
    sync(TREE.absolute())
    assert opened == []


def test_a_file_that_changed_is_opened_alone(opened: list[str]) -> None:
    search()
    put(TREE / "a", DONE.grown(1))
    opened.clear()
    search()
    assert opened == ["OUTCAR", "#OUTCAR"]


@pytest.mark.parametrize("what", ["size", "time", "inode"])
def test_a_file_of_another_size_time_or_inode_is_looked_at_again(opened: list[str], what: str) -> None:
    search()
    path = TREE / "b/notes.txt"
    before = path.stat()
    if what == "inode":
        path.rename(TREE.parent / "kept")
        path.write_text("no output\n")
    elif what == "size":
        path.write_text("no output!\n")
    ns = before.st_mtime_ns + (1 if what == "time" else 0)
    os.utime(path, ns=(ns, ns))
    opened.clear()
    search()
    assert opened == ["notes.txt"]


def test_a_file_that_changed_within_the_tick_of_the_clock_is_looked_at_again(opened: list[str]) -> None:
    path = TREE / "a/OUTCAR"
    os.utime(path)
    state = path.stat()
    search()
    path.write_bytes(text(MD.ended("finished").grown(0)).replace(b"03:04", b"03:05"))  # as long as before
    os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    opened.clear()

    found = dict(search())

    assert opened == ["OUTCAR", "#OUTCAR"]
    assert found["a/OUTCAR"] == dict(search(None))["a/OUTCAR"]


def test_a_time_in_the_future_is_not_believed(opened: list[str]) -> None:
    then = time.time() + 3600
    os.utime(TREE / "b/notes.txt", (then, then))
    search()
    opened.clear()
    search()
    assert opened == ["notes.txt"]


def test_a_file_that_could_not_be_opened_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(scan, "recognise_file", refusing)
        assert [digest for _, digest in search()] == ["", "", ""]  # as errors, notes.txt too
    assert search() == search(None)


# companions


def test_a_new_neighbour_that_is_a_companion_is_noticed_and_opened_once(opened: list[str]) -> None:
    run = files(Run("cp2k", seed=3, n_steps=2).ended("finished"))
    (TREE / "c").mkdir()
    (TREE / "c/run.out").write_bytes(run["run.out"])
    settle()
    with cache_at(CACHE) as cache:
        before = find_outputs([TREE], TREE, Sayings(), cache=cache).outputs[-1]
    (TREE / "c/run-pos-1.xyz").write_bytes(run["run-pos-1.xyz"])
    settle()
    opened.clear()

    with cache_at(CACHE) as cache:
        after = find_outputs([TREE], TREE, Sayings(), cache=cache).outputs[-1]

    assert before.companions == ()
    assert [(one.path.name, len(one.sha256)) for one in after.companions] == [("run-pos-1.xyz", 64)]
    assert before.key != after.key
    assert opened.count("#run-pos-1.xyz") == 1
    assert "run.out" not in opened
    opened.clear()
    search()
    assert opened == []


# archives


def test_an_archive_is_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (TREE / "old.tar").write_bytes(tar({"x/OUTCAR": text(DONE), "x/error.1.tar.gz": b"", "x/notes": b"text"}))
    settle()
    first = search()
    with cache_at(CACHE) as cache:
        passed_over = find_outputs([TREE], TREE, Sayings(), cache=cache).passed_over

    monkeypatch.setattr(scan, "index", None)

    assert search() == first
    with cache_at(CACHE) as cache:
        assert find_outputs([TREE], TREE, Sayings(), cache=cache).passed_over == passed_over
    assert ("old.tar!x/OUTCAR", dict(first)["a/OUTCAR"]) in first


# damage costs time only


def test_a_cache_that_is_no_database_is_made_anew(opened: list[str]) -> None:
    first = search()
    CACHE.write_bytes(b"not a database" * 500)
    opened.clear()
    assert search() == first
    assert opened == ALL
    opened.clear()
    assert search() == first
    assert opened == []


def test_bytes_that_flip_anywhere_in_the_file_change_no_answer() -> None:
    first = search()
    whole = CACHE.read_bytes()
    for offset in range(0, len(whole), 97):
        CACHE.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x41]) + whole[offset + 1 :])
        assert search() == first, offset


def test_a_file_that_is_damaged_within_is_whole_again_after_one_search(opened: list[str]) -> None:
    first = search()
    database = sqlite3.connect(CACHE)
    ((number,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'folders'")
    database.close()
    whole = CACHE.read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    CACHE.write_bytes(whole[: page * (number - 1)] + b"\xff" * page + whole[page * number :])
    for _ in range(2):
        assert search() == first
    opened.clear()
    assert search() == first
    assert opened == []


def test_a_row_whose_text_was_changed_is_no_row(opened: list[str]) -> None:
    first = search()
    with sqlite3.connect(CACHE) as database:
        (before,) = database.execute("SELECT found FROM folders WHERE path LIKE '%/a'").fetchone()
        database.execute("UPDATE folders SET found = replace(found, 'vasp/outcar', 'vasp/outcat')")
        (after,) = database.execute("SELECT found FROM folders WHERE path LIKE '%/a'").fetchone()
    database.close()
    assert before != after
    opened.clear()
    assert search() == first
    assert opened == ALL


def test_a_cache_of_other_readers_is_dropped_but_for_the_tree(opened: list[str]) -> None:
    sync(TREE)
    database = sqlite3.connect(CACHE)
    with database:
        database.execute("UPDATE made_with SET readers = 'older'")
    database.close()
    opened.clear()
    assert last_tree(Path("store")) == TREE.absolute()
    status(TREE)
    assert opened == ALL


def test_a_folder_that_takes_no_cache_costs_time_only() -> None:
    CACHE.parent.write_text("a file where the folder should be")
    assert search() == search(None)


# who may write


def test_a_cache_to_read_looks_up_and_keeps_nothing(opened: list[str]) -> None:
    search()
    before = {path.name: path.read_bytes() for path in CACHE.parent.iterdir()}
    put(TREE / "c", MD)
    settle(TREE / "c")
    opened.clear()

    with cache_at(CACHE, read_only=True) as cache:
        find_outputs([TREE], TREE, Sayings(), cache=cache)
        cache.remember_tree(TREE)
        assert cache.tree() is None

    assert opened == ["OUTCAR", "#OUTCAR"]
    assert {path.name: path.read_bytes() for path in CACHE.parent.iterdir()} == before


def test_a_dry_run_writes_nothing() -> None:
    before = sorted(path for path in Path().rglob("*"))
    sync(TREE, dry_run=True)
    assert sorted(path for path in Path().rglob("*")) == before


def test_one_that_reads_for_long_keeps_nobody_waiting() -> None:
    with cache_at(CACHE) as slow:
        slow.remember_tree(TREE)
        slow.remember_refusal("key", Refused("a", 1, "parse", "why"))
        started = time.monotonic()
        with cache_at(CACHE) as quick:
            quick.remember_refusal("other", Refused("b", None, "parse", "why"))
        assert time.monotonic() - started < 2
    with cache_at(CACHE) as cache:
        assert cache.tree() == TREE
        assert cache.refusal("a", "key") == Refused("a", 1, "parse", "why")
        assert cache.refusal("new name", "other") == Refused("new name", None, "parse", "why")


def test_two_processes_at_once_both_find_all() -> None:
    code = "from mlpdata.standing import status; print(len(status('runs').runs))"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate(timeout=60)[0] for one in both] == ["2\n", "2\n"]
    assert search() == search(None)


def test_without_a_path_nothing_outlives_the_object() -> None:
    with cache_at(None) as cache:
        cache.remember_tree(TREE)
    assert Cache(None).tree() is None
    assert not CACHE.exists()
