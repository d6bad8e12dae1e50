"""`mlpdata annotate`, and the history that `mlpdata show` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import Verb, refused

from mlpdata.store.commit import Repository
from mlpdata.testing.samples import calculation, frames, ingest

FIRST = "SELECT calculation_id FROM calculations WHERE path = 'runs/1/vasprun.xml'"
ID = frames(4, 1).ids()[0].tobytes().hex()


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, in the current folder."""
    monkeypatch.chdir(tmp_path)
    ingest(tmp_path / "store", [1, 2], n_configurations=4)
    return tmp_path / "store"


def test_an_annotation_is_said_and_asked_of_the_next_snapshot(verb: Verb) -> None:
    answer = verb("annotate", FIRST, "kind=defect", "temperature_target=500K", "tag.project=ice")

    assert "1 calculation annotated." in answer.out
    assert "runs/1/vasprun.xml: kind aimd -> defect, temperature_target none -> 500.0" in answer.out
    asked = "SELECT kind, temperature_target, tags['project'] AS project, count(*) AS n FROM configurations GROUP BY ALL ORDER BY ALL"
    found = [json.loads(line) for line in verb("sql", asked, "--json").out.splitlines()]
    assert found == [
        {"kind": "aimd", "temperature_target": None, "project": None, "n": 4},
        {"kind": "defect", "temperature_target": 500.0, "project": "ice", "n": 4},
    ]
    assert "annotated 1 of 1 calculations: kind=defect" in verb("log").out
    assert verb("verify").code == 0


def test_show_names_who_changed_what_when_and_why(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    verb("annotate", FIRST, "kind=defect", "--by", "ann", "--why", "a vacancy")
    monkeypatch.setenv("MLPDATA_BY", "bob")
    verb("annotate", FIRST, "kind=", "license=CC0-1.0")

    said = [line.split(maxsplit=2) for line in verb("show", ID).out.splitlines() if line.startswith("amended")]
    assert [what for _, _, what in said] == [
        "by ann: kind aimd -> defect (a vacancy)",
        "by bob: kind defect -> aimd",
        "by bob: license CC-BY-4.0 -> CC0-1.0",
    ]
    found = json.loads(verb("show", ID, "--json").out)
    assert (found["kind"], found["license"]) == ("aimd", "CC0-1.0")
    steps = [(one["by"], one["field"], one["old"], one["new"]) for one in found["history"]]
    assert ("ann", "kind", "aimd", "defect") in steps
    assert verb("show", ID, "--native").code == 0


def test_nobody_is_named_by_default(verb: Verb, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPDATA_BY", raising=False)
    verb("annotate", FIRST, "kind=defect")

    (line,) = [line for line in verb("show", ID).out.splitlines() if line.startswith("amended")]
    assert " by " not in line
    assert Repository.open(store).snapshot().calculations()[0].rests_on == {"kind": "annotated"}


def test_a_part_of_a_run_is_refused_and_whole_is_the_cure(verb: Verb) -> None:
    part = "SELECT id FROM configurations WHERE step = 0"
    refused(verb("annotate", part, "kind=defect"), 2, "found 1 of 4 configurations of runs/1", "--whole annotates all")
    assert "2 calculations annotated." in verb("annotate", part, "kind=defect", "--whole").out


def test_a_dry_run_writes_nothing(verb: Verb, store: Path) -> None:
    before = Repository.open(store).head()
    assert "1 calculation would be annotated." in verb("annotate", FIRST, "kind=defect", "--dry-run").out
    assert Repository.open(store).head() == before


def test_the_report_is_json_for_programs(verb: Verb) -> None:
    report = json.loads(verb("annotate", FIRST, "group=melt", "--json").out)

    assert (report["n_calculations"], report["n_configurations"]) == (1, 4)
    assert report["changed"] == [
        {"path": "runs/1/vasprun.xml", "id": calculation(1).id, "changes": {"group": ["group 1", "melt"]}}
    ]
    assert json.loads(verb("show", "--json").out)["id"] == report["snapshot"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("kind", "expected field=value such as kind=aimd, found 'kind'"),
        ("colour=red", "expected one of kind, temperature_target"),
        ("kind=solid", "expected one of equilibrium"),
        ("temperature_target=hot", "expected a temperature above zero"),
    ],
)
def test_what_cannot_be_said_ends_in_one_line(verb: Verb, change: str, said: str) -> None:
    refused(verb("annotate", FIRST, change), 2, said)
