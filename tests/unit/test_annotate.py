"""Annotating: a query names stored calculations, and they are shown with what is said of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlpdata.annotate import annotate, statements
from mlpdata.emit import emit_script
from mlpdata.errors import LicenseError, NotFound, UsageError
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.sidecar import Sidecar
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation, frames, ingest

ALL = "SELECT calculation_id FROM calculations"
FIRST = "SELECT calculation_id FROM calculations WHERE path = 'runs/1/vasprun.xml'"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Runs 1, 2 and 3 of four configurations each."""
    ingest(tmp_path / "store", [1, 2, 3], n_configurations=4)
    return tmp_path / "store"


def run(store: Path, number: int = 1) -> Calculation:
    """Run `number` as it is shown."""
    shown = Repository.open(store).snapshot().calculations()
    return next(one for one in shown if one.path == calculation(number).path)


def test_what_is_said_is_shown_and_on_record(store: Path) -> None:
    report = annotate(
        store,
        FIRST,
        {"kind": "defect", "temperature_target": "500K", "group": "melt", "license": "cc by 4.0", "citation": "B, 2021",
         "system": "water", "tag.project": "ice"},
        by="ann",
        why="read the notebook",
    )  # fmt: skip
    one = run(store)

    assert (one.kind, one.temperature_target, one.group, one.system) == ("defect", 500.0, "melt", "water")
    assert (one.license, one.citation) == ("CC-BY-4.0", "B, 2021")
    assert one.tags == {"config_type": "liquid", "project": "ice"}
    assert one.declared == Sidecar(
        kind="defect", temperature=500.0, group="melt", license="CC-BY-4.0", citation="B, 2021", system="water",
        tags={"project": "ice"},
    ).declared()  # fmt: skip
    assert set(one.rests_on.values()) == {"annotated by ann"}
    assert {"kind", "temperature_target", "group", "system"} <= set(one.rests_on)
    assert (report.n_calculations, report.n_configurations, len(report.changed)) == (1, 4, 1)
    assert report.changed[0].changes["kind"] == ("aimd", "defect")
    assert [run(store, number) for number in (2, 3)] == [calculation(2), calculation(3)]
    assert verify(store).faults == []


def test_the_old_value_and_who_changed_it_when_and_why_stay_on_record(store: Path) -> None:
    annotate(store, FIRST, {"kind": "defect"}, by="ann", why="vacancy")
    annotate(store, FIRST, {"kind": "random"}, by="bob", why="no vacancy")
    snapshot = Repository.open(store).snapshot()

    steps = [one for one in snapshot.history(snapshot.record.segments[0], calculation(1).record) if one.field == "kind"]
    assert [(one.by, one.why, one.old, one.new) for one in steps] == [
        ("ann", "vacancy", "aimd", "defect"),
        ("bob", "no vacancy", "defect", "random"),
    ]
    assert all(one.time.endswith("+00:00") for one in steps)
    assert run(store).rests_on["kind"] == "annotated by bob"


def test_nobody_is_named_who_did_not_ask_for_it(store: Path) -> None:
    annotate(store, FIRST, {"kind": "defect"})

    (file,) = (store / "amendments").iterdir()
    assert json.loads(file.read_text())["by"] == ""
    assert run(store).rests_on == {"kind": "annotated"}


def test_what_is_said_again_is_no_new_snapshot(store: Path) -> None:
    first = annotate(store, ALL, {"kind": "defect"}, by="ann")
    again = annotate(store, ALL, {"kind": "defect"}, by="ann")

    assert (len(first.changed), len(again.changed)) == (3, 0)
    assert again.snapshot == first.snapshot


def test_one_annotation_adds_to_another(store: Path) -> None:
    annotate(store, FIRST, {"kind": "defect", "tag.a": "1"})
    annotate(store, FIRST, {"temperature_target": 300.5, "tag.b": "2"})

    one = run(store)
    assert (one.kind, one.temperature_target) == ("defect", 300.5)
    assert one.tags == {"config_type": "liquid", "a": "1", "b": "2"}


