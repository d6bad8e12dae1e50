"""Sync of what comes in parts: several files of one run, archives, and portions of a tree when the process was killed."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from archives import tar
from small_runs import DONE, MD, OTHER, as_fresh, fresh, put, rows, text

from mlpdata import ahead, portions
from mlpdata.discover import Output
from mlpdata.intake import last_tree, sync
from mlpdata.runs import Event, read_output
from mlpdata.store.verify import verify
from mlpdata.testing.faults import kill_at, recorded
from mlpdata.testing.layouts import files
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


def shown() -> list[tuple[object, ...]]:
    return rows(STORE, "path, n_configurations")


# several files of one run, hidden and shown again


def place(folder: Path, run: Run, *names: str) -> None:
    """Some of the files of a run."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(files(run)[name])


def test_of_hidden_readings_the_one_of_the_same_files_is_shown_again() -> None:
    run, both = replace(DONE, code="vasp"), ("vasprun.xml", "OUTCAR")
    put(TREE / "z", OTHER)
    for names in (both, ("vasprun.xml",), (), both, (), ("vasprun.xml",), (), both):
        shutil.rmtree(TREE / "a", ignore_errors=True)
        place(TREE / "a", run, *names)
        report = sync(TREE, exact=True)
        assert as_fresh(TREE, STORE), names
    assert report.entered == []


# archives


def packed(path: Path, **runs: Run) -> Path:
    """A compressed archive of run folders."""
    path.write_bytes(gzip.compress(tar({f"{name}/OUTCAR": text(run) for name, run in runs.items()}), mtime=0))
    return path


def test_runs_in_an_archive_are_named_by_their_place_and_unpacked_ones_are_copies() -> None:
    packed(TREE / "runs.tar.gz", a=DONE, b=OTHER)
    sync(TREE)
    assert shown() == [("runs.tar.gz!a/OUTCAR", 3), ("runs.tar.gz!b/OUTCAR", 3)]
    put(TREE / "runs/a", DONE)
    put(TREE / "runs/b", OTHER)

    report = sync(TREE, exact=True)

    assert report.copies == 2
    assert report.entered == []
    assert as_fresh(TREE, STORE)


def test_a_run_that_grew_in_an_archive_takes_the_place_of_its_beginning(read: list[str]) -> None:
    archive = packed(TREE / "runs.tar.gz", a=DONE, b=MD)
    sync(TREE)
    read.clear()
    packed(archive, a=DONE, b=DONE.grown(2))

    report = sync(TREE)

    assert read == ["runs.tar.gz!b/OUTCAR"]
    assert not report.changed
    assert shown() == [("runs.tar.gz!a/OUTCAR", 3), ("runs.tar.gz!b/OUTCAR", 5)]
    assert as_fresh(TREE, STORE)


def test_companions_are_found_in_an_archive_whatever_its_folder_is_called() -> None:
    run = Run("cp2k", seed=3, n_steps=2).ended("finished")
    together = files(run)
    (TREE / "we!rd").mkdir()
    (TREE / "we!rd/runs.tar").write_bytes(tar({f"w/{name}": content for name, content in together.items()}))
    place(TREE / "we!rd/w", run, *together)
    sync(TREE, exact=True)
    alone = Path("alone")
    place(alone, run, *together)
    sync(alone, "other")

    ((record,),), ((other,),) = rows(STORE, "json"), rows("other", "json")
    paths, others = ([one["path"] for one in json.loads(str(text))["sources"]] for text in (record, other))
    assert paths == ["we!rd/runs.tar!w/run.out", "we!rd/runs.tar!w/run-pos-1.xyz"]
    assert [f"we!rd/runs.tar!w/{path}" for path in others] == paths
    assert rows(STORE, "id", "configurations", "row") == rows("other", "id", "configurations", "row")


def test_two_processes_read_an_archive_as_one_does() -> None:
    packed(TREE / "runs.tar.gz", **{f"run{seed}": replace(DONE, seed=seed) for seed in range(9)})
    put(TREE / "z", OTHER)
    assert sync(TREE, jobs=2).content == fresh(TREE, Path("fresh"))


