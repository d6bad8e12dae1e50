"""Neighbour lists: every pair of atoms closer than a cutoff, through periodic images where there are any.

An edge (i, j, shift) points from the centre i to the neighbour j: r = positions[j] - positions[i] + shift @ cell. Both
directions of a pair are edges, and an atom is a neighbour of its own images. Each axis is periodic or not on its own,
so bulk, slabs, wires and molecules take the same path.
"""

from __future__ import annotations

import sys
import threading
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

FEW = 32
"""Atoms up to which the distances of all pairs are worked out at once, rather than by cell lists one by one."""

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
    periodic, finder = np.asarray(pbc, bool), _finder(cutoff, "PS")
    boxes = _boxes(np.asarray(cell, np.float64), periodic, cutoff)
    positions, first = np.ascontiguousarray(positions, np.float64), 0
    for count, box, axes in zip(np.asarray(n_atoms).tolist(), boxes, periodic, strict=True):
        pair, shift = finder(positions[first : first + count], box, axes)
        pairs.append(pair.view(np.int64) + first)
        shifts.append(shift.copy())
        first += count
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
    n_atoms, periodic = np.asarray(frames.n_atoms), np.asarray(frames.pbc, bool)
    box = _boxes(frames.cell, periodic, cutoff)
    few = _within_one_image(box, periodic, cutoff) & (n_atoms <= FEW)
    found = Closest(*np.full((2, len(n_atoms)), np.nan))
    for count in np.unique(n_atoms[few]).tolist():
        rows = np.flatnonzero(few & (n_atoms == count))
        atoms = np.add.outer(frames.atom_start[rows], np.arange(count))
        closest = _closest_of_few(frames.positions[atoms], frames.atomic_numbers[atoms], box[rows], cutoff)
        found.distance[rows], found.ratio[rows] = closest
    rows = np.flatnonzero(~few)
    if len(rows):
        found.distance[rows], found.ratio[rows] = _closest_of_many(frames, rows, box, cutoff)
    return found


def _within_one_image(box: F64, periodic: NDArray[np.bool_], cutoff: float) -> NDArray[np.bool_]:
    """Whether two atoms within the cutoff are so by one image only, in all directions or none, shape (n_configurations,).

    Where a cell is higher than two cutoffs, fractional differences between atoms within the cutoff are below a half.
    """
    whole: NDArray[np.bool_] = np.logical_and.reduce(periodic, axis=1)
    reciprocal = np.linalg.inv(_or_identity(box, whole))
    lowest: F64 = 1 / np.linalg.norm(reciprocal, axis=1).max(axis=1)
    found: NDArray[np.bool_] = np.where(whole, lowest > 2 * cutoff, ~np.logical_or.reduce(periodic, axis=1))
    return found


def _closest_of_few(positions: F64, atomic_numbers: NDArray[Any], box: F64, cutoff: float) -> Closest:
    """The closest two atoms by all differences at once.

    Args:
        positions: shape (n_configurations, n_atoms, 3).
        atomic_numbers: shape (n_configurations, n_atoms).
        box: as of `_boxes`: all axes of a configuration are periodic, or none and zero.
        cutoff: largest distance [angstrom].
    """
    one, other = np.triu_indices(positions.shape[1], 1)
    apart = positions[:, other] - positions[:, one]
    periodic = np.logical_or.reduce(box != 0, axis=(1, 2))
    if periodic.any():
        inverse = np.linalg.inv(_or_identity(box, periodic))
        apart -= np.rint(apart @ inverse) @ box
    distance = np.sqrt((apart * apart).sum(axis=2))
    distance[distance >= cutoff] = np.inf
    radii = RADII[atomic_numbers]
    ratio = distance / (radii[:, one] + radii[:, other])
    return Closest(*(_or_nan(values.min(axis=1, initial=np.inf)) for values in (distance, ratio)))


def _or_identity(box: F64, some: NDArray[np.bool_]) -> F64:
    found: F64 = np.where(np.expand_dims(some, (1, 2)), box, np.eye(3))
    return found


def _or_nan(values: F64) -> F64:
    return np.where(np.isinf(values), np.nan, values)


def _closest_of_many(frames: Frames, rows: I64, box: F64, cutoff: float) -> Closest:
    """The closest two atoms of the configurations `rows`, each by its cell lists."""
    pairs, distances, counts = [NO_EDGES.edge_index.T], [np.empty(0)], []
    finder = _finder(cutoff, "Pd")
    for row in rows.tolist():
        first = int(frames.atom_start[row])
        place = np.ascontiguousarray(frames.positions[first : first + int(frames.n_atoms[row])], np.float64)
        pair, distance = finder(place, box[row], frames.pbc[row] != 0)
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