def test_an_empty_value_takes_back_what_was_said(store: Path) -> None:
    before = Repository.open(store).snapshot().content
    said = {"kind": "defect", "license": "MIT", "temperature_target": "300", "tag.config_type": "solid", "tag.new": "1"}
    annotate(store, FIRST, said)
    annotate(store, FIRST, {"kind": "", "tag.config_type": None})
    assert (run(store).kind, run(store).license) == ("aimd", "MIT")
    assert run(store).tags == {"config_type": "liquid", "new": "1"}
    assert set(run(store).declared) == {"license", "temperature", "tags.new"}

    annotate(store, FIRST, {"license": "", "temperature_target": "", "tag.new": ""})
    assert run(store) == calculation(1)
    assert Repository.open(store).snapshot().content == before


def test_what_was_declared_at_ingest_is_what_a_run_returns_to(tmp_path: Path) -> None:
    record = calculation(
        1, kind="strained", declared={"kind": "strained"}, rests_on={"kind": "declared in mlpdata.yaml"}
    )
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as writer:
        writer.begin()
        writer.append(frames(4, 1))
        writer.end(record)
        repository.commit(writer)
    annotate(tmp_path / "store", ALL, {"kind": "defect"})
    assert run(tmp_path / "store").declared == {"kind": "defect"}
    annotate(tmp_path / "store", ALL, {"kind": ""})

    assert run(tmp_path / "store") == record


def test_a_dry_run_says_what_would_change_and_changes_nothing(store: Path) -> None:
    before = Repository.open(store).head()
    report = annotate(store, ALL, {"kind": "defect"}, dry_run=True)

    assert [one.changes for one in report.changed] == [{"kind": ("aimd", "defect")}] * 3
    assert report.dry_run
    assert Repository.open(store).head() == before
    assert report.as_json()["changed"][0]["changes"] == {"kind": ["aimd", "defect"]}


def test_configurations_stand_for_their_calculation_when_all_of_it_is_named(store: Path) -> None:
    report = annotate(store, "SELECT id FROM configurations WHERE path LIKE 'runs/2/%'", {"kind": "defect"})

    assert (report.n_calculations, run(store, 2).kind, run(store, 1).kind) == (1, "defect", "aimd")


def test_a_part_of_a_run_is_refused_with_how_much_it_is_and_the_cure(store: Path) -> None:
    part = "SELECT id FROM configurations WHERE step < 3 AND path < 'runs/3'"
    with pytest.raises(
        UsageError, match=r"found 3 of 4 configurations of runs/1/vasprun.xml, and parts of 1 more\. --whole"
    ):
        annotate(store, part, {"kind": "defect"})
    assert run(store) == calculation(1)

    report = annotate(store, part, {"kind": "defect"}, whole=True)
    assert (report.n_calculations, report.n_configurations) == (2, 8)
    assert run(store, 3) == calculation(3)


def test_an_id_in_two_runs_means_the_one_that_is_named_beside_it(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "store")
    with repository.stage() as writer:
        for number, rows in ((1, [0, 1]), (2, [0, 1, 2, 3])):
            writer.begin()
            writer.append(frames(4, 9).select(rows))
            writer.end(calculation(number))
        repository.commit(writer)

    of_first = "FROM configurations WHERE path LIKE 'runs/1/%'"
    with pytest.raises(UsageError, match="found 2 of 4 configurations of runs/2"):
        annotate(tmp_path / "store", f"SELECT id {of_first}", {"kind": "defect"})
    annotate(tmp_path / "store", f"SELECT id, calculation_id {of_first}", {"kind": "defect"})
    assert [run(tmp_path / "store", number).kind for number in (1, 2)] == ["defect", "aimd"]


