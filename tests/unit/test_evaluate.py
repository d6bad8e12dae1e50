"""Evaluation: every figure computed by hand on small numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mlpdata.errors import UsageError
from mlpdata.evaluate import Labels, gate, is_bulk, metrics, predict
from mlpdata.frames import Frames
from mlpdata.loader.batch import FramesSource, collate
from mlpdata.loader.loader import Loader
from mlpdata.schema.params import GateParams, ModelParams
from mlpdata.training.model import Potential, Statistics
from mlpdata.units import F64

KINDS = ["aimd", "aimd", "random"]


def labels(
    energy: Sequence[float] = (-20.0, -41.0, -33.0), forces: F64 | None = None, stress: F64 | None = None
) -> Labels:
    """Si2, Si4 and SiO2, with references of -10 eV (Si) and -11 eV (O)."""
    n_atoms = np.array([2, 4, 3])
    return Labels(
        rows=np.array([7, 3, 5]),
        n_atoms=n_atoms,
        atomic_numbers=np.array([14, 14, 14, 14, 14, 14, 14, 8, 8]),
        reference=np.array([-20.0, -40.0, -32.0]),
        energy=np.array(energy),
        forces=np.ones((9, 3)) if forces is None else forces,
        stress=np.zeros((3, 3, 3)) if stress is None else stress,
    )


def test_a_perfect_prediction_has_no_error() -> None:
    found = metrics(labels(), labels(), KINDS)
    assert found["all"]["energy"]["mae"] == found["all"]["forces"]["max"] == found["all"]["stress"]["rmse"] == 0
    assert found["all"]["forces"]["cosine"] == pytest.approx(1)
    assert found["all"]["energy"]["r2"] == 1


def test_energy_errors_are_in_mev_an_atom() -> None:
    """Off by 8, 0 and -6 meV: 4, 0 and -2 meV/atom."""
    found = metrics(labels(energy=(-19.992, -41.0, -33.006)), labels(), KINDS)
    assert found["all"]["energy"]["mae"] == pytest.approx(2)
    assert found["all"]["energy"]["rmse"] == pytest.approx(np.sqrt(20 / 3))
    assert found["kinds"]["aimd"]["energy"]["mae"] == pytest.approx(2)
    assert found["kinds"]["random"]["energy"]["mae"] == pytest.approx(2)
    assert found["kinds"]["aimd"]["n_configurations"] == 2


def test_r2_of_energies_is_taken_after_references_and_the_mean_of_each_composition() -> None:
    """Si2 and Si4 are one composition: 0 and -250 meV/atom spread by 125 about their mean; SiO2 is alone and adds none."""
    found = metrics(labels(energy=(-19.8, -41.0, -33.0)), labels(), KINDS)
    assert found["all"]["energy"]["r2"] == pytest.approx(1 - 100**2 / (2 * 125**2))
    assert found["kinds"]["random"]["energy"]["r2"] is None


def test_force_errors_are_in_mev_an_angstrom_by_component_and_by_element() -> None:
    forces = np.ones((9, 3))
    forces[7] += 0.09
    found = metrics(labels(forces=forces), labels(), KINDS)
    assert found["all"]["forces"]["mae"] == pytest.approx(90 / 9)
    assert found["all"]["forces"]["max"] == pytest.approx(90)
    assert found["all"]["forces"]["label_rms"] == pytest.approx(1000)
    assert found["elements"]["O"]["mae"] == pytest.approx(45)
    assert found["elements"]["O"]["rmse"] == pytest.approx(90 / np.sqrt(2))
    assert found["elements"]["Si"]["mae"] == 0
    assert found["kinds"]["aimd"]["forces"]["mae"] == 0
    assert found["all"]["forces"]["r2"] == pytest.approx(1 - 3 * 0.09**2 / 27)


def test_the_95th_percentile_is_numpy_s() -> None:
    forces = np.ones((9, 3)) + np.arange(27).reshape(9, 3) * 1e-3
    found = metrics(labels(forces=forces), labels(), KINDS)
    assert found["all"]["forces"]["p95"] == pytest.approx(np.percentile(np.arange(27), 95))


def test_the_cosine_tells_a_force_that_is_turned_round() -> None:
    forces = np.ones((9, 3))
    forces[:6] *= -2
    found = metrics(labels(forces=forces), labels(), KINDS)
    assert found["all"]["forces"]["cosine"] == pytest.approx((3 - 6) / 9)


def test_stress_errors_are_in_gpa() -> None:
    """0.01 eV/angstrom^3 are 1.602176634 GPa."""
    found = metrics(labels(stress=np.full((3, 3, 3), 0.01)), labels(), KINDS)
    assert found["all"]["stress"]["mae"] == pytest.approx(1.602176634)


def test_what_has_no_label_is_null_and_the_whole_is_json() -> None:
    nothing = labels(energy=[np.nan] * 3, forces=np.full((9, 3), np.nan), stress=np.full((3, 3, 3), np.nan))
    found = metrics(labels(), nothing, KINDS)
    assert found["all"]["energy"] == {"n": 0, "mae": None, "rmse": None, "r2": None}
    assert found["all"]["forces"]["cosine"] is None
    assert found["elements"]["O"]["mae"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_missing_label_has_no_part_in_the_mean() -> None:
    some = labels(energy=(-20.0, np.nan, -33.0))
    found = metrics(labels(energy=(-19.996, 0.0, -33.0)), some, KINDS)
    assert found["all"]["energy"]["n"] == 2
    assert found["all"]["energy"]["mae"] == pytest.approx(1)


def test_other_configurations_are_refused() -> None:
    with pytest.raises(UsageError, match="same configurations"):
        metrics(labels(), labels(), ["aimd"])


def test_the_gate_names_what_misses_its_target() -> None:
    found = metrics(labels(energy=(-19.9, -41.0, -33.0)), labels(), KINDS)
    failures = gate(found, GateParams(energy_mae=20, force_mae=60))
    assert failures == ["aimd: expected energy MAE below 20 meV/atom, found 25.00."]
    assert gate(found, GateParams(energy_mae=26, force_mae=60)) == []


def test_the_gate_does_not_judge_what_has_no_label_but_fails_what_is_not_finite() -> None:
    without = metrics(labels(), labels(energy=[np.nan] * 3), KINDS)
    assert gate(without, GateParams()) == []
    broken = metrics(labels(energy=[np.nan] * 3), labels(), KINDS)
    assert gate(broken, GateParams())[0] == "all: expected energy MAE below 5 meV/atom, found no finite number."


def cell_of(heights: Sequence[float], positions: F64, pbc: Sequence[int] = (1, 1, 1)) -> FramesSource:
    frames = Frames(
        [len(positions)],
        {
            "atomic_numbers": [14] * len(positions),
            "positions": positions,
            "pbc": [pbc],
            "cell": [np.diag(heights)],
            "energy": [-10.5 * len(positions)],
            "forces": np.zeros((len(positions), 3)),
            "stress": [np.eye(3) * 0.01],
        },
    )
    return FramesSource(frames)


@pytest.mark.parametrize(
    ("heights", "positions", "pbc", "bulk"),
    [
        pytest.param((4, 4, 4), [[0, 0, 0], [2, 2, 2]], (1, 1, 1), True, id="crystal"),
        pytest.param((4, 4, 14), [[0, 0, 5], [2, 2, 7]], (1, 1, 1), False, id="slab"),
        pytest.param((4, 4, 14), [[0, 0, 13], [2, 2, 1]], (1, 1, 1), False, id="slab-across-the-face"),
        pytest.param((4, 4, 4), [[0, 0, 0], [2, 2, 2]], (1, 1, 0), False, id="two-periodic-axes"),
        pytest.param((9, 9, 9), [[0, 0, 0]], (1, 1, 1), False, id="atom-in-a-box"),
    ],
)
def test_only_cells_without_vacuum_are_bulk(
    heights: list[float], positions: list[list[float]], pbc: list[int], bulk: bool
) -> None:
    batch = collate(cell_of(heights, np.array(positions, float), pbc), [0], cutoff=None)
    assert is_bulk(batch).tolist() == [bulk]


def test_predict_gives_predictions_and_labels_in_one_order() -> None:
    """A potential that has seen nothing says the reference and the mean; the labels are those of the source."""
    source = cell_of((4, 4, 4), np.array([[0.0, 0, 0], [2, 2, 2]]))
    potential = Potential(ModelParams(cutoff=4.0, channels=4), {14: -10.0}, Statistics(mean_neighbours=20.0))
    predicted, labelled = predict(potential, Loader(source, [0], 1, 4.0, shuffle=False, threads=0))
    assert labelled.energy.tolist() == [-21.0]
    assert labelled.reference.tolist() == predicted.reference.tolist() == [-20.0]
    assert labelled.stress[0] == pytest.approx(np.eye(3) * 0.01)
    assert predicted.energy[0] == pytest.approx(potential(collate(source, [0], 4.0)).energy.item())
    assert not potential.training
    assert np.isfinite(predicted.stress).all()
    assert torch.is_grad_enabled()


def test_predicting_nothing_is_refused() -> None:
    potential = Potential(ModelParams(channels=4), {14: -10.0}, Statistics())
    with pytest.raises(UsageError, match="Check the split"):
        predict(potential, [])
