"""What the rows of a CSV map say of runs, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mlpdata.errors import UsageError
from mlpdata.said.maps import Map, Row, normal
from mlpdata.said.statements import Statement
from mlpdata.said.tables import rows_of


def table(folder: Path, text: str) -> Path:
    file = folder / "runs.csv"
    file.write_bytes(text.encode())
    return file


def rows(folder: Path, text: str) -> dict[str, dict[str, object]]:
    return {
        row.path: {name: one.value for name, one in row.statements.items()}
        for row in rows_of(table(folder, text), "runs.csv")
    }


def found(paths: list[str], run: str) -> list[str]:
    """The rows that match a run, the most specific first."""
    every = Map((Row(path, path, {"group": Statement(path, path)}) for path in map(normal, paths)), "--map")
    return [layer.statements["group"].place for layer in every.layers(run.split("/"))]


def test_columns_are_fields_and_empty_cells_say_nothing(tmp_path: Path) -> None:
    text = "path,kind,temperature,tag.project,license,units.energy,energy_kind\na/1,aimd,300K,,cc0,eV,free\n./b//2/,,,x y,,,\n"

    assert rows(tmp_path, text) == {
        "a/1": {
            "kind": "aimd",
            "temperature": 300.0,
            "license": "CC0-1.0",
            "units.energy": "eV",
            "energy_kind": "free",
        },
        "b/2": {"tags.project": "x y"},
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_the_header_shows_the_delimiter(tmp_path: Path, delimiter: str, mark: str, end: str) -> None:
    lines = [["path", " system "], ['"a;b,c\td"', " Cu "], ["", ""], ["e", ""]]

    assert rows(tmp_path, mark + end.join(map(delimiter.join, lines))) == {"a;b,c\td": {"system": "Cu"}, "e": {}}


def test_each_statement_knows_its_line(tmp_path: Path) -> None:
    text = 'path,citation\n\na,"two\nlines"\nb,one\n'

    places = [row.statements["citation"].place for row in rows_of(table(tmp_path, text), "lists/runs.csv")]

    assert places == ["lists/runs.csv:4", "lists/runs.csv:5"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "runs.csv:1: expected a column path, found no header."),
        ("file,kind\na,aimd\n", "runs.csv:1: expected a column path, found file, kind."),
        ("path,Kind\n", "runs.csv:1: expected columns of path, system, temperature, kind,"),
        ("path,tag.\n", "found 'tag.'"),
        ("path,method.code\n", "found 'method.code'"),
        ("path,kind,kind\n", "runs.csv:1: expected each column once, found 'kind' again."),
        ("path,kind\na,aimd\nb\n", "runs.csv:3: expected 2 cells, found 1."),
        ("path,kind\na,aimd,x\n", "runs.csv:2: expected 2 cells, found 3."),
        ("path,kind\na,gas\n", "runs.csv:2: kind: expected one of equilibrium, aimd,"),
        ("path,temperature\na,300\nb,-3\n", "runs.csv:3: temperature: expected a temperature above zero"),
        ("path,temperature\na,nan\n", "runs.csv:2: temperature: expected"),
        ("path,temperature\na,inf\n", "runs.csv:2: temperature: expected"),
        ("path,license\na,Nope\n", "runs.csv:2: license: expected an SPDX license, found 'Nope'"),
        ("path,energy_kind\na,sigma0\n", "runs.csv:2: energy_kind: expected one of free,"),
        ("path,kind\na,aimd\n./a/,aimd\n", "runs.csv:3: expected each path once, found 'a' on line 2 too."),
        ("path,kind\n,aimd\n", "runs.csv:2: expected a path below the folder, such as a/run1 or a/*, found ''."),
        ("path,kind\n/a,aimd\n", "runs.csv:2: expected a path below the folder"),
        ("path,kind\na/../..,aimd\n", "runs.csv:2: expected a path below the folder"),
        ('path,kind\n"a"b,aimd\n', "runs.csv:2: expected rows of cells, found:"),
        (f"path,citation\na,{'x' * 200_000}\n", "runs.csv:2: expected rows of cells, found: field larger"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_understood_is_refused_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        rows(tmp_path, text)
    assert expected in str(caught.value)


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_bytes(b"path,system\na,\xff\n")
    with pytest.raises(UsageError, match=r"runs\.csv: expected a table in UTF-8"):
        rows_of(tmp_path / "runs.csv", "runs.csv")
    with pytest.raises(UsageError, match=r"none\.csv: expected a readable table, found: No such file"):
        rows_of(tmp_path / "none.csv", "none.csv")


@pytest.mark.parametrize(
    ("paths", "run", "expected"),
    [
        (["a", "a/b", "a/b/OUTCAR"], "a/b/OUTCAR", ["a/b/OUTCAR", "a/b", "a"]),
        (["a", "a/b"], "ab/OUTCAR", []),
        (["a/*/c", "a/b", "*"], "a/b/c/OUTCAR", ["a/*/c", "a/b", "*"]),
        (["a/b*", "a/b1", "a/*"], "a/b1/OUTCAR", ["a/b1", "a/b*", "a/*"]),
        (["**/md_*", "**"], "x/y/md_3/OUTCAR", ["**/md_*", "**"]),
        (["**/md_*"], "md_3/OUTCAR", ["**/md_*"]),
        (["a/**/z", "a/**"], "a/z/OUTCAR", ["a/**/z", "a/**"]),
        (["a/**/**/z"], "a/x/y/z/OUTCAR", ["a/**/z"]),
        (["**/x/**/x"], "x/x/x/OUTCAR", ["**/x/**/x"]),
        (["**/*.xml"], "a/b/vasprun.xml", ["**/*.xml"]),
        (["*.xml"], "a/vasprun.xml", []),
        (["[ab]", "?"], "a/OUTCAR", []),
        (["."], "a/OUTCAR", [""]),
    ],
)
def test_the_most_specific_row_comes_first(paths: list[str], run: str, expected: list[str]) -> None:
    assert found(paths, run) == expected
    assert found(paths[::-1], run) == expected


def test_of_equally_specific_rows_the_first_counts() -> None:
    assert found(["x/*", "*/a"], "x/a/OUTCAR") == ["x/*", "*/a"]
    assert found(["*/a", "x/*"], "x/a/OUTCAR") == ["*/a", "x/*"]


def test_a_row_that_matches_no_run_is_reported(tmp_path: Path) -> None:
    every = Map(rows_of(table(tmp_path, "path,kind\na,aimd\nb/*,aimd\nc,defect\n"), "runs.csv"), "--map")
    for run in ("a/1/OUTCAR", "b/OUTCAR"):
        every.layers(run.split("/"))

    assert every.remarks() == ["runs.csv:4: 'c' matches no run."]


def test_many_rows_and_many_runs_take_no_more_time_than_both_together(tmp_path: Path) -> None:
    """Each run against each row would be 4e8 comparisons."""
    names = [f"s{number % 40}/{number}/OUTCAR" for number in range(20_000)]
    text = "path,group\n" + "".join(f"{name.removesuffix('/OUTCAR')},g{number}\n" for number, name in enumerate(names))
    started = time.process_time()

    every = Map(rows_of(table(tmp_path, text), "runs.csv"), "--map")

    assert [every.layers(name.split("/"))[0].statements["group"].value for name in names] == [
        f"g{number}" for number in range(20_000)
    ]
    assert time.process_time() - started < 8


def test_a_hostile_pattern_takes_no_longer_than_pattern_and_path(tmp_path: Path) -> None:
    started = time.process_time()

    assert found(["/".join(["**", "a"] * 30) + "/b"[1:]], "/".join(["a"] * 200)) != ["b"]
    assert found(["*a" * 100 + "b"], "a" * 250) == []

    assert time.process_time() - started < 1
