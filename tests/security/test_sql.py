"""Hostile SQL ends in our error and touches nothing: no file, no setting, no extension, no variable, no machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
from tiny import tree

from mlpdata.api import Snapshot, Store
from mlpdata.errors import UsageError
from mlpdata.query import run_sql

SECRET = "a secret that no query may show"

READS = [
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_json_objects('{secret}')",
    "SELECT * FROM read_ndjson('{secret}')",
    "SELECT * FROM read_parquet('{parquet}')",
    "SELECT * FROM parquet_scan('{parquet}')",
    "SELECT * FROM parquet_metadata('{parquet}')",
    "SELECT * FROM parquet_schema('{parquet}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM '{parquet}'",
    "SELECT * FROM configurations, read_text('{secret}')",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{secret}')",
    "DESCRIBE SELECT * FROM read_text('{secret}')",
    "SUMMARIZE SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_text('http://127.0.0.1:9/x')",
    "SELECT * FROM read_csv('s3://bucket/x')",
    "SELECT getenv('HOME')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('{secret}', 's3')",
]
WRITES = [
    "COPY (SELECT 1) TO '{folder}/made'",
    "COPY (SELECT 1) TO PROGRAM 'touch {folder}/made'",
    "COPY configurations TO '{folder}/made.parquet' (FORMAT parquet)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/made'",
    "EXPORT DATABASE '{folder}/made'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/made.db' AS made",
    "ATTACH ':memory:' AS made",
    "CREATE TABLE made AS SELECT 1",
    "CREATE VIEW configurations AS SELECT 1",
    "CREATE MACRO made() AS TABLE SELECT 1",
    "CREATE PERSISTENT SECRET made (TYPE s3)",
    "INSERT INTO configurations VALUES (1)",
    "UPDATE configurations SET energy = 0",
    "DELETE FROM configurations",
    "DROP VIEW configurations",
    "WITH gone AS (DELETE FROM configurations RETURNING 1) SELECT 1",
    "VACUUM",
    "CHECKPOINT",
    "BEGIN TRANSACTION",
]
SETTINGS = [
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/made.duckdb_extension'",
    "FORCE INSTALL spatial FROM community",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET enable_external_access",
    "PRAGMA enable_external_access",
    "PRAGMA database_list",
    "PRAGMA temp_directory = '{folder}'",
    "SET VARIABLE made = 1",
    "USE memory",
    "CALL pragma_version()",
    "PREPARE made AS SELECT 1",
    "EXECUTE made",
]
SEVERAL = [
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '{folder}/made'",
    "SELECT 1; SET lock_configuration = false; SELECT 2",
    "",
    ";",
    "-- nothing",
    "/* SELECT 1 */",
    "SELECT ?",
    "SELECT $made",
    "SELECT '\udcff'",
    "SELECT \0",
    "not SQL at all",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "SELECT 1" + " + 1" * 20_000,
]
BOMBS = [
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "SELECT count(*) FROM range(10000000000) a WHERE a.range % 7 = 8",
    "SELECT * FROM range(100000000000)",
    "SELECT a.range + b.range FROM range(1000000) a, range(1000000) b",
    "SELECT list(range) FROM range(1000000000)",
    "SELECT string_agg(range::VARCHAR, '') FROM range(1000000000)",
    "SELECT range FROM range(1000000000) ORDER BY hash(range)",
    "SELECT a.id FROM atoms a, atoms b, atoms c, atoms d, atoms e, atoms f, atoms g, atoms h",
]


@pytest.fixture
def snapshot(project: Path) -> Snapshot:
    (project / "secret.txt").write_text(SECRET)
    return Store("store").snapshot()


@pytest.mark.parametrize("payload", [*READS, *WRITES, *SETTINGS, *SEVERAL])
def test_hostile_sql_is_refused_and_touches_nothing(snapshot: Snapshot, project: Path, payload: str) -> None:
    parquet = next(project.glob("store/segments/*/configurations.parquet"))
    query = payload.format(secret=project / "secret.txt", folder=project, parquet=parquet)
    before = tree(project.parent)

    with pytest.raises(UsageError) as caught:
        snapshot.sql(query)

    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith("expected ")
    assert tree(project.parent) == before
    assert snapshot.sql("SELECT count(*) FROM configurations").column(0).to_pylist() == [7]


@pytest.mark.parametrize("query", BOMBS)
def test_a_query_without_end_is_stopped_by_time_or_memory(snapshot: Snapshot, project: Path, query: str) -> None:
    before, started = tree(project.parent), time.monotonic()

    with pytest.raises(UsageError, match="Narrow"):
        run_sql(snapshot.opened, query, timeout=0.5, memory=128 << 20)

    assert time.monotonic() - started < 10
    assert tree(project.parent) == before  # nothing spilled to the disk


@pytest.mark.parametrize("timeout", [1e-6, 1e-3, 0.02])
def test_a_time_limit_that_ends_before_the_query_begins_still_counts(snapshot: Snapshot, timeout: float) -> None:
    with pytest.raises(UsageError, match="expected an answer within"):
        run_sql(snapshot.opened, BOMBS[0], timeout=timeout)


def test_no_variable_of_python_is_a_table(snapshot: Snapshot) -> None:
    secret = pa.table({"secret": [SECRET]})
    assert len(secret) == 1
    for name in ("secret", "SECRET", "snapshot", "tree"):
        with pytest.raises(UsageError, match="does not exist"):
            snapshot.sql(f"SELECT * FROM {name}")


def test_settings_are_locked_and_no_folder_is_open_to_a_query(snapshot: Snapshot) -> None:
    asked = "SELECT name, value FROM duckdb_settings()"
    settings = dict(zip(*snapshot.sql(asked).to_pydict().values(), strict=True))

    assert settings["enable_external_access"] == "false"
    assert settings["lock_configuration"] == "true"
    assert settings["temp_directory"] == ""


def test_the_environment_is_not_shown(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPDATA_SECRET", SECRET)
    assert os.environ["MLPDATA_SECRET"] == SECRET
    for query in ("SELECT * FROM duckdb_settings()", "SELECT * FROM duckdb_variables()"):
        assert SECRET not in str(snapshot.sql(query).to_pylist())
