"""`mlpdata failed`: the list of lost runs for people, and for the scripts that submit them again."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import vasprun as v
from tiny import Verb, refused

LOGS = Path(__file__).parents[2] / "data/failures"
WHOLE = v.vasprun(*(v.calculation(shift=0.01 * step) for step in range(3)))
CUT = WHOLE[: WHOLE.rindex("<calculation>") + 20]
NAMES = ("with a space", "limit", "whole")
ESCAPE = "\x1b]0;owned\x07"


@pytest.fixture(autouse=True)
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: Verb) -> Path:
    """A synced tree, a day old: one run whole, two cut, one of them by its limit."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        folder = tmp_path / "raw" / name
        folder.mkdir(parents=True)
        text = WHOLE if name == "whole" else CUT
        (folder / "vasprun.xml").write_text(text.replace("-10.5", f"-10.{number + 1}"))
    shutil.copy(LOGS / "slurm-time.out", tmp_path / "raw/limit/slurm-7.out")
    age(tmp_path / "raw")
    assert verb("sync", "raw").code == 0
    return tmp_path / "raw"


def age(raw: Path) -> None:
    then = time.time() - 86400
    for path in raw.rglob("*"):
        os.utime(path, (then, then))


def test_the_table_names_run_cause_evidence_and_what_was_kept(verb: Verb) -> None:
    answer = verb("failed", "raw")
    assert (answer.code, answer.err) == (0, "")
    head, limit, space, summary = answer.out.splitlines()
    assert head == "path\tcause\tevidence\tframes kept"
    assert limit.startswith("limit/vasprun.xml\twalltime\tslurm-7.out:5: slurmstepd: error: *** JOB 900117")
    assert limit.endswith("\t2")
    assert space.startswith("with a space/vasprun.xml\ttruncated\tvasprun.xml: expected </modeling>")
    assert summary == "2 lost runs: 1 walltime, 1 truncated."


def test_only_the_causes_asked_for_are_listed(verb: Verb) -> None:
    assert verb("failed", "raw", "--cause", "walltime, memory", "--paths").out == "raw/limit\n"
    assert verb("failed", "raw", "--cause", "memory").out == "0 lost runs.\n"
    refused(verb("failed", "raw", "--cause", "walltime,hunger"), 2, "expected one of the causes scf,", "'hunger'")


def test_folders_go_through_a_shell_whatever_their_names(verb: Verb) -> None:
    assert verb("failed", "raw", "--paths").out.splitlines() == ["raw/limit", "raw/with a space"]
    listed = verb("failed", "raw", "--paths", "--null").out
    assert listed == "raw/limit\0raw/with a space\0"
    made = subprocess.run(
        ["xargs", "-0", "-I{}", "touch", "{}/again"],
        input=listed.encode(), check=True, capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0
    assert sorted(path.parent.name for path in Path("raw").rglob("again")) == ["limit", "with a space"]


def test_a_folder_with_a_line_break_is_only_in_the_list_that_ends_each_with_nul(verb: Verb, campaign: Path) -> None:
    (campaign / "limit").rename(campaign / "two\nlines")
    verb("sync", "raw", "--exact")
    answer = verb("failed", "raw", "--paths")
    assert answer.out == "raw/with a space\n"
    assert "1 folder with a line break in the name left out; --null lists all." in answer.err
    assert "raw/two\nlines\0" in verb("failed", "raw", "--null").out


def test_programs_get_one_document_a_run(verb: Verb) -> None:
    limit, space = map(json.loads, verb("failed", "raw", "--json").out.splitlines())
    assert limit["cause"] == "walltime"
    assert limit["evidence"]["file"] == "slurm-7.out"
    assert limit["evidence"]["line"] == 5
    assert (limit["n_configurations"], limit["last_step"], limit["restart"]) == (2, 1, [])
    assert space["folder"] == "raw/with a space"


def test_spreadsheets_get_csv(verb: Verb) -> None:
    rows = list(csv.DictReader(io.StringIO(verb("failed", "raw", "--csv").out)))
    assert [(row["cause"], row["place"], row["n_configurations"]) for row in rows] == [
        ("walltime", "slurm-7.out:5", "2"),
        ("truncated", "vasprun.xml", "2"),
    ]


def test_two_forms_at_once_are_refused(verb: Verb) -> None:
    refused(verb("failed", "raw", "--csv", "--json"), 2, "expected one form of output, found --csv and --json")


def test_a_folder_or_a_store_that_is_not_there_is_said(verb: Verb) -> None:
    refused(verb("failed", "nowhere"), 2, "expected a folder of outputs, found none")
    refused(verb("failed", "raw", "--store", "none"), 4, "expected a store, found none")


def test_a_run_that_may_be_going_on_is_counted(verb: Verb, campaign: Path) -> None:
    (campaign / "with a space/OSZICAR").write_text("x\n")
    answer = verb("failed", "raw")
    assert (
        "1 lost run: 1 walltime.\n1 run without an end mark changed a short while ago and may be running.\n"
        in answer.out
    )
    assert "2 lost runs" in verb("failed", "raw", "--running", "0").out


def test_a_tree_without_losses_says_so(verb: Verb, campaign: Path) -> None:
    for name in ("limit", "with a space"):
        shutil.rmtree(campaign / name)
    verb("sync", "raw", "--exact")
    assert verb("failed", "raw").out == "0 lost runs.\n"
    assert verb("failed", "raw", "--paths").out == ""


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_what_a_log_says_cannot_steer_the_terminal(
    verb: Verb, campaign: Path, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    log = (LOGS / "slurm-time.out").read_text().replace("n042", f"n042{ESCAPE}\x9b31m")
    (campaign / "limit/slurm-7.out").write_text(log)
    out = verb("failed", "raw", *form).out
    assert "\x1b]" not in out
    assert "\x07" not in out
    assert "\x9b" not in out


def test_what_moved_away_is_counted_where_folders_are_listed(verb: Verb, campaign: Path) -> None:
    campaign.rename("elsewhere")
    answer = verb("failed", "--paths")
    assert answer.out == ""
    assert "2 lost runs not on disk" in answer.err


def test_names_that_are_no_utf_8_are_listed(verb: Verb, campaign: Path) -> None:
    campaign.rename("raw\udcff")
    assert "2 lost runs" in verb("failed", "raw\udcff").out
    assert "raw?/limit" in verb("failed", "raw\udcff", "--csv").out
