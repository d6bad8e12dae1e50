"""Batch: a block of configurations as torch tensors, views of one buffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mlpdata.frames import I64, Frames, ragged_index
from mlpdata.loader.packing import AXES, Packing, as_tensors
from mlpdata.neighbors import neighbor_lists
from mlpdata.schema.properties import ATOM, PROPERTIES


class Rows(Protocol):
    """Configurations that can be read by row: a store, a frozen view, or `FramesSource` in memory."""

    @property
    def n_atoms(self) -> I64:
        """Atoms of each configuration, shape (n_configurations,)."""
        ...

    def gather_many(
        self, names: Sequence[str], rows: I64, out: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Properties of `rows` in their order, per-atom arrays concatenated; where absent, their sentinels.

        Those that `out` has an array for, of the dtype of the source, are written there.
        """
        ...


class FramesSource:
    """Frames in memory, read by row."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    @property
    def n_atoms(self) -> I64:
        """Atoms of each configuration, shape (n_configurations,)."""
        return self._frames.n_atoms

    def gather_many(
        self, names: Sequence[str], rows: I64, out: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Properties of `rows` in their order, per-atom arrays concatenated; where absent, their sentinels.

        Those that `out` has an array for, of the dtype of the source, are written there.
        """
        atoms = ragged_index(self._frames.atom_start[rows], self.n_atoms[rows])
        found = {name: self._take(name, atoms if PROPERTIES[name].level == ATOM else rows) for name in names}
        for name, array in (out or {}).items():
            array[...] = found[name]
            found[name] = array
        return found

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
    _packed: tuple[Packing, Tensor] | None = field(default=None, init=False, repr=False)
    """The buffer that all of them are views of; None where they were put together, as by `dataclasses.replace`."""

    @classmethod
    def of(cls, packing: Packing, buffer: Tensor, tensors: dict[str, Tensor] | None = None) -> Batch:
        """The batch whose tensors lie in `buffer`."""
        batch = object.__new__(cls)  # past __init__, which sets a dozen frozen fields one by one
        batch.__dict__.update(tensors or packing.tensors(buffer), _packed=(packing, buffer))
        return batch

    @property
    def n_configurations(self) -> int:
        """How many configurations there are, b."""
        return len(self.n_atoms)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.positions.device

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All of them, by name."""
        return {name: getattr(self, name) for name in AXES}

    @property
    def nbytes(self) -> int:
        """Memory of the tensors [bytes]."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`, by one copy if it is packed; itself if it is there already."""
        if self.device == torch.device(device):
            return self
        wait = torch.device(device).type == "cpu"  # who reads on the CPU does not wait for a stream of the GPU
        return self._moved(lambda tensor: tensor.to(device, non_blocking=not wait))

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU fetches while the CPU goes on."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        if self._packed is None:
            return Batch(**{name: move(tensor) for name, tensor in self.tensors.items()})
        packing, buffer = self._packed
        return Batch.of(packing, move(buffer))

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process as one buffer: a dozen tensors would be a dozen files of shared memory."""
        if self._packed is None:
            return _put_together, (self.tensors,)
        packing, buffer = self._packed
        return _unpacked, (buffer, *packing.counts, packing.dtype)


def _put_together(tensors: dict[str, Tensor]) -> Batch:
    return Batch(**tensors)


def _unpacked(buffer: Tensor, n_configurations: int, n_atoms: int, n_edges: int, dtype: torch.dtype) -> Batch:
    return Batch.of(Packing(n_configurations, n_atoms, n_edges, dtype), buffer)


GATHERED = ("atomic_numbers", "positions", "cell", "pbc", "energy", "forces", "stress")
"""What is read of each configuration."""


class Packer:
    """Reads batches of a source, each into a buffer of its own.

    What the source stores in the batch's own type is gathered straight into the buffer; the rest is converted into it
    in one pass. Nothing is done for a single configuration but its neighbour list, which vesin builds one at a time.

    Args:
        source: where they are read.
        cutoff: longest edge [angstrom]; None for batches without edges.
        dtype: float32 or float64, of everything real but the energy.
        pinned: in memory that a GPU fetches while the CPU goes on.
    """

    def __init__(self, source: Rows, cutoff: float | None, dtype: torch.dtype, *, pinned: bool = False) -> None:
        self._source, self._cutoff, self._dtype, self._pinned = source, cutoff, dtype, pinned
        stored = source.gather_many(GATHERED, np.empty(0, np.int64))
        wanted = self._packing(np.empty(0, np.int64)).arrays(torch.empty(0, dtype=torch.uint8))
        self._same = tuple(name for name in GATHERED if stored[name].dtype == wanted[name].dtype)
        self._converted = tuple(name for name in GATHERED if name not in self._same)

    def __call__(self, rows: ArrayLike) -> Batch:
        """The configurations at `rows`, in that order.

        Raises:
            InputError: a configuration that has no neighbour list, such as a periodic one without a cell.
        """
        which = np.asarray(rows, np.int64)
        n_atoms = self._source.n_atoms[which]
        packing = self._packing(n_atoms)
        buffer = packing.buffer(pinned=self._pinned)
        array = packing.arrays(buffer)
        read = self._source.gather_many(GATHERED, which, {name: array[name] for name in self._same})
        for name in self._converted:
            np.copyto(array[name], read[name], casting="unsafe")
        np.copyto(array["cell"], 0.0, where=np.isnan(array["cell"]))
        array["rows"][...], array["n_atoms"][...] = which, n_atoms
        array["configuration"][...] = np.arange(len(which)).repeat(n_atoms)
        if self._cutoff is not None:
            packing, buffer, array = self._with_edges(packing, buffer, read, n_atoms)
        return Batch.of(packing, buffer, as_tensors(array))

    def _packing(self, n_atoms: I64) -> Packing:
        return Packing(len(n_atoms), int(n_atoms.sum()), 0, self._dtype)

    def _with_edges(
        self, packing: Packing, buffer: Tensor, read: Mapping[str, NDArray[Any]], n_atoms: I64
    ) -> tuple[Packing, Tensor, dict[str, NDArray[Any]]]:
        """The same in a buffer that has room for the edges: the copy is nothing beside the search for them."""
        edges = neighbor_lists(read["positions"], read["cell"], read["pbc"], n_atoms, self._cutoff or 0.0)
        whole = packing.with_edges(edges.edge_index.shape[1])
        longer = whole.buffer(pinned=self._pinned)
        longer.numpy()[: packing.head] = buffer.numpy()[: packing.head]
        array = whole.arrays(longer)
        array["edge_index"][...], array["edge_shift"][...] = edges
        return whole, longer, array


def collate(source: Rows, rows: ArrayLike, cutoff: float | None, dtype: torch.dtype = torch.float32) -> Batch:
    """The configurations at `rows` of a source, in that order, with their edges. See `Packer`."""
    return Packer(source, cutoff, dtype)(rows)
