"""The public names: Store, Snapshot, what they read and what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vasprun as v
from tiny import N_CALCULATIONS, N_CONFIGURATIONS

import mlpdata
from mlpdata.api import Snapshot, Store, as_ids
from mlpdata.errors import NotFound, UsageError
from mlpdata.project import write_json
from mlpdata.schema.params import SplitParams
from mlpdata.workflow import make_split

MD = "SELECT id FROM configurations WHERE kind = 'aimd' ORDER BY step"


@pytest.fixture
def snapshot(project: Path) -> Snapshot:
    return mlpdata.Store("store").snapshot()


def test_every_public_name_is_there_and_no_other() -> None:
    assert {name for name in mlpdata.__all__ if getattr(mlpdata, name)} == set(mlpdata.__all__)
    assert set(mlpdata.__all__) < set(dir(mlpdata))
    with pytest.raises(AttributeError, match="nothing"):
        mlpdata.nothing  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, mlpdata; print([n for n in ('torch', 'pint', 'duckdb', 'pyarrow', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_store_and_a_snapshot_say_what_they_hold(snapshot: Snapshot) -> None:
    held = f"{N_CONFIGURATIONS} configurations of {N_CALCULATIONS} calculations"
    assert held in repr(Store("store"))
    assert held in repr(snapshot)
    assert len(snapshot) == N_CONFIGURATIONS
    assert len(snapshot.calculations()) == N_CALCULATIONS
    assert Store("store").verify().faults == Store("store").verify(quick=True).faults == []


def test_frames_come_in_the_order_of_the_ids_in_whatever_form(snapshot: Snapshot) -> None:
    table = snapshot.sql(MD)
    ids = table["id"].to_pylist()
    back = list(reversed(ids))
    forms = [back, [one.hex() for one in back], np.frombuffer(b"".join(back), np.uint8).reshape(-1, 16)]

    assert snapshot.read(table).get("step").tolist() == [0, 1, 2]
    for form in forms:
        assert snapshot.read(form).get("step").tolist() == [2, 1, 0]
    assert len(snapshot.read()) == N_CONFIGURATIONS


def test_units_come_out_by_the_door_and_ase_has_the_labels(snapshot: Snapshot) -> None:
    frames = snapshot.read(snapshot.sql(MD))

    forces = frames.quantity("forces").to("hartree/bohr").magnitude
    factor = 0.529177210544 / 27.211386245981  # CODATA 2022
    assert np.allclose(forces[:2], np.array(v.FORCES) * factor, rtol=1e-11)
    atoms = frames.to_ase()[0]
    assert atoms.get_potential_energy() == v.FREE
    assert np.allclose(atoms.get_forces(), v.FORCES, atol=1e-15)
    assert np.allclose(atoms.get_positions(), v.CARTESIAN, atol=1e-12)


@pytest.mark.parametrize(
    "ids", [["ff" * 16], ["not hexadecimal"], ["ab"], [b"x" * 16], np.zeros((1, 16), np.uint8), "ab" * 16]
)
def test_an_id_that_is_not_there_is_not_found(snapshot: Snapshot, ids: object) -> None:
    with pytest.raises(NotFound):
        snapshot.read(ids)  # type: ignore[arg-type]


def test_no_ids_are_no_frames(snapshot: Snapshot) -> None:
    assert as_ids([]).shape == (0, 16)


def test_a_table_without_ids_is_refused(snapshot: Snapshot) -> None:
    with pytest.raises(UsageError, match="expected the column id, found energy"):
        snapshot.read(snapshot.sql("SELECT energy FROM configurations"))


def test_what_is_not_there_is_named_with_its_cure(snapshot: Snapshot, project: Path) -> None:
    with pytest.raises(NotFound, match="mlpdata ingest"):
        Store("nowhere")
    with pytest.raises(NotFound, match="mlpdata log"):
        Store("store").snapshot("v1")
    with pytest.raises(NotFound, match="mlpdata split"):
        snapshot.split()


def test_a_loader_gives_the_part_of_a_split_in_torch(snapshot: Snapshot) -> None:
    divided = make_split(snapshot, SplitParams(stratify=(), fractions={"train": 0.6, "test": 0.4}))
    write_json(Path("splits/main.json"), divided.as_json())
    wanted = snapshot.read(list(divided.parts["train"]))

    batches = list(snapshot.loader(split="train", batch_size=2, cutoff=3.0, seed=0))

    energies = sorted(float(one) for batch in batches for one in batch.energy)
    assert energies == sorted(wanted.energy.tolist())
    assert all(len(batch.energy) <= 2 for batch in batches)
    with pytest.raises(NotFound, match="expected one of the parts train, test, found 'valid'"):
        snapshot.loader(split="valid")