def test_configurations_hidden_as_an_overlap_stay_hidden(store: Path) -> None:
    repository = Repository.open(store)
    segment = repository.snapshot().record.segments[0]
    wanted = calculation(2, continues=calculation(1).path)
    repository.commit(amend=[Amended(segment, calculation(2).record, wanted, 1)])
    report = annotate(store, "SELECT id FROM configurations WHERE path LIKE 'runs/2/%'", {"kind": "defect"})

    assert report.n_configurations == 3
    assert len(repository.snapshot().ids()) == 11
    assert run(store, 2).continues == calculation(1).path


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"colour": "red"}, "expected one of kind, temperature_target, group, .*, tag.NAME, found 'colour'"),
        ({"path": "x"}, "found 'path'"),
        ({"tag.": "x"}, "found 'tag.'"),
        ({"units.energy": "eV"}, "found 'units.energy'"),
        ({"kind": "md"}, "kind: expected one of equilibrium, .*, found 'md'"),
        ({"temperature_target": "warm"}, "temperature: expected a temperature above zero"),
        ({"temperature_target": "-5"}, "above zero"),
        ({"temperature_target": "nan"}, "above zero"),
        ({"group": "folder"}, "group: expected a name, found 'folder', which is a rule"),
        ({}, "expected something to say, such as kind=aimd"),
    ],
)
def test_what_cannot_be_said_is_refused_with_what_can(store: Path, said: dict[str, str], message: str) -> None:
    before = Repository.open(store).head()
    with pytest.raises(UsageError, match=message):
        annotate(store, ALL, said)
    assert Repository.open(store).head() == before


def test_a_license_that_is_none_is_refused(store: Path) -> None:
    with pytest.raises(LicenseError):
        annotate(store, ALL, {"license": "whatever"})


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT formula FROM configurations", "expected the column id"),
        ("SELECT id FROM configurations WHERE energy > 1e9", "expected at least one configuration"),
        (f"{ALL} WHERE path = ''", "expected at least one calculation"),
        ("SELECT 1 AS calculation_id", "expected the column calculation_id to hold ids"),
        ("DROP TABLE configurations", "expected one SELECT"),
    ],
)
def test_a_query_that_names_no_calculation_is_refused(store: Path, query: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        annotate(store, query, {"kind": "defect"})


@pytest.mark.parametrize("query", ["SELECT 'x' AS calculation_id", "SELECT unhex(repeat('00', 16)) AS id"])
def test_what_the_snapshot_does_not_show_cannot_be_annotated(store: Path, query: str) -> None:
    with pytest.raises(NotFound, match="of this snapshot, found no id"):
        annotate(store, query, {"kind": "defect"})


def test_a_temperature_is_a_number_in_kelvin() -> None:
    for text in ("500", "500K", "500 K", 500, 500.0):
        assert statements({"temperature_target": text}) == {"temperature": 500.0}


ASK = """
import json, sys, duckdb
connection = duckdb.connect()
connection.execute(sys.stdin.read())
for name in ("configurations", "calculations", "methods", "sources"):
    print(connection.execute(f"SELECT to_json(list(x ORDER BY x::VARCHAR)) FROM (SELECT * FROM {name}) x").fetchone()[0])
"""


def test_an_emitted_script_shows_what_was_amended(store: Path) -> None:
    ingest(store, [4, 5], n_configurations=4)
    repository = Repository.open(store)
    first, second = repository.snapshot().record.segments
    annotate(store, FIRST, {"kind": "defect", "citation": "O'Hara's", "temperature_target": "300"})
    bare = calculation(2, tags={}, license=None)
    repository.commit(
        amend=[
            Amended(first, calculation(2).record, bare, 2),
            Amended(second, calculation(4).record, calculation(4), 4),
        ],
        retract=[(first, calculation(3).record, "test")],
    )
    snapshot = repository.snapshot()

    script = emit_script(snapshot, store)
    done = subprocess.run([sys.executable, "-c", ASK], input=script, capture_output=True, text=True, check=True)

    for name, line in zip(
        ("configurations", "calculations", "methods", "sources"), done.stdout.splitlines(), strict=True
    ):
        assert _sorted(json.loads(line)) == _sorted(_asked(snapshot, name)), name


def _asked(snapshot: Any, name: str) -> list[dict[str, Any]]:
    """A table as DuckDB spells it in JSON."""
    import duckdb

    table = snapshot.table(name)
    table = table.drop_columns([one for one in ("segment", "global_row") if one in table.column_names])
    with duckdb.connect() as connection:
        connection.register("one", table)
        found = connection.execute("SELECT to_json(list(x)) FROM (SELECT * FROM one) x").fetchone()
    assert found is not None
    return json.loads(found[0])


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)
