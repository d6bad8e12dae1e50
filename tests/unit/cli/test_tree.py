"""`status` and `sync` as typed: what they say, what they refuse, and a store that follows its tree until Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import DONE, MD, OTHER, fresh, put, rows
from tiny import Verb, refused

from mlpdata.api import Store
from mlpdata.cli import tree as verbs
from mlpdata.errors import NotFound, StoreLocked, UsageError
from mlpdata.intake import sync
from mlpdata.outcome import IngestReport
from mlpdata.testing.springs import Run

TREE = Path("runs")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of a complete and a running run in the current folder."""
    monkeypatch.chdir(tmp_path)
    put(TREE / "a", DONE)
    put(TREE / "b", replace(MD, seed=9))
    return TREE


# status


def test_status_counts_the_states_with_their_meaning_and_says_what_to_do(verb: Verb) -> None:
    (TREE / ".mlpdataignore").write_text("old\n")
    (TREE / "old").mkdir()
    answer = verb("status", "runs")
    assert answer.code == 0
    assert "new\t2\tnot in the store\n" in answer.out
    assert "Ignored: 1, such as old: runs/.mlpdataignore:1: old\n" in answer.out
    assert "`mlpdata sync` takes what is new" in answer.out

    assert verb("sync", "runs").code == 0
    answer = verb("status")
    assert "done\t1\t" in answer.out
    assert "unfinished:\n  b/OUTCAR: expected General timing" in answer.out
    assert "`mlpdata sync`" not in answer.out


def test_status_lists_one_state_a_line(verb: Verb) -> None:
    verb("sync", "runs")
    put(TREE / "c", OTHER)
    (TREE / "a/OUTCAR").unlink()
    assert verb("status", "--state", "new").out == "c/OUTCAR\n"
    assert verb("status", "--state", "unfinished").out == "b/OUTCAR\n"
    assert verb("status", "--state", "missing").out == "a/OUTCAR\n"
    assert verb("status", "--state", "ignored").out == ""
    assert "Missing: 1 calculation of the store, such as a/OUTCAR." in verb("status").out


def test_status_is_one_json_document(verb: Verb) -> None:
    found = json.loads(verb("status", "runs", "--json").out)
    assert found["counts"]["new"] == 2
    assert [one["name"] for one in found["runs"]] == ["a/OUTCAR", "b/OUTCAR"]


def test_names_and_reasons_cannot_steer_the_terminal(verb: Verb) -> None:
    put(TREE / "\x1b[31mred", OTHER)
    assert "\x1b" not in verb("status", "runs", "--state", "new").out
    assert "\x1b" not in verb("sync", "runs").out


def test_long_lists_are_cut_and_say_how_to_see_all(verb: Verb) -> None:
    for number in range(23):
        (TREE / f"e{number:02d}").mkdir()
        (TREE / f"e{number:02d}/OUTCAR").touch()
    assert "... and 3 more; --state failed lists all." in verb("status", "runs").out
    assert "... and 3 more; --json lists all." in verb("sync", "runs").out


# sync


def test_sync_says_what_entered_and_what_was_replaced(verb: Verb) -> None:
    answer = verb("sync", "runs")
    assert answer.out.startswith("6 configurations of 2 calculations entered")
    assert "b/OUTCAR: truncated, 3 configurations kept" in answer.out
    assert "Unknown license: 2 calculations." in answer.err

    put(TREE / "b", replace(DONE, seed=9).grown(1))
    answer = verb("sync")
    assert answer.out.startswith("4 configurations of 1 calculation entered")
    assert "Replaced: 1 older reading of the same run." in answer.out


def test_another_run_under_a_name_is_said_in_both_ways(verb: Verb) -> None:
    verb("sync", "runs")
    put(TREE / "a", OTHER)
    answer = verb("sync")
    assert "Changed: 1 file\n  a/OUTCAR: expected the run that was read before" in answer.out
    assert "What is stored stays." in answer.out
    answer = verb("sync", "--exact")
    assert "takes the place" in answer.out
    assert "stays" not in answer.out


def test_an_exact_sync_says_what_it_retracts(verb: Verb) -> None:
    verb("sync", "runs")
    (TREE / "a/OUTCAR").unlink()
    assert "Retracted: 1 calculation no longer in the folder." in verb("sync", "--exact").out
    assert rows("store", "path") == [("b/OUTCAR",)]


def test_paths_and_maps_are_taken_by_every_verb_that_reads(verb: Verb, tmp_path: Path) -> None:
    (tmp_path / "said.csv").write_text("path,license\na,MIT\n*,CC0-1.0\nnone,MIT\n")
    said = ("--from-path", "{system}", "--map", "said.csv")
    assert "said.csv:4" in verb("status", "runs", *said).out
    answer = verb("sync", "runs", *said)
    assert "Said of nothing: 1\n  said.csv:4: 'none' matches no run." in answer.out
    assert rows("store", "system, license") == [("a", "MIT"), ("b", "CC0-1.0")]

    assert verb("ingest", "runs", "--store", "other", *said).code == 0
    assert rows("other", "path, system, license") == [
        ("runs/a/OUTCAR", "a", "MIT"),
        ("runs/b/OUTCAR", "b", "CC0-1.0"),
    ]


