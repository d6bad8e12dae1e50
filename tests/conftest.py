"""A tiny project: a store of a few real outputs, built once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tiny import Answer, Verb, write_outputs

from mlpdata.cli import main
from mlpdata.intake import ingest

if TYPE_CHECKING:
    from object_store import Bucket


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, not to be written to: raw/ and store/."""
    folder = tmp_path_factory.mktemp("built")
    write_outputs(folder / "raw")
    ingest(folder / "raw", folder / "store")
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, which is the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(built, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outputs alone; the folder above is the current one, and there is no store."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return write_outputs(folder / "raw")


@pytest.fixture
def verb(capsys: pytest.CaptureFixture[str]) -> Verb:
    """Call the command line in this process: `verb("ingest", "raw")`."""

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture(scope="session")
def object_store() -> Iterator[Bucket]:
    """An object store on loopback, one for all tests, each of which makes a bucket of its own."""
    pytest.importorskip("moto")
    with pytest.importorskip("object_store").running() as found:
        yield found


@pytest.fixture
def bucket(object_store: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    """The object store as the environment names it, without faults, and an empty cache."""
    from object_store import SETTINGS

    object_store.begin()
    for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": object_store.endpoint}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLPDATA_CACHE", str(tmp_path / "cache"))
    return object_store


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Call it with a name to go on as on another machine: one with a cache of its own, which it returns."""

    def go(name: str) -> Path:
        monkeypatch.setenv("MLPDATA_CACHE", str(tmp_path / name))
        return tmp_path / name

    return go
