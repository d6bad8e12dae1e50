"""`mlpdata sql`: answers in every format, the prompt, the script for DuckDB."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny import N_CONFIGURATIONS, Verb, refused

from mlpdata.api import Store
from mlpdata.testing.faults import failing_at

pytestmark = pytest.mark.usefixtures("project")
COUNT = "SELECT kind, count(*) AS n FROM configurations GROUP BY 1 ORDER BY 1"
COUNTED = [("aimd", 3), ("random", 2), ("unknown", 2)]


def test_a_table_is_separated_by_tabs_where_there_is_no_terminal(verb: Verb) -> None:
    assert verb("sql", COUNT).out == "kind\tn\naimd\t3\nrandom\t2\nunknown\t2\n"


def test_every_format_holds_the_same(verb: Verb) -> None:
    said = verb("sql", COUNT, "--format", "csv").out
    assert [(row["kind"], int(row["n"])) for row in csv.DictReader(io.StringIO(said))] == COUNTED
    for arguments in (["--json"], ["--format", "json"]):
        lines = verb("sql", COUNT, *arguments).out.splitlines()
        assert [tuple(json.loads(line).values()) for line in lines] == COUNTED
    verb("sql", COUNT, "--format", "parquet", "--out", "new/x.bin")
    assert list(zip(*pq.read_table("new/x.bin").to_pydict().values(), strict=True)) == COUNTED


@pytest.mark.parametrize(
    ("name", "begins"),
    [("x.csv", b"kind,n\n"), ("x.json", b"{"), ("x.jsonl", b"{"), ("x.parquet", b"PAR1"), ("x.txt", b"kind,n\n")],
)
def test_the_name_of_a_file_says_its_format(verb: Verb, name: str, begins: bytes) -> None:
    assert verb("sql", COUNT, "-o", f"new/{name}").out == ""
    assert Path("new", name).read_bytes().startswith(begins)


def test_ids_are_hexadecimal_digits_and_nan_is_null(verb: Verb) -> None:
    query = "SELECT id, 'nan'::DOUBLE AS x, [1.5, 'inf'::DOUBLE] AS l FROM configurations ORDER BY id LIMIT 1"
    first = sorted(one.tobytes().hex() for one in Store().snapshot().ids())[0]
    assert json.loads(verb("sql", query, "--json").out) == {"id": first, "x": None, "l": [1.5, None]}
    assert verb("sql", query).out.splitlines()[1] == f"{first}\t\t[1.5, null]"
    assert verb("sql", query, "-f", "csv").out.splitlines()[1] == f'{first},,"[1.5, null]"'


def test_two_columns_of_one_name_are_both_in_a_csv(verb: Verb) -> None:
    assert verb("sql", "SELECT 1 AS a, 2 AS a", "-f", "csv").out == "a,a\n1,2\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_formula_in_a_csv_is_text(verb: Verb, text: str) -> None:
    verb("sql", f"SELECT '{text}' AS \"=name\"", "-o", "x.csv")
    rows = list(csv.reader(io.StringIO(Path("x.csv").read_bytes().decode(), newline="")))
    assert rows == [["'=name"], [f"'{text}"]]


def test_an_answer_cannot_steer_the_terminal(verb: Verb) -> None:
    query = "SELECT chr(27) || ']0;owned' || chr(7) || chr(155) || '31m' AS \"\x1b[2J\""
    for form in ("table", "json"):
        assert not set("\x1b\x07\x9b") & set(verb("sql", query, "-f", form).out)
    refused(verb("sql", 'SELECT * FROM "\x1b[2J"'), 2, "does not exist")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["SELECT 1; SELECT 2"], "expected one SELECT, DESCRIBE or EXPLAIN, found SELECT, SELECT."),
        (["DROP TABLE configurations"], "found DROP. A query only reads; data enter by `mlpdata ingest`."),
        ([""], "found no statement"),
        (["SELECT nope FROM configurations"], '"nope" not found'),
        (["SELECT * FROM nope"], "The views are configurations, calculations"),
        (["SELECT 1", "-f", "xml"], "expected one of the formats table, csv, json, parquet, found 'xml'."),
        (["SELECT 1", "-f", "parquet"], "expected a file for Parquet, found none. Name it by --out FILE."),
        (["SELECT 1", "--timeout", "0"], "--timeout"),
        (["SELECT '\udcff'"], "expected SQL in UTF-8"),
    ],
)
def test_a_wrong_query_is_a_line(verb: Verb, arguments: list[str], said: str) -> None:
    refused(verb("sql", *arguments), 2, said)


def test_a_query_that_takes_too_long_is_a_line(verb: Verb) -> None:
    endless = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
    refused(
        verb("sql", endless, "--timeout", "0.1"), 2, "expected an answer within 0.1 s, found none. Narrow the query."
    )


def test_a_full_disk_leaves_the_file_that_was_there(verb: Verb) -> None:
    Path("x.csv").write_text("before")
    with failing_at(2):
        answer = verb("sql", COUNT, "-o", "x.csv")
    refused(answer, 4, "x.csv", "No space left")
    assert Path("x.csv").read_text() == "before"


def test_a_query_may_come_from_the_standard_input(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(COUNT + ";\n"))
    assert verb("sql").out.startswith("kind\tn\naimd\t3")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    refused(verb("sql"), 2, "found no statement")


def test_the_prompt_answers_goes_on_after_a_mistake_and_ends(project: Path) -> None:
    said = at_a_terminal("SELECT count(*) AS n\nFROM configurations;\nSELECT nope;\n\nexit\n")
    assert f"{N_CONFIGURATIONS} configurations" in said
    assert "...>" in said
    assert "expected SQL that DuckDB understands" in said


def test_the_prompt_ends_with_the_input(project: Path) -> None:
    assert "mlpdata>" in at_a_terminal("\x04")


def at_a_terminal(typed: str) -> str:
    """What `mlpdata sql` shows at a terminal on which `typed` is typed."""
    master, terminal = pty.openpty()
    command = [sys.executable, "-c", "from mlpdata.cli import main; main(['sql'])"]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal) as running:
        os.close(terminal)
        os.write(master, typed.encode())
        said = b""
        try:
            while piece := os.read(master, 4096):
                said += piece
        except OSError:  # the other end is closed
            pass
        assert running.wait(30) == 0
    os.close(master)
    return said.decode()


def test_emit_prints_a_script_that_duckdb_runs(verb: Verb) -> None:
    import duckdb

    script = verb("sql", COUNT, "--emit").out
    assert duckdb.connect().execute(script).fetchall() == COUNTED
    assert verb("sql", "--emit").out.startswith("-- snapshot ")
