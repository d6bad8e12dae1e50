"""Estimates from correlated series: drift of a conserved energy, mean of a fluctuating one, each with its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlpdata.errors import UsageError
from mlpdata.units import F64

BLOCKS = (8, 16, 32, 64)
"""Numbers of blocks that errors are taken from; the largest error counts, as blocks shorter than a correlation lie."""
MEV, PS = 1e3, 1e3
"""meV in eV; fs in ps."""


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.1g}"


def drift(time: F64, conserved: F64, n_atoms: int) -> Estimate:
    """Slope of the conserved energy of an ensemble, per atom [meV/atom/ps].

    The slope is that of least squares over all points; its error is that of a line through block averages, which are
    independent where a block is longer than the correlation of the series.

    Args:
        time: of each point, evenly spaced [fs], shape (n_steps,).
        conserved: what an exact integrator would keep [eV], shape (n_steps,).
        n_atoms: atoms of the configuration.

    Raises:
        UsageError: fewer points than two for each of the fewest blocks.

    References:
        H. Flyvbjerg, H. G. Petersen, J. Chem. Phys. 91, 461 (1989), doi 10.1063/1.457480.
    """
    picoseconds, energy = time / PS, conserved * MEV / n_atoms
    errors = [_line(*pair)[1] for pair in zip(_blocks(picoseconds), _blocks(energy), strict=True)]
    return Estimate(_line(picoseconds, energy)[0], max(errors))


def mean(series: F64) -> Estimate:
    """Mean of a stationary series; its error is that of independent block averages.

    Raises:
        UsageError: fewer points than two for each of the fewest blocks.
    """
    errors = [block.std(ddof=1) / np.sqrt(len(block)) for block in _blocks(series)]
    return Estimate(float(series.mean()), float(max(errors)))


def _blocks(series: F64) -> list[F64]:
    """Averages of `series` over each number of blocks that its length allows; points left over are at the start."""
    if len(series) < 2 * BLOCKS[0]:
        raise UsageError(f"expected at least {2 * BLOCKS[0]} points, found {len(series)}. Make the run longer.")
    counts = [count for count in BLOCKS if len(series) >= 2 * count]
    return [series[len(series) % count :].reshape(count, -1).mean(axis=1) for count in counts]


def _line(x: F64, y: F64) -> tuple[float, float]:
    """Slope of the line of least squares through independent points, and its standard error."""
    x, y = x - x.mean(), y - y.mean()
    slope = (x @ y) / (x @ x)
    residual = y - slope * x
    return float(slope), float(np.sqrt(residual @ residual / (len(x) - 2) / (x @ x)))
