"""The verb and the call: what is selected, what is refused, what is there after a kill or a full disk."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
from tiny import N_CONFIGURATIONS, Verb, refused, tree

from mlpdata.api import Snapshot, Store
from mlpdata.digest import sha256_file
from mlpdata.errors import NotFound, StoreError, UsageError
from mlpdata.testing.faults import failing_at, kill_at, recorded

KINDS_OF_TARGET = {"extxyz": "a.extxyz", "deepmd": "a"}
"""A file and a folder."""
FORMS = {"extxyz": "a.extxyz", "ase-db": "a.db", "aselmdb": "a.aselmdb", "hdf5": "a.h5", "deepmd": "a"}


def ids_of(path: Path) -> list[str]:
    return [atoms.info["mlpdata_id"].removeprefix("id-") for atoms in ase.io.read(path, ":")]


def test_a_query_names_the_configurations_and_their_order(project: Path, verb: Verb) -> None:
    query = "SELECT id FROM configurations WHERE kind = 'aimd' ORDER BY step DESC"

    answer = verb("export", "train.extxyz", "--sql", query)

    assert answer.code == 0, answer
    assert answer.out.startswith("3 configurations of 1 calculation: train.extxyz\n")
    assert "Licenses: CC0-1.0 (3)\n" in answer.out
    steps = [atoms.info["step"] for atoms in ase.io.read("train.extxyz", ":")]
    assert steps == [2, 1, 0]
    assert json.loads(Path("train.extxyz.provenance.json").read_text())["query"] == query


def test_a_part_of_a_split_is_exported(project: Path, verb: Verb) -> None:
    verb("split")
    split = Store("store").snapshot().split("main")
    part = next(name for name, ids in split.parts.items() if ids)

    assert verb("export", "part.extxyz", "--split", f"main:{part}").code == 0

    assert ids_of(Path("part.extxyz")) == list(split.parts[part])


def test_an_earlier_snapshot_is_exported_as_it_was(project: Path, verb: Verb) -> None:
    before = Store("store").snapshot().record.id
    (project / "raw/md/vasprun.xml").rename(project / "vasprun.xml")
    verb("sync", "raw", "--exact")

    assert verb("export", "now.extxyz").code == 0
    assert verb("export", "then.extxyz", "--at", before).code == 0

    assert len(ids_of(Path("now.extxyz"))) == N_CONFIGURATIONS - 3
    assert len(ids_of(Path("then.extxyz"))) == N_CONFIGURATIONS


@pytest.mark.parametrize(("form", "name"), FORMS.items())
def test_the_report_is_the_same_on_the_screen_as_json_and_in_the_sidecar(
    project: Path, verb: Verb, form: str, name: str
) -> None:
    answer = json.loads(verb("export", name, "--format", form, "--json").out)

    sidecar = next(path for path in answer["beside"] if path.endswith("provenance.json"))
    assert json.loads(Path(sidecar).read_text())["loss"] == answer["loss"]
    said = verb("export", name, "--format", form, "--force").out
    for kind in ("dropped", "changed", "left_out", "caution"):
        for note in answer["loss"][kind]:
            assert note["why"] in said
            assert str(note["configurations"]) in said


@pytest.mark.parametrize(("form", "name"), FORMS.items())
def test_the_sidecar_knows_the_bytes_of_what_was_written(
    snapshot: Snapshot, tmp_path: Path, form: str, name: str
) -> None:
    exported = snapshot.export(tmp_path / name, form)

    files = json.loads(exported.beside[0].read_text())["files"]
    base = exported.path if exported.path.is_dir() else tmp_path
    for file, found in files.items():
        assert found == {"bytes": (base / file).stat().st_size, "sha256": sha256_file(base / file)}
    assert set(files) | {"a.extxyz", "provenance.json"} > {name} or exported.path.is_dir()


def test_whom_to_thank_is_said_of_every_calculation(snapshot: Snapshot, tmp_path: Path) -> None:
    exported = snapshot.export(tmp_path / "a.extxyz")

    text = exported.beside[1].read_text()
    table = snapshot.sql(
        "SELECT path, c.license, citation, count(*) AS n FROM configurations c JOIN calculations USING (calculation_record, path) "
        "WHERE id IN (SELECT id FROM configurations GROUP BY id HAVING count(*) = 1) GROUP BY ALL"
    )
    assert len(table) > 10
    for row in table.to_pylist():
        cells = row["path"], row["license"] or "none stated", row["citation"] or "none stated"
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {row['path']} |"))
        assert [one.strip() for one in line.split("|")[1:5:1]][::2] == [cells[0], cells[1]]
        assert line.endswith(f"| {cells[2]} |")
    assert "## CC-BY-4.0\n\nCite: A. Author, 2026\n" in text
    assert "## No license stated: ask before it is passed on\n" in text


def test_labels_that_are_no_target_are_named(snapshot: Snapshot, tmp_path: Path) -> None:
    exported = snapshot.export(tmp_path / "a.extxyz")

    (note,) = (one for one in exported.loss.caution if "projected" in one.why)
    assert (note.what, note.configurations) == ("forces", 7)


def test_one_that_is_named_twice_is_written_once_and_counted(snapshot: Snapshot, tmp_path: Path) -> None:
    one = snapshot.ids()[0].tobytes().hex()

    exported = snapshot.export(tmp_path / "a.extxyz", ids=[one, one])

    assert exported.n_configurations == 1
    assert [note.configurations for note in exported.loss.left_out] == [1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a.xlsx"], 2, "expected one of the formats extxyz, ase-db, aselmdb, hdf5, deepmd, found the ending '.xlsx'"),
        (["a.db", "-f", "sqlite"], 2, "found 'sqlite'"),
        (["a.extxyz", "--sql", "SELECT 1", "--split", "main:train"], 2, "expected --sql or --split, found both"),
        (["a.extxyz", "--sql", "SELECT formula FROM configurations"], 2, "Begin the query by SELECT id"),
        (["a.extxyz", "--sql", "SELECT id FROM configurations WHERE false"], 2, "found none"),
        (["a.extxyz", "--split", "train"], 2, "expected NAME:PART"),
        (["a.extxyz", "--split", "main:nope"], 4, "split"),
        (["a.extxyz", "--at", "nope"], 4, "nope"),
        (["a.h5", "--prefix", "REF_"], 2, "expected a prefix for extxyz only"),
        (["a.lmdb", "-f", "aselmdb"], 2, "expected a name that ends in .aselmdb"),
        (["store/a.extxyz"], 2, "expected a place outside the store"),
        (["store", "-f", "deepmd", "--force"], 2, "expected a place outside the store"),
        ([".", "-f", "deepmd", "--force"], 2, "expected a place outside the store"),
        (["raw", "-f", "deepmd", "--force"], 2, "expected an earlier export to replace, found another folder"),
        (["raw", "-f", "extxyz", "--force"], 2, "expected a file to replace, found something else"),
        (["params", "-f", "deepmd", "--force"], 2, "expected a folder to replace, found something else"),
    ],
)
def test_a_mistake_is_a_line_and_nothing_is_written(
    project: Path, verb: Verb, arguments: list[str], code: int, said: str
) -> None:
    Path("params").write_text("of the user\n")
    before = tree(project)

    refused(verb("export", *arguments), code, said)

    assert tree(project) == before


@pytest.mark.parametrize(("form", "name"), FORMS.items())
def test_what_is_there_stays_without_force(project: Path, verb: Verb, form: str, name: str) -> None:
    verb("export", name, "-f", form, "--sql", "SELECT id FROM configurations WHERE kind = 'aimd'")
    before = tree(project)

    refused(verb("export", name, "-f", form), 2, "expected a new name, found something there. --force replaces it.")
    assert tree(project) == before

    assert verb("export", name, "-f", form, "--force").code == 0
    assert tree(project) != before


def test_a_sidecar_of_that_name_counts_as_something_there(project: Path, verb: Verb) -> None:
    Path("a.extxyz.ATTRIBUTION.md").write_text("of the user\n")

    refused(verb("export", "a.extxyz"), 2, "a.extxyz.ATTRIBUTION.md", "expected a new name")


@pytest.mark.parametrize("package", ["ase", "ase_db_backends", "lmdb"])
def test_a_missing_package_is_a_line(project: Path, verb: Verb, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    refused(verb("export", "a.aselmdb"), 2, f"expected the package {package}", "pip install 'mlpdata[export]'")
    assert verb("export", "a.extxyz").code == 0


def test_an_id_that_the_snapshot_does_not_show_is_named(snapshot: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="00" * 16):
        snapshot.export(tmp_path / "a.extxyz", ids=["00" * 16])
    assert not list(tmp_path.iterdir())


def some(snapshot: Snapshot) -> list[str]:
    return [one.tobytes().hex() for one in snapshot.ids()[:2]]


def exporting(snapshot: Snapshot, path: Path, form: str, ids: list[str]) -> Callable[[], object]:
    return lambda: snapshot.export(path, form, ids, force=True)


@pytest.mark.parametrize(("form", "name"), KINDS_OF_TARGET.items())
def test_a_killed_export_leaves_nothing_or_all_under_the_name(
    snapshot: Snapshot, tmp_path: Path, form: str, name: str
) -> None:
    ids = some(snapshot)
    steps = len(recorded(exporting(snapshot, tmp_path / "whole" / name, form, ids)))
    whole = set(tree(tmp_path / "whole"))
    for nth in [*range(1, steps - 8, 3), *range(steps - 8, steps + 1)]:
        folder = tmp_path / str(nth)
        assert kill_at(nth, exporting(snapshot, folder / name, form, ids))
        left = {one for one in tree(folder) if ".mlpdata-export" not in one} if folder.exists() else set()
        assert left <= whole
        assert left == whole or not (folder / name).exists()
    snapshot.export(folder / name, form, ids, force=True)  # the last killed one is gone over
    assert set(tree(folder)) == whole


@pytest.mark.parametrize(("form", "name"), KINDS_OF_TARGET.items())
def test_a_full_disk_leaves_what_was_there(snapshot: Snapshot, tmp_path: Path, form: str, name: str) -> None:
    first, ids = some(snapshot)[:1], some(snapshot)
    steps = len(recorded(exporting(snapshot, tmp_path / "whole" / name, form, ids)))
    snapshot.export(tmp_path / "kept" / name, form, first)
    target = tmp_path / "kept" / name
    before = tree(target) if target.is_dir() else target.read_bytes()
    for nth in [*range(1, steps - 8, 3), *range(steps - 8, steps)]:
        with failing_at(nth), pytest.raises(StoreError):
            exporting(snapshot, target, form, ids)()
        after = tree(target) if target.is_dir() else target.read_bytes()
        if nth < steps - 4:
            assert not list(target.parent.glob(".*"))
        if after != before:  # the rename took place, what came after it failed
            assert nth >= steps - 3
            break


def test_two_exports_to_one_name_do_not_mix(snapshot: Snapshot, tmp_path: Path) -> None:
    from mlpdata import durable

    scratch = tmp_path / ".a.extxyz.mlpdata-export"
    scratch.mkdir()
    alive = durable.mark_alive(scratch)
    try:
        with pytest.raises(StoreError, match="found another export at it"):
            snapshot.export(tmp_path / "a.extxyz")
    finally:
        os.close(alive)
    snapshot.export(tmp_path / "a.extxyz")
    assert not scratch.exists()


def test_from_python_the_same_mistakes_are_errors(snapshot: Snapshot, tmp_path: Path) -> None:
    snapshot.export(tmp_path / "a.extxyz")
    with pytest.raises(UsageError, match="expected a new name"):
        snapshot.export(tmp_path / "a.extxyz")


def test_a_folder_that_stepped_aside_comes_back(snapshot: Snapshot, tmp_path: Path) -> None:
    """A kill between the two renames: the earlier export is there again before the next one writes."""
    exporting(snapshot, tmp_path / "dp", "deepmd", some(snapshot))()
    before = tree(tmp_path)
    (tmp_path / "dp").rename(tmp_path / ".dp.mlpdata-replaced")

    with failing_at(3), pytest.raises(StoreError):
        exporting(snapshot, tmp_path / "dp", "deepmd", some(snapshot)[:1])()

    assert tree(tmp_path) == before
