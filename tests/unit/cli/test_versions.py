"""Verbs about versions, as a user types them, with their mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import N_CALCULATIONS, N_CONFIGURATIONS, Verb, refused

from mlpdata.api import Store
from mlpdata.report import build

MD = "raw/md/vasprun.xml"


def lines(out: str) -> list[list[str]]:
    return [line.split("\t") for line in out.splitlines()]


def test_the_log_says_what_each_snapshot_brought_and_how_it_is_called(project: Path, verb: Verb) -> None:
    verb("tag", "v1")
    verb("retract", MD, "--reason", "a test")

    heads, newest, oldest = lines(verb("log").out)

    assert heads[2:8] == ["configurations", "calculations", "added", "removed", "content", "tags"]
    assert (newest[2:6], newest[8]) == (["4", "4", "0", "3"], "1 calculations retracted: a test")
    assert (oldest[2:6], oldest[7]) == (["7", "5", "7", "0"], "v1")
    assert len(lines(verb("log", "-n", 1).out)) == 2
    (first, second) = (json.loads(line) for line in verb("log", "--json").out.splitlines())
    assert (first["removed"], second["tags"], second["id"]) == (3, ["v1"], first["parents"][0])


def test_a_tag_is_given_moved_and_forgotten(project: Path, verb: Verb) -> None:
    old = Store("store").snapshot().record.id
    assert verb("tag", "v1").out == f"v1 stands for snapshot {old[:12]}.\n"
    verb("retract", MD, "--reason", "a test")
    refused(verb("tag", "v1"), 2, f"stands for snapshot {old[:12]}", "--move")
    assert verb("tag", "old", "v1").code == 0
    assert verb("tag", "v1", "--move", "--json").code == 0
    assert [row[0] for row in lines(verb("tags").out)] == ["tag", "old", "v1"]
    assert verb("tag", "v1", "--delete").out.startswith("v1 stood for")
    assert [json.loads(one)["tag"] for one in verb("tags", "--json").out.splitlines()] == ["old"]
    refused(verb("tag", "v1", "--delete"), 4, "mlpdata tags")
    refused(verb("tag", "v1", "old", "--delete"), 2, "--delete")


def test_the_difference_is_told_and_ends_as_asked(project: Path, verb: Verb) -> None:
    verb("tag", "v1")
    assert verb("diff", "v1", "--exit-code") == (0, "Both show the same.\n", "")
    verb("annotate", "SELECT calculation_id FROM calculations", "license=MIT")
    verb("retract", MD, "--reason", "a test")

    answer = verb("diff", "v1")

    assert answer.code == 0
    said = answer.out.splitlines()
    assert said[0] == "0 configurations added, 3 removed, 0 relabelled."
    assert f"Removed: 1 calculation, {MD}." in said
    assert any(
        one.startswith(f"license CC0-1.0 -> MIT: {N_CALCULATIONS - 1} calculations, such as raw/") for one in said
    )
    assert lines(answer.out)[-1][:4] == [MD, "0", "3", "0"]
    assert verb("diff", "v1", "--exit-code").code == 1
    found = json.loads(verb("diff", "v1", "--json").out)
    assert found["configurations"] == {"added": 0, "removed": 3, "relabelled": 0}
    assert found["before"]["n_configurations"] == N_CONFIGURATIONS
    refused(verb("diff", "nope"), 4, "mlpdata log")


def test_the_report_says_what_changed(project: Path, verb: Verb) -> None:
    verb("tag", "v1")
    verb("retract", MD, "--reason", "a test")
    changes = build.changes(Store("store").snapshot("v1"), Store("store").snapshot())
    assert changes["lines"][0] == "0 configurations added, 3 removed, 0 relabelled."
    assert changes["rows"][0][:4] == (MD, 0, 3, 0)


def test_what_is_retracted_is_listed_with_its_reason_until_it_is_undone(project: Path, verb: Verb) -> None:
    assert verb("retract", MD, "--reason", "wrong cell", "--by", "ann", "--dry-run").out.startswith(
        "1 calculation with 3 configurations would be retracted."
    )
    assert verb("retract").out.splitlines() == ["calculation\tconfigurations\treason\tby\ttime"]
    verb("retract", MD, "--reason", "wrong cell", "--by", "ann")

    assert lines(verb("retract").out)[1][:4] == [MD, "3", "wrong cell", "ann"]
    assert json.loads(verb("retract", "--json").out)["reason"] == "wrong cell"
    answer = verb("ingest", "raw")
    assert "Retracted by hand before: 1 file" in answer.out
    assert f"{MD}: wrong cell (by ann, " in answer.out
    assert verb("retract", MD, "--undo").out.startswith("1 calculation with 3 configurations shown again.")
    assert len(verb("retract").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([MD], 2, "--reason"),
        (["--reason", "x"], 2, "found none or several"),
        (["--undo"], 2, "found none or several"),
        ([MD, "--code-version", "vasp 6", "--reason", "x"], 2, "found none or several"),
        (["nothing", "--reason", "x"], 4, "found none"),
        ([MD, "--undo"], 4, "only what is shown"),
        (["--sql", "SELECT path FROM calculations", "--reason", "x"], 2, "calculation_id"),
        (["--sql", "DROP TABLE calculations", "--reason", "x"], 2, "SELECT"),
        (["--code-version", "vasp 1.2.3", "--reason", "x"], 4, "vasp 1.2.3"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    project: Path, verb: Verb, arguments: list[str], code: int, said: str
) -> None:
    before = Store("store").snapshot().record
    refused(verb("retract", *arguments), code, said)
    assert Store("store").snapshot().record == before
