"""The application: help that starts fast, errors as one line, `init`."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import Verb, refused

from mlpdata.cli.app import reported
from mlpdata.errors import StoreError

RUN = [sys.executable, "-c", "from mlpdata.cli import main; main()"]
HEAVY = ("torch", "pint", "duckdb", "pyarrow", "zarr", "numpy", "e3nn", "ase", "pydantic")


def test_help_starts_fast_and_loads_nothing_heavy() -> None:
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    subprocess.run([*RUN, "--help"], check=True, capture_output=True)  # compiles what is not compiled yet
    times = []
    for _ in range(3):
        before = used()
        subprocess.run([*RUN, "--help"], check=True, capture_output=True)
        times.append(used() - before)
    assert min(times) < 0.3

    code = f"import sys; from mlpdata.cli import app\ntry: app.main(['--help'])\nexcept SystemExit: print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code.replace("cli import app", "cli import app as _; import mlpdata.cli.app as app")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_every_verb_and_no_command_is_help(verb: Verb) -> None:
    said = verb("--help").out
    for name in ("init", "ingest", "sync", "inspect", "show", "sql", "log", "verify", "record", "check", "split", "freeze",
                 "train", "evaluate", "md", "report", "convert", "doctor"):  # fmt: skip
        assert f"  {name} " in said
    assert verb().out == said


def test_a_wrong_verb_is_a_line(verb: Verb) -> None:
    refused(verb("frobnicate"), 2, "No such command 'frobnicate'. See mlpdata --help.")
    refused(verb("--frob"), 2, "See mlpdata --help.")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (StoreError("expected a,\n\tfound b.", path="p", line=3), 4, "mlpdata: p:3: expected a, found b.\n"),
        (
            PermissionError(13, "Permission denied", "secret"),
            4,
            "mlpdata: secret: expected the system to allow it, found: Permission denied.\n",
        ),
        (MemoryError(), 4, "mlpdata: expected enough memory, found none left."),
        (KeyboardInterrupt(), 130, "mlpdata: interrupted; nothing half done was kept.\n"),
    ],
)
def test_an_error_is_one_line_and_the_code_of_its_kind(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    def fail() -> None:
        raise error

    assert reported(fail) == code
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), ModuleNotFoundError("ours", name="ours")])
def test_a_mistake_of_ours_is_not_hidden(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error), match="ours"):
        reported(fail)


def test_a_pipe_that_closes_is_no_error(project: Path) -> None:
    query = "SELECT a.* FROM configurations a, range(2000)"
    with subprocess.Popen([*RUN, "sql", query, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())
        running.stdout.close()
        assert running.stderr is not None
        said = running.stderr.read()
    assert (running.returncode, said) == (0, b"")


def test_details_are_said_when_asked_for(raw: Path) -> None:
    quiet, verbose = (
        subprocess.run([*RUN, *flag, "ingest", "raw", "--dry-run"], capture_output=True, text=True, check=True).stderr
        for flag in ([], ["-v"])
    )
    assert quiet == ""
    assert "raw/notes.txt: passed over, no reader knows it" in verbose


def test_a_project_is_begun_and_left_alone_the_second_time(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.devnull)  # neither git nor dvc
    answer = verb("init", "new")
    assert answer.code == 0
    assert "new: dvc.yaml, params.yaml, .gitignore, README.md written." in answer.out
    assert "git is not installed; install it and run `git init --quiet` in new." in answer.out
    assert Path("new/raw").is_dir()
    assert "new: everything is there already." in verb("init", "new").out
    Path("file").touch()
    refused(verb("init", "file"), 2, "file: expected a folder, found a file.")
