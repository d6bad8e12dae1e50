"""The stages from outputs to a frozen view: what they make, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import vasprun as v
from tiny import N_CALCULATIONS, N_CONFIGURATIONS

from mlpdata.api import Snapshot, Store
from mlpdata.curate.freeze import open_view
from mlpdata.errors import CheckFailed, CorruptError, InputError, MlpdataError, NotFound, UsageError
from mlpdata.methods import make_record
from mlpdata.schema.params import CheckParams, IngestParams, Params, SplitParams
from mlpdata.workflow import (
    check_snapshot,
    freeze_query,
    make_dataset,
    make_split,
    make_view,
    raise_on_errors,
    read_split,
    selected,
)

TWO = SplitParams(stratify=(), fractions={"train": 0.6, "test": 0.4})


@pytest.fixture
def snapshot(project: Path) -> Snapshot:
    return Store().snapshot()


def test_a_dataset_is_what_the_folder_holds(raw: Path) -> None:
    (raw / "md/empty.xml").touch()
    dataset, report = make_dataset(Params(), Path("store"))

    assert (dataset["n_configurations"], dataset["n_calculations"]) == (N_CONFIGURATIONS, N_CALCULATIONS)
    assert dataset["content"] == report.content == Store().snapshot().content
    assert [one.partition(":")[0] for one in dataset["refused"]] == ["md/empty.xml"]
    assert make_dataset(Params(), Path("another"))[0] == dataset


def test_a_dataset_of_nothing_or_of_damage_where_that_is_forbidden_is_refused(raw: Path) -> None:
    (raw / "md/empty.xml").touch()
    with pytest.raises(CheckFailed, match=r"md/empty\.xml"):
        make_dataset(Params(ingest=IngestParams(strict=True)), Path("store"))
    with pytest.raises(UsageError, match="nowhere"):
        make_dataset(Params(ingest=IngestParams(raw="nowhere")), Path("store"))
    shutil.rmtree(raw)
    raw.mkdir()
    with pytest.raises(InputError, match="expected outputs of a known code, found none"):
        make_dataset(Params(), Path("store"))


def test_the_license_of_the_parameters_holds_where_no_sidecar_speaks(raw: Path) -> None:
    (raw / "mlpdata.yaml").unlink()
    make_dataset(Params(ingest=IngestParams(license="CC-BY-4.0", citation="A. Author")), Path("store"))
    calculations = Store().snapshot().calculations()
    assert {(one.license, one.citation) for one in calculations} == {("CC-BY-4.0", "A. Author")}


def test_every_method_is_in_the_record(snapshot: Snapshot) -> None:
    text, software = make_record(snapshot)
    for method in snapshot.methods():
        assert method.id in text
    assert software


def test_a_check_finds_two_theories_and_judges_licenses(snapshot: Snapshot) -> None:
    found = check_snapshot(snapshot, CheckParams())

    json.dumps(found, allow_nan=False)
    assert found["licenses"]["CC0-1.0"]["allowed"] == "yes"
    assert any("theor" in error or "code" in error for error in found["errors"])
    with pytest.raises(CheckFailed, match="checks failed; the first"):
        raise_on_errors(found)
    raise_on_errors({**found, "errors": []})


def test_gates_are_counted_over_every_configuration(snapshot: Snapshot) -> None:
    gates = {one["gate"]: one for one in check_snapshot(snapshot, CheckParams(max_force=1.0))["gates"]}
    forces = snapshot.sql("SELECT count(*) FROM configurations WHERE max_force > 1").column(0)[0].as_py()
    assert (gates["largest-force"]["applied"], gates["largest-force"]["caught"]) == (N_CONFIGURATIONS, forces)
    assert forces >= 3  # those of the vasprun.xml, of length 1.5


def test_an_unknown_license_blocks_redistribution(raw: Path) -> None:
    (raw / "mlpdata.yaml").unlink()
    make_dataset(Params(), Path("store"))
    found = check_snapshot(Store().snapshot(), CheckParams(purpose="redistribute", one_theory=False))
    assert any("license unknown" in error for error in found["errors"])


def test_a_split_puts_each_run_on_one_side_and_is_read_back(snapshot: Snapshot, tmp_path: Path) -> None:
    divided = make_split(snapshot, TWO)

    assert sum(map(len, divided.parts.values())) == N_CONFIGURATIONS
    steps = set(snapshot.sql("SELECT hex(id) FROM configurations WHERE kind = 'aimd'").column(0).to_pylist())
    assert sum({one.lower() for one in steps} <= set(part) for part in divided.parts.values()) == 1
    path = tmp_path / "split.json"
    path.write_text(json.dumps(divided.as_json()))
    assert read_split(path) == divided


@pytest.mark.parametrize(
    ("select", "kind"),
    [
        ("SELECT id FROM configurations LIMIT 3", UsageError),
        ("SELECT id FROM configurations WHERE random() < 0.5", UsageError),
        ("SELECT formula FROM configurations", UsageError),
        ("SELECT id FROM configurations WHERE false", UsageError),
        ("DROP TABLE configurations", UsageError),
        ("SELECT 'abcdefghijklmnop'::BLOB AS id", NotFound),
    ],
)
def test_a_selection_that_names_nothing_certain_is_refused(
    snapshot: Snapshot, select: str, kind: type[MlpdataError], tmp_path: Path
) -> None:
    with pytest.raises(kind):
        make_split(snapshot, SplitParams(select=select))
    with pytest.raises(kind):
        freeze_query(snapshot, select, tmp_path / "view")
    assert not (tmp_path / "view").exists()


def test_an_id_that_is_named_twice_counts_once(snapshot: Snapshot) -> None:
    twice = "SELECT id FROM configurations UNION ALL SELECT id FROM configurations"
    assert len(selected(snapshot, twice)) == N_CONFIGURATIONS


def test_a_split_that_is_not_there_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="mlpdata split"):
        read_split(tmp_path / "split.json")
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"split\.json"):
        read_split(tmp_path / "split.json")


def test_a_view_holds_the_parts_of_its_split(snapshot: Snapshot, tmp_path: Path) -> None:
    divided = make_split(snapshot, TWO)
    view = make_view(snapshot, divided, tmp_path / "view")
    opened = open_view(tmp_path / "view")

    assert (view.split, view.content) == (divided.id, snapshot.content)
    for part, ids in divided.parts.items():
        rows = opened.rows(part)
        assert sorted(opened.mapped.gather("energy", rows)) == sorted(snapshot.read(list(ids)).energy)


def test_a_view_of_a_split_whose_configurations_are_gone_is_refused(project: Path, tmp_path: Path) -> None:
    make_dataset(Params(), Path("store"))
    divided = make_split(Store().snapshot(), TWO)
    (project / "raw/md/vasprun.xml").write_text(v.vasprun(v.calculation(shift=0.3)))
    make_dataset(Params(), Path("store"))
    with pytest.raises(NotFound, match="found no id"):
        make_view(Store().snapshot(), divided, tmp_path / "view")
