"""A store under the real dvc and git: pushed to a folder, pulled in another clone, merged where both went on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_repro import FEW, RAW, commit, run

from mlpdata.api import Store
from mlpdata.store.layout import segment_folder
from mlpdata.store.verify import verify


def put(project: Path, kind: str) -> None:
    """Copy a few outputs of one kind into the project and take them into the store."""
    for name in FEW[kind]:
        target = project / "raw" / kind / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(RAW / kind / name, target)
    run(project, "mlpdata", "sync", "raw", "--store", "store")


def track(project: Path, message: str) -> None:
    """`dvc add`, commit, push."""
    run(project, "dvc", "add", "-q", "store")
    commit(project, message)
    run(project, "dvc", "push", "-q")


def shown(project: Path) -> tuple[str, str]:
    record = Store(project / "store").snapshot().record
    return record.id, record.content


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def cloned(project: Path, name: str) -> Path:
    """A clone with its own cache, to which the data are pulled."""
    clone = project.parent / name
    run(project.parent, "git", "clone", "-q", str(project), str(clone))
    run(clone, "dvc", "pull", "-q")
    shutil.copytree(project / "raw", clone / "raw", dirs_exist_ok=True)
    return clone


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a store of five runs that is pushed to a folder."""
    project = tmp_path / "project"
    (project / "raw").mkdir(parents=True)
    (tmp_path / "remote").mkdir()
    run(project, "git", "init", "-q", "-b", "main")
    run(project, "dvc", "init", "-q")
    run(project, "dvc", "remote", "add", "-q", "-d", "folder", str(tmp_path / "remote"))
    (project / ".gitignore").write_text("/store.work/\n/raw/\n")
    put(project, "random")
    track(project, "begin")
    return project


def test_what_is_pulled_elsewhere_is_the_same_snapshot_and_only_new_files_travel(project: Path) -> None:
    remote = project.parent / "remote"
    clone = cloned(project, "clone")
    assert shown(clone) == shown(project)
    assert verify(clone / "store").faults == []
    assert not list((clone / "store").rglob("*.tmp"))

    before, stored = files(remote), files(project / "store")
    put(project, "equilibrium")
    track(project, "more")

    record = Store(project / "store").snapshot().record
    new = files(project / "store") - stored
    segment = segment_folder(project / "store", record.segments[-1])
    brought = {path for path in new if path.is_relative_to(segment.relative_to(project / "store"))}
    records = {path for path in new - brought if path.parts[0] in ("snapshots", "amendments")}
    assert new == brought | records
    assert len(files(remote) - before) <= len(new) + 2  # HEAD, and dvc's list of the folder; equal files travel once
    run(clone, "git", "pull", "-q")
    run(clone, "dvc", "pull", "-q")
    assert shown(clone) == shown(project)
    assert verify(clone / "store").faults == []


def test_two_clones_that_both_ingested_are_merged_without_loss(project: Path) -> None:
    clone = cloned(project, "clone")
    put(project, "equilibrium")
    track(project, "ours")
    put(clone, "aimd/300K")
    track(clone, "theirs")

    run(project, "dvc", "get", "-q", str(clone), "store", "-o", "theirs")
    run(project, "mlpdata", "merge", "theirs")
    track(project, "both")

    shutil.copytree(clone / "raw/aimd", project / "raw/aimd")
    whole = project.parent / "whole"
    run(project, "mlpdata", "sync", "raw", "--store", str(whole / "store"))
    assert shown(project)[1] == Store(whole / "store").snapshot().content
    assert verify(project / "store").faults == []
    again = cloned(project, "again")
    assert shown(again) == shown(project)
    before = shown(again)
    run(again, "mlpdata", "sync", "raw", "--store", "store")
    assert shown(again) == before  # nothing was missing
