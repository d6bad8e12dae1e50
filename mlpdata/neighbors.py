"""Neighbour lists: every pair of atoms closer than a cutoff, through periodic images where there are any.

An edge (i, j, shift) points from the centre i to the neighbour j: r = positions[j] - positions[i] + shift @ cell. Both
directions of a pair are edges, and an atom is a neighbour of its own images. Each axis is periodic or not on its own,
so bulk, slabs, wires and molecules take the same path.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.elements import COVALENT_RADII
from mlpdata.errors import InputError, LimitExceeded
from mlpdata.units import F64

if TYPE_CHECKING:
    from mlpdata.frames import Frames

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

CLOSE = 2.5
"""Cutoff of the closest pair that tables list [angstrom]."""
RADII = np.nan_to_num(COVALENT_RADII, nan=1.7)
"""Covalent radii [angstrom]; those past curium, which nobody measured, as large as curium's."""
MAX_IMAGES = 1_000_000
"""Most images of one cell that are searched: a cell that a damaged file flattens to nothing has no end of them."""

_threads = threading.local()


class Edges(NamedTuple):
    """The directed edges of a block, sorted by centre."""

    edge_index: I64
    """Centre and neighbour, numbered through the block, shape (2, n_edges)."""
    edge_shift: I32
    """Lattice vectors to add to the neighbour, shape (n_edges, 3)."""


NO_EDGES = Edges(np.empty((2, 0), np.int64), np.empty((0, 3), np.int32))
"""The edges of atoms that are all far apart."""


def neighbor_list(positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float) -> tuple[I64, I64, I32]:
    """Edges of one configuration, sorted by centre: centre (e,), neighbour (e,), shift (e, 3).

    Args:
        positions: Cartesian [angstrom], shape (n_atoms, 3).
        cell: rows are lattice vectors [angstrom], shape (3, 3); rows that are not periodic may be NaN or zero.
        pbc: whether each axis is periodic, shape (3,).
        cutoff: largest distance [angstrom].

    Raises:
        InputError: a periodic axis without a lattice vector of its own, or positions that are not finite.
        LimitExceeded: more than `MAX_IMAGES` images of the cell within the cutoff.
    """
    place = np.ascontiguousarray(positions, np.float64)
    edges = neighbor_lists(place, np.asarray(cell)[None], np.asarray(pbc)[None], [len(place)], cutoff)
    return edges.edge_index[0], edges.edge_index[1], edges.edge_shift


def neighbor_lists(positions: F64, cell: F64, pbc: ArrayLike, n_atoms: ArrayLike, cutoff: float) -> Edges:
    """Edges of every configuration of a block.

    Args:
        positions: concatenated over configurations [angstrom], shape (n, 3).
        cell: as `neighbor_list`, shape (n_configurations, 3, 3).
        pbc: as `neighbor_list`, shape (n_configurations, 3).
        n_atoms: atoms of each configuration, shape (n_configurations,).
        cutoff: largest distance [angstrom].

    Raises:
        InputError, LimitExceeded: as `neighbor_list`.
    """
    pairs, shifts = [NO_EDGES.edge_index.T], [NO_EDGES.edge_shift]
    for first, (pair, shift) in _each(positions, cell, pbc, n_atoms, _finder(cutoff, "PS")):
        pairs.append(pair.view(np.int64) + first)
        shifts.append(shift.copy())
    return Edges(np.ascontiguousarray(np.concatenate(pairs).T), np.concatenate(shifts))


class Closest(NamedTuple):
    """The closest two atoms of each configuration; both are NaN where none are within the cutoff."""

    distance: F64
    """Shortest distance [angstrom], shape (n_configurations,)."""
    ratio: F64
    """Smallest distance over the sum of covalent radii, shape (n_configurations,)."""


def closest_pairs(frames: Frames, cutoff: float = CLOSE) -> Closest:
    """The closest two atoms of each configuration among those within the cutoff [angstrom].

    Raises:
        InputError, LimitExceeded: as `neighbor_list`.
    """
    pairs, distances, counts = [NO_EDGES.edge_index.T], [np.empty(0)], []
    finder = _finder(cutoff, "Pd")
    for first, (pair, distance) in _each(frames.positions, frames.cell, frames.pbc, frames.n_atoms, finder):
        pairs.append(pair.view(np.int64) + first)
        distances.append(distance.copy())
        counts.append(len(distance))
    distance = np.concatenate(distances)
    ratio = distance / RADII[frames.atomic_numbers[np.concatenate(pairs)]].sum(axis=1)
    return Closest(*(_smallest(value, np.array(counts, np.int64)) for value in (distance, ratio)))


