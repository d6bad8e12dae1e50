"""The loss in its stated units, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlpdata.frames import Frames
from mlpdata.loader.batch import Batch, FramesSource, collate
from mlpdata.schema.params import TrainParams
from mlpdata.training.loss import loss
from mlpdata.training.model import Prediction
from mlpdata.units import F64

Pair = tuple[float, float]

PARAMS = TrainParams(
    energy_weight=2.0,
    force_weight=3.0,
    stress_weight=5.0,
    energy_scale=0.01,
    force_scale=0.1,
    stress_scale=0.005,
)


def batch(energy: Pair = (0.0, 0.0), forces: F64 | None = None, stress: F64 | None = None) -> Batch:
    frames = Frames(
        [4, 2],
        {
            "atomic_numbers": [14] * 6,
            "positions": np.arange(18.0).reshape(6, 3),
            "pbc": np.ones((2, 3)),
            "cell": np.tile(np.eye(3) * 9, (2, 1, 1)),
            "energy": energy,
            "forces": np.zeros((6, 3)) if forces is None else forces,
            "stress": np.zeros((2, 3, 3)) if stress is None else stress,
        },
    )
    return collate(FramesSource(frames), [0, 1], cutoff=None)


def prediction(energy: Pair = (0.0, 0.0), force: float = 0.0, stress: float = 0.0) -> Prediction:
    return Prediction(
        torch.tensor(energy, dtype=torch.float64, requires_grad=True),
        torch.full((6, 3), force, requires_grad=True),
        torch.full((2, 3, 3), stress, requires_grad=True),
        torch.zeros(6, dtype=torch.float64),
    )


def test_an_energy_error_counts_an_atom_over_its_scale() -> None:
    """0.08 eV on 4 atoms are 20 meV/atom, twice the scale: 4; the other is right: the mean is 2, weighted 4."""
    found = loss(prediction(energy=(0.08, 0.0)), batch(), PARAMS)
    assert found.energy.item() == pytest.approx(2.0, rel=1e-6)
    assert found.total.item() == pytest.approx(4.0, rel=1e-6)


def test_a_force_error_counts_over_its_scale() -> None:
    """Every component is wrong by 0.3 eV/angstrom, three times the scale: 9, weighted 27."""
    found = loss(prediction(force=0.3), batch(), PARAMS)
    assert found.forces.item() == pytest.approx(9.0, rel=1e-6)
    assert found.total.item() == pytest.approx(27.0, rel=1e-6)


def test_a_stress_error_counts_over_its_scale() -> None:
    """Every component is wrong by 0.01 eV/angstrom^3, twice the scale: 4, weighted 20."""
    found = loss(prediction(stress=0.01), batch(), PARAMS)
    assert found.stress.item() == pytest.approx(4.0, rel=1e-5)
    assert found.total.item() == pytest.approx(20.0, rel=1e-5)


def test_an_absent_label_has_no_part_in_the_mean_nor_in_the_gradient() -> None:
    forces = np.zeros((6, 3))
    forces[4:] = np.nan
    stress = np.zeros((2, 3, 3))
    stress[1] = np.nan
    labels = batch(energy=(0.0, np.nan), forces=forces, stress=stress)
    said = prediction(energy=(0.08, 5.0), force=0.3, stress=0.01)
    found = loss(said, labels, PARAMS)
    assert [round(term.item(), 4) for term in found[1:]] == [4.0, 9.0, 4.0]
    found.total.backward()
    assert said.energy.grad[1] == 0
    assert said.forces.grad[4:].abs().max() == 0
    assert said.stress.grad[1].abs().max() == 0
    assert all(torch.isfinite(value.grad).all() for value in said[:3])


def test_a_batch_without_any_label_of_a_kind_has_no_such_loss() -> None:
    labels = batch(energy=(np.nan, np.nan), forces=np.full((6, 3), np.nan), stress=np.full((2, 3, 3), np.nan))
    found = loss(prediction(energy=(1.0, 1.0), force=1.0, stress=1.0), labels, PARAMS)
    assert [term.item() for term in found] == [0, 0, 0, 0]


def test_a_prediction_that_is_not_finite_is_not_taken_for_an_absent_label() -> None:
    found = loss(prediction(force=float("nan")), batch(), PARAMS)
    assert torch.isnan(found.total)
