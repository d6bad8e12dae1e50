"""`mlpdata ingest` and `sync`: what they say, where, and with which exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import vasprun as v
from tiny import MD, N_CALCULATIONS, N_CONFIGURATIONS, Verb, refused, tree

from mlpdata import durable
from mlpdata.api import Store
from mlpdata.testing.faults import failing_at

pytestmark = pytest.mark.usefixtures("raw")
VASPRUN = Path("raw/md/vasprun.xml")


def test_the_summary_says_what_entered_and_what_was_passed_over(verb: Verb) -> None:
    answer = verb("ingest", "raw")
    assert (answer.code, answer.err) == (0, "")
    assert "7 configurations of 5 calculations entered" in answer.out
    assert "Passed over: 1 file that no reader knows." in answer.out
    assert "The store shows 7 configurations, snapshot " in answer.out


def test_the_same_again_says_that_nothing_changed(verb: Verb) -> None:
    verb("ingest", "raw")
    answer = verb("ingest", "raw")
    assert answer.code == 0
    assert "0 configurations of 0 calculations entered" in answer.out
    assert "Unchanged: 5 files" in answer.out


def test_files_folders_and_patterns_are_taken(verb: Verb) -> None:
    answer = verb("ingest", "raw/*/vasprun.xml", "raw/random", "raw/equilibrium/strain00.out.xz")
    assert "6 configurations of 4 calculations entered" in answer.out


def test_options_reach_the_store(verb: Verb) -> None:
    options = ("--license", "cc-by-4.0", "--citation", "A. Author", "--kind", "defect", "--temperature", "300K")
    verb("ingest", "raw", *options, "--tag", "a=b=c", "--tag", "d=")

    for one in Store().snapshot().calculations():
        assert (one.license, one.citation, one.kind, one.temperature_target) == (
            "CC-BY-4.0",
            "A. Author",
            "defect",
            300,
        )
        assert one.tags == {"project": "tiny", "a": "b=c", "d": ""}


def test_an_unknown_license_is_warned_of_and_a_project_s_is_taken(verb: Verb) -> None:
    Path("raw/mlpdata.yaml").unlink()
    assert "Unknown license: 5 calculations. That blocks publishing" in verb("ingest", "raw").err
    Path("params.yaml").write_text("ingest: {license: MIT}\n")
    assert verb("ingest", "raw", "--store", "other/store").err  # the project of another store is another one
    assert verb("ingest", "raw", "--store", "second").err == ""
    assert {one.license for one in Store("second").snapshot().calculations()} == {"MIT"}


def test_json_is_one_line_without_nan(verb: Verb) -> None:
    answer = verb("ingest", "raw", "--json")
    assert answer.out.count("\n") == 1
    report = json.loads(answer.out)
    assert (report["n_entered"], len(report["entered"])) == (N_CONFIGURATIONS, N_CALCULATIONS)


def test_a_dry_run_says_would_and_writes_nothing(verb: Verb) -> None:
    before = tree(Path())
    answer = verb("ingest", "raw", "--dry-run")
    assert "7 configurations of 5 calculations would enter" in answer.out
    assert tree(Path()) == before


def test_two_processes_are_taken(verb: Verb) -> None:
    assert "7 configurations" in verb("ingest", "raw", "--jobs", "2").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ingest"], "Missing argument 'paths'. See mlpdata --help."),
        (["ingest", "nowhere"], "nowhere: expected a file or folder, found nothing there."),
        (["ingest", "raw/*.none"], "expected files that match 'raw/*.none', found none."),
        (["ingest", "raw", "--license", "free"], "expected an SPDX license, found 'free'"),
        (["ingest", "raw", "--kind", "gas"], "expected one of the kinds equilibrium, aimd"),
        (["ingest", "raw", "--tag", "novalue"], "expected a tag of the form key=value, found 'novalue'."),
        (["ingest", "raw", "--tag", "=x"], "expected a tag of the form key=value, found '=x'."),
        (["ingest", "raw", "--temperature", "warm"], "expected a temperature such as 300K, found 'warm'."),
        (["ingest", "raw", "--temperature", "26.85C"], "expected a temperature such as 300K"),
        (["ingest", "raw", "--temperature", "-1"], "expected a temperature such as 300K"),
        (["ingest", "raw", "--temperature", "nan"], "expected a temperature such as 300K"),
        (["ingest", "raw", "--jobs", "0"], "--jobs"),
        (["ingest", "raw", "--jbs", "1"], "No such option: --jbs"),
        (["sync", "nowhere"], "nowhere: expected a folder of outputs, found none. Create it"),
        (["sync", "raw/md/vasprun.xml"], "expected a folder of outputs"),
        (["sync"], "expected a folder of outputs, found none named"),
    ],
)
def test_a_wrong_command_is_one_line_and_writes_nothing(verb: Verb, arguments: list[str], said: str) -> None:
    refused(verb(*arguments), 2, said)
    assert not Path("store").exists()


@pytest.mark.parametrize("text", ["ingest: {license: free}", "ingst: {}", "ingest: ["])
def test_parameters_of_the_project_that_are_wrong_are_named(verb: Verb, text: str) -> None:
    Path("params.yaml").write_text(text)
    for name in ("ingest", "sync"):
        refused(verb(name, "raw"), 2, "params.yaml", "expected")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "found an empty file. The run has not written anything."),
        (b"hello\n", "expected an output of a known code"),
        (b"\x7fELF\0\0" + bytes(range(256)), "expected an output of a known code"),
        (b"\xfd7zXZ\x00", "The file is cut or damaged"),
        (MD[:300].encode(), "expected"),
    ],
)
def test_a_file_that_gives_nothing_is_a_line_that_names_it(verb: Verb, content: bytes, said: str) -> None:
    Path("bad.dat").write_bytes(content)
    for arguments in (["ingest", "bad.dat"], ["ingest", "bad.dat", "--json"], ["ingest", "bad.dat", "--dry-run"]):
        answer = verb(*arguments)
        assert answer.code == 3
        assert answer.err.startswith("mlpdata: bad.dat")
        assert answer.err.count("\n") == 1
        assert said in answer.err
    refused(verb("ingest", "bad.dat", "--strict"), 3, "bad.dat", said)


def test_a_line_in_a_damaged_file_is_named(verb: Verb) -> None:
    text = v.vasprun(v.calculation()).replace("   1.50000000 </v>", " 1.5000.000 </v>", 1)
    line = text[: text.index("1.5000.000")].count("\n") + 1
    Path("bad.xml").write_text(text)
    answer = verb("ingest", "bad.xml")
    assert f"bad.xml:{line}: " in answer.out + answer.err


def test_a_damaged_file_among_good_ones_is_named_in_the_summary(verb: Verb) -> None:
    (VASPRUN.parent / "bad.xml").write_text(MD[:300])
    answer = verb("ingest", "raw")
    assert (answer.code, answer.err) == (0, "")
    assert "7 configurations of 5 calculations entered" in answer.out
    assert "Not readable: 1 file\n  raw/md/bad.xml" in answer.out


def test_strict_ends_with_one_and_commits_nothing(verb: Verb) -> None:
    (VASPRUN.parent / "bad.xml").write_text(MD[:300])
    for name in ("ingest", "sync"):
        refused(verb(name, "raw", "--strict"), 1, "md/bad.xml", "Nothing was committed.")
        refused(verb("show"), 4, "expected a snapshot, found an empty store")
    VASPRUN.write_text(MD[: MD.rindex('<varray name="forces"')])
    (VASPRUN.parent / "bad.xml").unlink()
    refused(verb("ingest", "raw", "--strict"), 1, "md/vasprun.xml", "Nothing was committed.")


def test_a_folder_without_outputs_is_a_line(verb: Verb) -> None:
    Path("nothing").mkdir()
    for arguments in (["ingest", "nothing"], ["sync", "nothing", "--exact"], ["inspect", "nothing"]):
        refused(verb(*arguments), 3, "nothing: expected outputs of a known code, found none.")


def test_an_exact_sync_says_what_it_retracted(verb: Verb) -> None:
    verb("sync", "raw", "--exact")
    VASPRUN.unlink()
    answer = verb("sync", "raw", "--exact")
    assert "Retracted: 1 calculation no longer in the folder." in answer.out
    assert "The store shows 4 configurations" in answer.out


def test_a_locked_store_names_its_holder(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    verb("ingest", "raw/random")
    acquire = durable._acquire
    monkeypatch.setattr(durable, "_acquire", lambda handle, path, timeout: acquire(handle, path, min(timeout, 0.1)))
    with durable.lock(Path("store.work/lock")):
        refused(verb("ingest", "raw"), 4, "store.work/lock", f"held by process {os.getpid()}", "Wait for that process")


def test_a_full_disk_says_to_free_space(verb: Verb) -> None:
    verb("ingest", "raw/random")
    with failing_at(8, lasting=True):
        answer = verb("ingest", "raw")
    refused(answer, 4, "No space left on device", "Free space and try again")
    assert "2 configurations" in verb("show").out


def test_a_store_in_the_wrong_place_is_refused(verb: Verb) -> None:
    refused(verb("ingest", "raw", "--store", "raw"), 4, "raw: expected an empty folder, found files.")
    refused(verb("ingest", "raw", "--store", "raw/notes.txt"), 4, "raw/notes.txt")


def test_a_file_name_cannot_steer_the_terminal(verb: Verb) -> None:
    name = "raw/md/\x1b]0;owned\x07\x9b31m\u202e.xml"
    Path(name).write_text(MD[:300])
    for arguments in (["ingest", "raw"], ["ingest", "raw", "--json"], ["ingest", name], ["ingest", "raw", "--strict"],
                      ["inspect", name], ["inspect", name, "--json"], ["ingest", "nowhere\x1b[2J"]):  # fmt: skip
        answer = verb(*arguments)
        assert not set("\x1b\x07\x9b\u202e") & set(answer.out + answer.err)
