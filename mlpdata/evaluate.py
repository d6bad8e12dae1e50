"""Evaluation: errors of a potential against labels, per kind and per element, and the gate they have to pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mlpdata.digest import finite_or_none
from mlpdata.elements import SYMBOLS
from mlpdata.errors import UsageError
from mlpdata.frames import I64
from mlpdata.loader.batch import Batch
from mlpdata.schema.params import GateParams
from mlpdata.training.model import Potential, Prediction
from mlpdata.units import EV_PER_ANGSTROM3, F64

MEV = 1000.0
"""meV in an eV."""
GPA = EV_PER_ANGSTROM3 / 10
"""GPa in an eV/angstrom^3: there are 10 kbar in a GPa."""
VACUUM = 5.0
"""A gap between planes of atoms this wide makes a cell a slab, wire or molecule, not bulk [angstrom]."""

Errors = dict[str, float | int | None]


@dataclass(frozen=True, eq=False)
class Labels:
    """Energies, forces and stresses of configurations, from a potential or from the store."""

    rows: I64
    """Row of each configuration in its source, shape (n_configurations,)."""
    n_atoms: I64
    """Atoms of each configuration, shape (n_configurations,)."""
    atomic_numbers: I64
    """Z of each atom, shape (n,)."""
    reference: F64
    """Sum of the reference energies [eV], shape (n_configurations,); NaN where they are not known."""
    energy: F64
    """[eV], shape (n_configurations,); NaN where absent."""
    forces: F64
    """[eV/angstrom], shape (n, 3); NaN where absent."""
    stress: F64
    """Positive in tension [eV/angstrom^3], shape (n_configurations, 3, 3); NaN where absent or not bulk."""

    @property
    def configuration_of_atom(self) -> I64:
        """Index of the configuration of each atom, shape (n,)."""
        return np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)


def predict(potential: Potential, loader: Iterable[Batch]) -> tuple[Labels, Labels]:
    """What the potential says of every configuration of one epoch, and what the labels say.

    Returns:
        Predictions and labels, in the same order.
    """
    device = next(potential.parameters()).device
    potential.eval()
    predicted, labelled = [], []
    for batch in loader:
        on_device = batch.to(device)
        predicted.append(_labels(potential, on_device, potential(on_device)))
        labelled.append(_labels(potential, on_device, on_device))
    if not predicted:
        raise UsageError("expected configurations to evaluate, found none. Check the split.")
    return _joined(predicted), _joined(labelled)


def _labels(potential: Potential, batch: Batch, values: Prediction | Batch) -> Labels:
    stress = _numpy(values.stress)
    stress[~is_bulk(batch)] = np.nan
    return Labels(
        rows=batch.rows.cpu().numpy(),
        n_atoms=batch.n_atoms.cpu().numpy(),
        atomic_numbers=batch.atomic_numbers.cpu().numpy(),
        reference=_numpy(potential.reference_energy(batch)),
        energy=_numpy(values.energy),
        forces=_numpy(values.forces),
        stress=stress,
    )


def _numpy(tensor: torch.Tensor) -> F64:
    return tensor.detach().cpu().double().numpy().copy()


def _joined(blocks: Sequence[Labels]) -> Labels:
    names = Labels.__dataclass_fields__
    return Labels(**{name: np.concatenate([getattr(block, name) for block in blocks]) for name in names})


def is_bulk(batch: Batch) -> NDArray[np.bool_]:
    """Whether each configuration is periodic along three axes without a gap of `VACUUM`, shape (n_configurations,).

    The stress of a slab in vacuum depends on how much vacuum there is; it is no pressure.
    """
    cell, positions = _numpy(batch.cell), _numpy(batch.positions)
    configuration, n_atoms = batch.configuration.cpu().numpy(), batch.n_atoms.cpu().numpy()
    volume = np.abs(np.linalg.det(cell))
    bulk: NDArray[np.bool_] = batch.pbc.cpu().numpy().all(axis=1) & (volume > 0)
    inverse = np.linalg.inv(np.where(bulk[:, None, None], cell, np.eye(3)))
    fractional = np.einsum("ni,nij->nj", positions, inverse[configuration]) % 1.0
    first = np.cumsum(n_atoms) - n_atoms
    for axis in range(3):
        height = 1 / np.linalg.norm(inverse[:, :, axis], axis=1)
        sorted_ = fractional[np.lexsort((fractional[:, axis], configuration)), axis]
        gaps = np.empty_like(sorted_)
        gaps[:-1] = np.diff(sorted_)
        gaps[first + n_atoms - 1] = sorted_[first] + 1 - sorted_[first + n_atoms - 1]
        bulk &= np.maximum.reduceat(gaps, first) * height < VACUUM
    return bulk


def metrics(predictions: Labels, labels: Labels, kinds: ArrayLike) -> dict[str, Any]:
    """Errors over all configurations, for each kind, and for each element; null where nothing is labelled.

    Args:
        predictions: of the potential.
        labels: in the same order.
        kinds: kind of each configuration, shape (n_configurations,).

    Returns:
        `all`, and by name `kinds`: `n_configurations`, `energy`, `forces`, `stress`; by symbol `elements`: forces.
        Energies in meV/atom, forces in meV/angstrom, stresses in GPa.

    Raises:
        UsageError: the arguments are not of the same configurations.
    """
    kind = np.asarray(kinds, dtype=str)
    if not np.array_equal(predictions.rows, labels.rows) or len(kind) != len(labels.rows):
        raise UsageError("expected predictions, labels and kinds of the same configurations, found others.")
    everything = np.ones(len(kind), bool)
    return {
        "all": _errors(predictions, labels, everything),
        "kinds": {str(name): _errors(predictions, labels, kind == name) for name in np.unique(kind)},
        "elements": {
            SYMBOLS[number]: _force_errors(predictions, labels, labels.atomic_numbers == number)
            for number in np.unique(labels.atomic_numbers).tolist()
        },
    }


def _errors(predictions: Labels, labels: Labels, which: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "n_configurations": int(which.sum()),
        "energy": _energy_errors(predictions, labels, which),
        "forces": _force_errors(predictions, labels, which[labels.configuration_of_atom]),
        "stress": _stress_errors(predictions, labels, which),
    }


def _energy_errors(predictions: Labels, labels: Labels, which: NDArray[np.bool_]) -> Errors:
    """Errors in meV/atom; R2 of energies from which the references and the mean of each composition are taken."""
    label, prediction = (MEV * ((side.energy - labels.reference) / labels.n_atoms) for side in (labels, predictions))
    known = which & np.isfinite(label)
    composition = composition_of(labels)[known]
    centred = label[known] - _group_mean(label[known], composition)
    return {**_basic(prediction[known] - label[known]), "r2": _r2(prediction[known] - label[known], centred)}


def composition_of(labels: Labels) -> I64:
    """Number of the reduced composition of each configuration, shape (n_configurations,)."""
    elements, element = np.unique(labels.atomic_numbers, return_inverse=True)
    counts = np.zeros((len(labels.n_atoms), len(elements)), np.int64)
    np.add.at(counts, (labels.configuration_of_atom, element), 1)
    reduced = counts // np.gcd.reduce(counts, axis=1)[:, None]
    number: I64 = np.unique(reduced, axis=0, return_inverse=True)[1].reshape(-1)
    return number


def _group_mean(values: F64, group: I64) -> F64:
    sums, counts = np.bincount(group, values), np.bincount(group)
    mean: F64 = (sums / np.maximum(counts, 1))[group]
    return mean


def _force_errors(predictions: Labels, labels: Labels, atoms: NDArray[np.bool_]) -> Errors:
    """Errors of components in meV/angstrom, and the mean cosine between the two forces of an atom."""
    known = atoms & np.isfinite(labels.forces).all(axis=1)
    label, prediction = MEV * labels.forces[known], MEV * predictions.forces[known]
    error = prediction - label
    size = np.linalg.norm(label, axis=1) * np.linalg.norm(prediction, axis=1)
    moved = size > 0
    cosine = (label * prediction).sum(axis=1)[moved] / size[moved]
    return {
        **_basic(error),
        "r2": _r2(error, label),
        "p95": _statistic(error, lambda x: float(np.percentile(x, 95))),
        "max": _statistic(error, np.max),
        "cosine": float(cosine.mean()) if len(cosine) else None,
        "label_rms": _statistic(label, lambda x: float(np.sqrt(np.mean(x**2)))),
    }


def _stress_errors(predictions: Labels, labels: Labels, which: NDArray[np.bool_]) -> Errors:
    """Errors of the six components in GPa, fully periodic bulk only."""
    upper = np.triu_indices(3)
    label, prediction = (GPA * side.stress[which][:, *upper] for side in (labels, predictions))
    known = np.isfinite(label).all(axis=1)
    error = (prediction - label)[known]
    return {
        **_basic(error),
        "r2": _r2(error, label[known] - label[known].mean(axis=0) if known.any() else label[known]),
    }


def _basic(error: F64) -> Errors:
    return {
        "n": len(error),
        "mae": _statistic(error, np.mean),
        "rmse": _statistic(error, lambda x: float(np.sqrt(np.mean(x**2)))),
    }


def _statistic(values: F64, of: Callable[[F64], float]) -> float | None:
    """`of` the absolute values, or None where there are none or they are not finite."""
    return finite_or_none(float(of(np.abs(values)))) if values.size else None


def _r2(error: F64, centred: F64) -> float | None:
    """1 - residual / total sum of squares; None for fewer than two labels or labels without spread."""
    total = float(np.square(centred).sum())
    return finite_or_none(1 - float(np.square(error).sum()) / total) if len(error) > 1 and total > 0 else None


def gate(measured: Mapping[str, Any], targets: GateParams) -> list[str]:
    """What misses its target, one sentence each, over all and for each kind; an empty list is a pass.

    What has no label is not judged; what has labels but no finite error fails.
    """
    bounds = (("energy", targets.energy_mae, "meV/atom"), ("forces", targets.force_mae, "meV/angstrom"))
    failures = []
    for name, errors in (("all", measured["all"]), *measured["kinds"].items()):
        for quantity, bound, unit in bounds:
            found = errors[quantity]["mae"]
            if errors[quantity]["n"] and (found is None or found >= bound):
                shown = "no finite number" if found is None else f"{found:.2f}"
                failures.append(f"{name}: expected {quantity} MAE below {bound:g} {unit}, found {shown}.")
    return failures
