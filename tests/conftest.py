"""A tiny project: a store of a few real outputs, built once and copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny import Answer, Verb, write_outputs

from mlpdata.cli import main
from mlpdata.intake import ingest


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
