"""SQL over one snapshot: the views, what retractions hide, and the script that asks the same files without us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import vasprun as v
from tiny import N_CALCULATIONS, N_CONFIGURATIONS

from mlpdata.api import Snapshot, Store
from mlpdata.errors import CorruptError, UsageError
from mlpdata.intake import sync
from mlpdata.project import write_json
from mlpdata.query import TABLES, ids_of
from mlpdata.schema.params import SplitParams
from mlpdata.store.commit import Repository
from mlpdata.workflow import make_split


@pytest.fixture
def snapshot(project: Path) -> Snapshot:
    return Store().snapshot()


def rows(snapshot: Snapshot, query: str) -> list[tuple[object, ...]]:
    return list(zip(*snapshot.sql(query).to_pydict().values(), strict=True))


def test_the_views_count_what_was_ingested(snapshot: Snapshot) -> None:
    counts = {name: rows(snapshot, f"SELECT count(*) FROM {name}")[0][0] for name in (*TABLES, "atoms", "splits")}
    assert counts == {
        "configurations": N_CONFIGURATIONS, "calculations": N_CALCULATIONS, "sources": N_CALCULATIONS,
        "methods": len(snapshot.methods()), "atoms": 3 * 2 + 4 * 8, "splits": 0,
    }  # fmt: skip


def test_atoms_hold_what_the_file_prints(snapshot: Snapshot) -> None:
    found = rows(
        snapshot,
        "SELECT a.atom, a.atomic_number, a.position, a.force FROM atoms a JOIN configurations c USING (id) "
        "WHERE c.kind = 'aimd' AND c.step = 0 ORDER BY a.atom",
    )
    assert [row[:2] for row in found] == [(0, 14), (1, 32)]
    assert np.allclose([row[2] for row in found], v.CARTESIAN, atol=1e-12)
    assert [tuple(row[3]) for row in found] == v.FORCES


def test_a_vector_that_is_absent_is_null(project: Path) -> None:
    text = v.vasprun(v.calculation())
    start = text.index('  <varray name="forces"')
    Path("raw/md/vasprun.xml").write_text(text[:start] + text[text.index("</varray>", start) + len("</varray>\n") :])
    sync("raw", "without", exact=True)
    asked = "SELECT count(*), count(force) FROM atoms JOIN configurations USING (id) WHERE path = 'md/vasprun.xml'"
    assert rows(Store("without").snapshot(), asked) == [(2, 0)]


def test_what_is_retracted_is_in_no_view(project: Path) -> None:
    sync("raw", exact=True)
    Path("raw/md/vasprun.xml").unlink()
    sync("raw", exact=True)
    snapshot = Store().snapshot()

    for name in ("calculations", "sources"):
        assert rows(snapshot, f"SELECT count(*) FROM {name}") == [(N_CALCULATIONS - 1,)]
    assert rows(snapshot, "SELECT count(*) FROM atoms") == [(4 * 8,)]
    assert rows(snapshot, "SELECT code FROM methods GROUP BY 1") == [("quantum-espresso",)]


def test_an_older_snapshot_answers_as_it_did(project: Path) -> None:
    before = Store().snapshot()
    Repository.open("store").tag("v1")
    Path("raw/md/vasprun.xml").unlink()
    sync("raw", exact=True)

    asked = "SELECT count(*) FROM configurations"
    for at in ("v1", before.record.id, before.record.id[:8]):
        assert rows(Store().snapshot(at), asked) == [(N_CONFIGURATIONS,)]
    assert rows(Store().snapshot(), asked) == [(N_CONFIGURATIONS - 3,)]


def test_recorded_splits_are_a_view(snapshot: Snapshot, project: Path) -> None:
    divided = make_split(snapshot, SplitParams(stratify=(), fractions={"train": 0.6, "test": 0.4}))
    write_json(Path("splits/main.json"), divided.as_json())

    found = dict(rows(snapshot, "SELECT part, count(*) FROM splits JOIN configurations USING (id) GROUP BY 1"))
    assert found == {part: len(ids) for part, ids in divided.parts.items()}
    Path("splits/broken.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"broken\.json"):
        snapshot.sql("SELECT * FROM splits")


@pytest.mark.parametrize(
    "query",
    ["DESCRIBE configurations", "SUMMARIZE configurations", "EXPLAIN SELECT 1", "VALUES (1)", "FROM configurations",
     "WITH x AS (SELECT 1) SELECT * FROM x", "SELECT 1;", " -- why\nSELECT 1"],
)  # fmt: skip
def test_whatever_only_reads_is_answered(snapshot: Snapshot, query: str) -> None:
    assert len(snapshot.sql(query)) > 0


def test_a_mistake_names_itself_and_the_views(snapshot: Snapshot) -> None:
    with pytest.raises(UsageError, match=r"(?s)does not exist.*The views are configurations, calculations"):
        snapshot.sql("SELECT * FROM configuration")
    with pytest.raises(UsageError, match='"enrgy" not found'):
        snapshot.sql("SELECT enrgy FROM configurations")


def test_ids_are_taken_from_their_column_and_from_no_other(snapshot: Snapshot) -> None:
    assert ids_of(snapshot.sql("SELECT id FROM configurations")).shape == (N_CONFIGURATIONS, 16)
    for query, said in (
        ("SELECT formula FROM configurations", "expected the column id, found formula"),
        ("SELECT id FROM configurations WHERE energy > 0", "expected at least one configuration"),
        ("SELECT 1 AS id", "expected the column id to hold ids"),
        ("SELECT hex(id) AS id FROM configurations", "expected the column id to hold ids"),
        ("SELECT NULL AS id", "expected the column id to hold ids"),
    ):
        with pytest.raises(UsageError, match=said):
            ids_of(snapshot.sql(query))


ASK = """
import json, sys, duckdb
connection = duckdb.connect()
connection.execute(sys.stdin.read())
tables = ("configurations", "calculations", "methods", "sources")
print(json.dumps({name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}))
print(json.dumps(connection.execute("SELECT hex(id), energy FROM configurations ORDER BY 1").fetchall()))
"""


@pytest.mark.parametrize("retracted", [False, True])
@pytest.mark.parametrize("folder", ["store", "it's a store"])
def test_the_emitted_script_asks_the_same_with_duckdb_alone(project: Path, retracted: bool, folder: str) -> None:
    from mlpdata.emit import emit_script

    sync("raw", folder, exact=True)
    if retracted:
        Path("raw/md/vasprun.xml").unlink()
        sync("raw", folder, exact=True)
    snapshot = Store(folder).snapshot()

    script = emit_script(snapshot.opened, Path(folder))
    done = subprocess.run([sys.executable, "-c", ASK], input=script, capture_output=True, text=True, check=True)

    counts, energies = map(json.loads, done.stdout.splitlines())
    assert counts == {name: rows(snapshot, f"SELECT count(*) FROM {name}")[0][0] for name in counts}
    asked = rows(snapshot, "SELECT hex(id), energy FROM configurations ORDER BY 1")
    assert [tuple(row) for row in energies] == asked


def test_an_emitted_query_ends_in_one_semicolon(snapshot: Snapshot) -> None:
    from mlpdata.emit import emit_script

    assert emit_script(snapshot.opened, Path("store"), "SELECT 1 -- one; ").endswith("\nSELECT 1 -- one\n;")


def test_an_answer_is_an_arrow_table_with_ids_as_bytes(snapshot: Snapshot) -> None:
    table = snapshot.sql("SELECT id, energy FROM configurations")
    assert isinstance(table, pa.Table)
    assert all(len(one) == 16 for one in table["id"].to_pylist())