def test_what_is_said_in_two_ways_is_listed(verb: Verb) -> None:
    (TREE / "a/mlpdata.yaml").write_text("temperature: 450\n")
    answer = verb("sync", "runs")
    assert "Said in two ways: 1\n  a/OUTCAR: conflict: temperature is declared as 450.0" in answer.out


def test_failed_lists_what_sync_refused(verb: Verb) -> None:
    put(TREE / "c", Run("extxyz", seed=3))
    verb("sync", "runs")
    assert "c/frames.extxyz\tunreadable\t" in verb("failed", "--running", "0").out


def test_links_to_folders_are_followed_where_that_is_asked(verb: Verb, tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", OTHER)
    (TREE / "link").symlink_to(tmp_path / "elsewhere")
    assert verb("status", "runs", "--state", "ignored").out == "link\n"
    verb("sync", "runs", "--follow-links")
    assert ("link/OUTCAR",) in rows("store", "path")


# mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status"], "Name one, as in mlpdata sync runs"),
        (["sync"], "none that was synced into this store"),
        (["status", "nowhere"], "nowhere: expected a folder of outputs, found none"),
        (["status", "runs/a/OUTCAR"], "expected a folder of outputs, found a file"),
        (["sync", "runs/a/OUTCAR"], "expected a folder of outputs, found a file"),
        (["status", "runs", "--state", "lost"], "expected one of the states new, grown"),
        (["sync", "runs", "--watch", "0"], "--watch"),
        (["sync", "runs", "--from-path", "{"], "brace"),
        (["sync", "runs", "--from-path", "{system}/{temperature}K/{run}"], "expected a template that matches the runs"),
        (["sync", "runs", "--map", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(verb: Verb, arguments: list[str], said: str) -> None:
    refused(verb(*arguments), 2, said)
    assert not Path("store").exists()


def test_a_tree_without_outputs_is_an_error_that_names_it(verb: Verb) -> None:
    Path("empty").mkdir()
    refused(verb("sync", "empty"), 3, "empty: expected outputs of a known code, found none")


# following


@pytest.fixture
def following() -> Iterator[subprocess.Popen[str]]:
    """A process that follows the tree; killed at the end."""
    command = [sys.executable, "-c", "from mlpdata.cli import main; main()", "sync", "runs", "--watch", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def soon(path: str, n_configurations: int) -> None:
    """Wait until the store shows so many configurations of a run."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            table = Store("store").snapshot().sql("SELECT path, n_configurations FROM calculations")
        except NotFound:
            table = None
        if table is not None and {"path": path, "n_configurations": n_configurations} in table.to_pylist():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} never showed {n_configurations} configurations")


def test_a_store_follows_a_campaign_until_ctrl_c(following: subprocess.Popen[str], tmp_path: Path) -> None:
    soon("b/OUTCAR", 3)
    path = put(TREE / "c", replace(MD, seed=17))
    soon("c/OUTCAR", 3)
    put(tmp_path, replace(DONE, seed=17).grown(2)).replace(path)
    soon("c/OUTCAR", 5)

    following.send_signal(signal.SIGINT)
    out, err = following.communicate(timeout=30)

    assert following.returncode == 130
    assert err == ""
    assert out.count("\n") == 3  # one line for each change
    assert Store("store").snapshot().content == fresh(TREE, tmp_path / "fresh")


class Rounds:
    """What `--watch` finds, round by round; ends by Ctrl-C."""

    def __init__(self, *found: IngestReport | Exception) -> None:
        self.found = list(found)

    def once(self) -> IngestReport:
        if not self.found:
            raise KeyboardInterrupt
        found = self.found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def follow(*found: IngestReport | Exception) -> None:
    with pytest.raises(KeyboardInterrupt):
        verbs._follow(Rounds(*found).once, 0, False)


def test_what_goes_wrong_for_a_while_is_said_once_and_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    away, locked = UsageError("the disk is away"), StoreLocked("another writer")
    report = IngestReport(content="one", n_configurations=7)
    follow(report, report, away, away, locked, OSError(5, "Input/output error"), report)
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "mlpdata: the disk is away", "mlpdata: another writer", "mlpdata: [Errno 5] Input/output error",
    ]  # fmt: skip
    assert out.count("the store shows 7 configurations") == 2  # at first, and when all is well again


def test_a_mistake_in_the_first_round_ends_it() -> None:
    with pytest.raises(UsageError):
        verbs._follow(Rounds(UsageError("no such folder")).once, 0, False)


def test_a_file_that_stays_changed_or_refused_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    put(TREE / "c", Run("extxyz", seed=3))
    follow(*(sync(TREE) for _ in range(3)))
    assert capsys.readouterr().out.count("1 file not readable") == 1
