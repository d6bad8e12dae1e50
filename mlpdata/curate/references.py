"""Reference energies: what an atom of each element contributes to the energy, before any surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.elements import SYMBOLS
from mlpdata.errors import UsageError
from mlpdata.units import F64


@dataclass(frozen=True)
class ReferenceFit:
    """Reference energies and how well the configurations determine them."""

    energies: dict[int, float]
    """By atomic number [eV]."""
    rank: int
    """Independent compositions; fewer than fitted elements leave some combinations open."""
    residual: float
    """Root mean square of what the reference energies do not explain [eV/atom]."""
    open_combinations: tuple[dict[int, float], ...]
    """Combinations of elements that no composition tells apart, coefficients by atomic number."""

    @property
    def notes(self) -> list[str]:
        """A sentence for each combination that is not determined."""
        return [
            "expected compositions that tell all elements apart, found none for "
            + " ".join(f"{value:+.2f} {SYMBOLS[number]}" for number, value in combination.items())
            + ". The smallest reference energies were taken."
            for combination in self.open_combinations
        ]


def fit_references(
    atomic_numbers: ArrayLike, n_atoms: ArrayLike, energy: ArrayLike, isolated: Mapping[int, float] | None = None
) -> dict[int, float]:
    """Energy of an atom of each element by least squares [eV]; see `reference_fit`."""
    return reference_fit(atomic_numbers, n_atoms, energy, isolated).energies


def reference_fit(
    atomic_numbers: ArrayLike, n_atoms: ArrayLike, energy: ArrayLike, isolated: Mapping[int, float] | None = None
) -> ReferenceFit:
    """Fit the energy per atom of configurations by their composition.

    The shortest solution is taken where compositions do not determine all elements.

    Args:
        atomic_numbers: Z of each atom, concatenated over configurations, shape (n,). Training part only: energies of
            held-out configurations would leak through.
        n_atoms: atoms of each configuration, shape (n_configurations,).
        energy: total energies [eV], shape (n_configurations,); NaN where absent.
        isolated: energies of isolated atoms [eV] that are to stand as they are.

    Raises:
        UsageError: no configuration has an energy.
    """
    counts = np.asarray(n_atoms, np.int64)
    total = np.asarray(energy, np.float64)
    known = ~np.isnan(total) & (counts > 0)
    if not known.any():
        raise UsageError("expected at least one configuration with an energy, found none. Train on labelled ones.")
    elements, share = composition_matrix(atomic_numbers, counts)
    fixed = isolated or {}
    given = np.array([fixed.get(int(number), np.nan) for number in elements])
    free = np.isnan(given)
    wanted = (total / counts - share[:, ~free] @ given[~free])[known]
    open_share = share[known][:, free]
    solution, _, rank, _ = np.linalg.lstsq(open_share, wanted, rcond=None)
    given[free] = solution
    return ReferenceFit(
        {int(number): float(value) for number, value in zip(elements, given, strict=True)},
        int(rank) + int((~free).sum()),
        float(np.sqrt(np.mean((open_share @ solution - wanted) ** 2))),
        _null_space(open_share, int(rank), elements[free]),
    )


def composition_matrix(atomic_numbers: ArrayLike, n_atoms: ArrayLike) -> tuple[NDArray[np.int64], F64]:
    """Elements present, ascending, and their shares in each configuration, shape (n_configurations, n_elements)."""
    counts = np.asarray(n_atoms, np.int64)
    elements, index = np.unique(np.asarray(atomic_numbers, np.int64), return_inverse=True)
    cell = np.repeat(np.arange(len(counts)), counts) * len(elements) + index
    atoms = np.bincount(cell, minlength=len(counts) * len(elements)).reshape(len(counts), len(elements))
    return elements, atoms / np.maximum(counts, 1)[:, None]


def _null_space(share: F64, rank: int, elements: NDArray[np.int64]) -> tuple[dict[int, float], ...]:
    """Combinations of elements that do not change the energy of any configuration."""
    if rank == len(elements):
        return ()
    vectors = np.linalg.svd(share, full_matrices=True)[2][rank:]
    return tuple(
        {int(number): float(value) for number, value in zip(elements, vector, strict=True) if abs(value) > 1e-9}
        for vector in vectors
    )