def test_reading_processes_leave_ctrl_c_to_the_one_that_started_them() -> None:
    with ahead._processes(1) as pool:
        with ahead._deaf_to_interrupts():
            answer = pool.submit(os.getpid)
        for pid in list(pool._processes):
            os.kill(pid, signal.SIGINT)
        assert answer.result(timeout=60) == pid


# the tree that was synced last


def test_the_tree_is_remembered_from_the_root_and_by_a_sync_that_writes() -> None:
    put(TREE / "a", DONE)
    sync(TREE, dry_run=True)
    assert last_tree(STORE) is None
    sync(TREE)
    assert last_tree(STORE) == TREE.absolute()


# killed on the way


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("SMALLEST", 1), ("MEAN", 3), ("LARGEST", 3)):
        monkeypatch.setattr(portions, name, size)


def many() -> int:
    """A tree of several portions, one file of which is refused; how many outputs it has."""
    for seed in range(9):
        put(TREE / f"run{seed}", replace(DONE, seed=seed, started=60 * seed))
    put(TREE / "run4b", Run("extxyz", seed=3))
    return 10


def noted() -> int:
    """Outputs that the notes beside the store speak of."""
    folder = Path("store.work/portions")
    notes = [json.loads(path.read_bytes()) for path in folder.glob("*.json")] if folder.is_dir() else []
    return sum(len(note["entered"]) + len(note["refused"]) for note in notes)


def killed_after_notes(number: int, action: Callable[[], object]) -> None:
    """Kill an action at the first durable operation after so many notes were written."""
    operations = recorded(action)
    shutil.rmtree(STORE)
    shutil.rmtree("store.work")
    written = [
        nth for nth, one in enumerate(operations, 1) if one.name == "rename" and one.path.parent.name == "portions"
    ]
    assert kill_at(written[number - 1] + 2, action)


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("number", [1, 3])
def test_a_killed_sync_goes_on_where_it_was(number: int, read: list[str]) -> None:
    total = many()
    killed_after_notes(number, lambda: sync(TREE, exact=True))
    done = noted()
    assert 0 < done < total
    read.clear()

    report = sync(TREE, exact=True)

    assert len(read) == total - done
    assert (len(report.entered), [one.path for one in report.refused]) == (9, ["run4b/frames.extxyz"])
    assert noted() == 0
    assert verify(STORE).ok
    assert as_fresh(TREE, STORE)


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("exact", [False, True])
def test_a_tree_that_changed_since_the_kill_is_taken_as_it_is(exact: bool) -> None:
    many()
    killed_after_notes(3, lambda: sync(TREE, exact=exact))
    put(TREE / "run1", replace(DONE, seed=1, started=60).grown(2))
    shutil.rmtree(TREE / "run2")
    put(TREE / "run00", OTHER)
    (TREE / "run0/FW.json").write_text('{"fw_id": 7, "name": "later"}')

    report = sync(TREE, exact=exact)

    assert report.content == fresh(TREE, Path("fresh"))
    assert ("run0/OUTCAR", "7") in rows(STORE, "path, tags['fw_id']")
    assert verify(STORE).ok


@pytest.mark.usefixtures("small_portions")
def test_what_a_sync_left_behind_does_not_bind_an_exact_one() -> None:
    many()
    sync(TREE)
    for seed in range(9):
        put(TREE / f"run{seed}", replace(DONE, seed=seed + 12, started=60 * seed + 5))
    operations = Path("store"), Path("store.work")
    for folder in operations:
        shutil.copytree(folder, f"kept/{folder}")
    names = recorded(lambda: sync(TREE))
    for folder in operations:
        shutil.rmtree(folder)
        shutil.copytree(f"kept/{folder}", folder)
    nth = max(n for n, one in enumerate(names, 1) if one.path.parent.name == "portions" and one.name == "rename")
    assert kill_at(nth + 2, lambda: sync(TREE))
    assert Path("store.work/portions").is_dir()

    sync(TREE, exact=True)

    assert as_fresh(TREE, STORE)
