"""The loss: squared errors of energy, forces and stress over stated scales; a label that is NaN has no part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mlpdata.schema.params import TrainParams
from mlpdata.training.model import Prediction

if TYPE_CHECKING:
    from mlpdata.loader.batch import Batch


class Loss(NamedTuple):
    """The weighted sum and what it is made of, each a scalar without unit."""

    total: Tensor
    """What is minimised."""
    energy: Tensor
    """Mean of ((E - E_label) / n_atoms / energy_scale)^2 over configurations."""
    forces: Tensor
    """Mean of (F - F_label)^2 / force_scale^2 over components."""
    stress: Tensor
    """Mean of (S - S_label)^2 / stress_scale^2 over components."""


def loss(prediction: Prediction, batch: Batch, params: TrainParams) -> Loss:
    """The loss of one batch; a term without a single label is zero."""
    energy_error = ((prediction.energy - batch.energy) / batch.n_atoms).to(prediction.forces.dtype)
    energy = _mean_square(energy_error, batch.energy, params.energy_scale)
    forces = _mean_square(prediction.forces - batch.forces, batch.forces, params.force_scale)
    stress = _mean_square(prediction.stress - batch.stress, batch.stress, params.stress_scale)
    total = params.energy_weight * energy + params.force_weight * forces + params.stress_weight * stress
    return Loss(total, energy, forces, stress)


def _mean_square(error: Tensor, label: Tensor, scale: float) -> Tensor:
    """Mean of (error / scale)^2 where there is a label.

    Rows are selected before they are squared: zero times NaN would be NaN in the gradient.
    """
    present = torch.isfinite(label)
    return torch.square(error[present] / scale).sum() / present.sum().clamp(min=1)