def _smallest(values: F64, counts: I64) -> F64:
    """Smallest of each run of `counts` values; NaN where there is none."""
    smallest = np.full(len(counts), np.nan)
    starts = np.cumsum(counts) - counts
    if len(values):
        smallest[counts > 0] = np.minimum.reduceat(values, starts[counts > 0])
    return smallest


def _each(
    positions: F64, cell: F64, pbc: ArrayLike, n_atoms: ArrayLike, finder: _Finder
) -> Iterator[tuple[int, tuple[NDArray[Any], ...]]]:
    """First atom and neighbours of each configuration; the arrays are overwritten by the next one."""
    periodic = np.asarray(pbc, dtype=bool)
    boxes = _boxes(np.asarray(cell, np.float64), periodic, finder.cutoff)
    positions = np.ascontiguousarray(positions, np.float64)
    first = 0
    for count, box, axes in zip(np.asarray(n_atoms).tolist(), boxes, periodic, strict=True):
        yield first, finder(positions[first : first + count], box, axes)
        first += count


def _boxes(cell: F64, periodic: NDArray[np.bool_], cutoff: float) -> F64:
    """Cells with zeros for axes that are not periodic, once their images are known to be few."""
    box = np.where(periodic[:, :, None] & np.isfinite(cell), cell, 0.0)
    length = np.linalg.norm(box, axis=2)
    unit = box / np.where(length > 0, length, 1.0)[:, :, None]
    # a vector of its own for each open axis: the Gram matrix of the periodic axes beside a one
    gram = unit @ unit.transpose(0, 2, 1) + np.eye(3) * ~periodic[:, :, None]
    independent = np.linalg.det(gram) > 1e-16
    if not independent.all():
        bad = int(np.argmin(independent))
        raise InputError(
            f"expected independent lattice vectors along periodic axes, found {cell[bad].tolist()} "
            f"with pbc {periodic[bad].astype(int).tolist()} in configuration {bad} of its block."
        )
    with np.errstate(divide="ignore"):
        per_height = np.sqrt(np.linalg.inv(gram).diagonal(axis1=1, axis2=2)) / length
    images = np.where(periodic, 2 * np.ceil(cutoff * per_height) + 1, 1).prod(axis=1)
    if images.max(initial=0) > MAX_IMAGES:
        raise LimitExceeded(
            f"expected a cell with at most {MAX_IMAGES} images within {cutoff:g} angstrom, found {images.max():.3g}. "
            f"The lattice vectors are {cell[int(np.argmax(images))].tolist()}."
        )
    return box


class _Finder:
    """vesin with its options: on one core, for threads are the loader's. It keeps its buffers from call to call."""

    def __init__(self, cutoff: float, quantities: str) -> None:
        directed = "S" in quantities
        self.cutoff = cutoff
        self._quantities = quantities
        self._list = _vesin().NeighborList(cutoff=cutoff, full_list=directed, sorted=directed, n_threads=1)

    def __call__(self, positions: F64, box: F64, periodic: NDArray[np.bool_]) -> tuple[NDArray[Any], ...]:
        try:
            found: tuple[NDArray[Any], ...] = self._list.compute(positions, box, periodic, self._quantities, copy=False)
        except RuntimeError as error:
            raise InputError(f"expected atoms and a cell in finite space, found: {error}.") from error
        return found


def _finder(cutoff: float, quantities: str) -> _Finder:
    """The finder that this thread keeps for `cutoff`."""
    kept: dict[tuple[float, str], _Finder] = _threads.__dict__.setdefault("finders", {})
    if (cutoff, quantities) not in kept:
        kept[cutoff, quantities] = _Finder(cutoff, quantities)
    return kept[cutoff, quantities]


def _vesin() -> Any:
    """The library, imported without ase and torch: it loads both where they are installed, and gets numpy alone."""
    if "vesin" not in sys.modules:
        absent = [name for name in ("ase", "torch") if name not in sys.modules]
        modules: dict[str, Any] = sys.modules
        modules.update(dict.fromkeys(absent))
        try:
            import vesin  # noqa: F401, PLC0415
        finally:
            for name in absent:
                del modules[name]
    return sys.modules["vesin"]
