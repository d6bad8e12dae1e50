"""Edge counts: how many edges configurations are expected to have, without building their neighbour lists.

A crystal has about density times the volume of the cutoff sphere neighbours an atom. What that leaves out (structure,
and all of molecules, slabs and wires, whose density nobody knows) is learned from a few configurations whose lists are
built. A set of one kind is met within some percent a batch; the count is no bound that holds for sure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64
from mlpdata.loader.batch import Rows
from mlpdata.neighbors import neighbor_lists
from mlpdata.units import F64

SAMPLE = 256
"""Most configurations of a kind whose lists are built; a kind is the number of periodic axes."""
SAMPLE_ATOMS = 20_000
"""Most atoms among them."""
CLASSES = 16
"""Sizes of configurations that are told apart in each kind."""
AT_ONCE = 65_536
"""Configurations whose cells are read together."""


def expected_edges(source: Rows, rows: I64, cutoff: float) -> F64:
    """Edges that each of `rows` is expected to have, shape (n_rows,): a function of the arguments alone."""
    n_atoms = source.n_atoms[rows]
    expected = np.zeros(len(rows))
    if not len(rows):
        return expected
    density, kind = _cells(source, rows, n_atoms)
    for axes in np.unique(kind).tolist():
        of_kind = np.flatnonzero(kind == axes)
        base = n_atoms * (density * (4 / 3 * np.pi * cutoff**3) if axes == 3 else np.ones(len(rows)))
        sample = _sample(of_kind, n_atoms)
        found = _counted(source, rows[sample], cutoff)
        expected[of_kind] = base[of_kind] * _ratio(n_atoms[sample], found, base[sample], n_atoms[of_kind])
    return expected


def _cells(source: Rows, rows: I64, n_atoms: I64) -> tuple[F64, NDArray[np.intp]]:
    """Atoms a volume [1/angstrom^3], and the number of periodic axes, of each configuration."""
    volume, kind = np.empty(len(rows)), np.empty(len(rows), np.intp)
    for start in range(0, len(rows), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        read = source.gather_many(("cell", "pbc"), rows[here])
        volume[here] = np.abs(np.linalg.det(np.nan_to_num(read["cell"].astype(np.float64))))
        kind[here] = (read["pbc"] != 0).sum(axis=1)
    with np.errstate(divide="ignore"):
        density: F64 = n_atoms / volume
    return density, kind


def _sample(places: I64, n_atoms: I64) -> I64:
    """Some of `places`, evenly over the sizes of their configurations, smallest first."""
    by_size = places[np.argsort(n_atoms[places], kind="stable")]
    most = max(CLASSES, min(SAMPLE, int(SAMPLE_ATOMS / n_atoms[places].mean())))
    return by_size[np.unique(np.linspace(0, len(by_size) - 1, most).astype(np.int64))]


def _counted(source: Rows, rows: I64, cutoff: float) -> I64:
    """Edges that each of `rows` has."""
    read, n_atoms = source.gather_many(("positions", "cell", "pbc"), rows), source.n_atoms[rows]
    edges = neighbor_lists(read["positions"], read["cell"], read["pbc"], n_atoms, cutoff)
    owner = np.arange(len(rows)).repeat(n_atoms)
    return np.bincount(owner[edges.edge_index[0]], minlength=len(rows))


def _ratio(sizes: I64, found: I64, base: F64, wanted: I64) -> F64:
    """How many times `base` was found, for configurations of `wanted` atoms; `sizes` ascend."""
    parts = np.array_split(np.arange(len(sizes)), min(CLASSES, len(sizes)))
    size = [sizes[part].mean() for part in parts]
    ratio: F64 = np.interp(wanted, size, [found[part].sum() / base[part].sum() for part in parts])
    return ratio
