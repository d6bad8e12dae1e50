"""Batch: a block of configurations as torch tensors, with its neighbour lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor

from mlpdata.frames import I64, Frames, ragged_index
from mlpdata.neighbors import NO_EDGES, neighbor_lists
from mlpdata.schema.properties import ATOM, PROPERTIES


class Rows(Protocol):
    """Configurations that can be read by row: a store, a frozen view, or `FramesSource` in memory."""

    @property
    def n_atoms(self) -> I64:
        """Atoms of each configuration, shape (n_configurations,)."""
        ...

    def gather_many(self, names: Sequence[str], rows: I64) -> dict[str, NDArray[Any]]:
        """Properties of `rows` in their order, per-atom arrays concatenated; where absent, their sentinels."""
        ...


class FramesSource:
    """Frames in memory, read by row."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    @property
    def n_atoms(self) -> I64:
        """Atoms of each configuration, shape (n_configurations,)."""
        return self._frames.n_atoms

    def gather_many(self, names: Sequence[str], rows: I64) -> dict[str, NDArray[Any]]:
        """Properties of `rows` in their order, per-atom arrays concatenated; where absent, their sentinels."""
        atoms = ragged_index(self._frames.atom_start[rows], self.n_atoms[rows])
        return {name: self._take(name, atoms if PROPERTIES[name].level == ATOM else rows) for name in names}

    def _take(self, name: str, index: I64) -> NDArray[Any]:
        if name not in self._frames:
            return PROPERTIES[name].blank(len(index))
        return self._frames.arrays[name][index]


@dataclass(frozen=True, eq=False)
class Batch:
    """A block of configurations on a device: n atoms, b configurations, e edges.

    An edge runs from a centre i to a neighbour j:
    r = positions[j] - positions[i] + edge_shift @ cell[configuration[i]].
    """

    atomic_numbers: Tensor
    """Z of each atom, int64, shape (n,)."""
    positions: Tensor
    """Cartesian [angstrom], float32 or float64, shape (n, 3)."""
    cell: Tensor
    """Rows are lattice vectors [angstrom], zeros for a molecule, dtype of positions, shape (b, 3, 3)."""
    pbc: Tensor
    """Periodic axes, bool, shape (b, 3)."""
    n_atoms: Tensor
    """Atoms of each configuration, int64, shape (b,)."""
    configuration: Tensor
    """Configuration of each atom, int64, shape (n,)."""
    energy: Tensor
    """Force-consistent energy [eV], float64 whatever the dtype of positions, NaN where absent, shape (b,)."""
    forces: Tensor
    """Minus the gradient of the energy [eV/angstrom], NaN where absent, dtype of positions, shape (n, 3)."""
    stress: Tensor
    """Positive in tension [eV/angstrom^3], NaN where absent, dtype of positions, shape (b, 3, 3)."""
    edge_index: Tensor
    """Centre and neighbour of each edge, sorted by centre, int64, shape (2, e)."""
    edge_shift: Tensor
    """Whole lattice vectors between them, dtype of positions, shape (e, 3)."""
    rows: Tensor
    """Row of each configuration in its source, int64, shape (b,)."""

    @property
    def n_configurations(self) -> int:
        """How many configurations there are, b."""
        return len(self.n_atoms)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.positions.device

    @property
    def nbytes(self) -> int:
        """Memory of the tensors [bytes]."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`; itself if it is there already."""
        if self.device == torch.device(device):
            return self
        return Batch(**{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)})


_GATHERED: dict[str, DTypeLike | None] = {
    "atomic_numbers": np.int64,
    "positions": None,
    "cell": None,
    "pbc": np.bool_,
    "energy": np.float64,
    "forces": None,
    "stress": None,
}
"""What is read of each configuration, with its dtype where that does not follow the caller's."""


def collate(source: Rows, rows: ArrayLike, cutoff: float | None, dtype: torch.dtype = torch.float32) -> Batch:
    """The configurations at `rows`, in that order, with their edges.

    Args:
        source: where they are read.
        rows: indices, shape (b,).
        cutoff: longest edge [angstrom]; None for a batch without edges.
        dtype: float32 or float64, of everything real but the energy.

    Raises:
        InputError: a configuration that has no neighbour list, such as a periodic one without a cell.
    """
    which = np.array(rows, np.int64)
    array = source.gather_many(tuple(_GATHERED), which)
    n_atoms = source.n_atoms[which]
    edges = NO_EDGES
    if cutoff is not None:
        edges = neighbor_lists(array["positions"], array["cell"], array["pbc"], n_atoms, cutoff)
    # numpy converts on the one core of a prefetch thread; torch would rouse its whole pool for each of these arrays
    real = np.float32 if dtype == torch.float32 else np.float64
    array = {name: array[name].astype(kind or real, copy=False) for name, kind in _GATHERED.items()}
    tensor = {name: torch.from_numpy(values) for name, values in array.items()}
    tensor["cell"].nan_to_num_(nan=0.0)
    return Batch(
        **tensor,
        n_atoms=torch.from_numpy(n_atoms),
        configuration=torch.from_numpy(np.repeat(np.arange(len(which)), n_atoms)),
        edge_index=torch.from_numpy(edges.edge_index),
        edge_shift=torch.from_numpy(edges.edge_shift.astype(real)),
        rows=torch.from_numpy(which),
    )
