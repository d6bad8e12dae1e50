"""Estimates: slopes and means of series whose truth is known, and errors that cover it."""

from __future__ import annotations

import numpy as np
import pytest

from mlpdata.dynamics.estimates import drift, mean
from mlpdata.errors import UsageError
from mlpdata.units import F64

CORRELATION = 20
"""Steps after which the noise below has forgotten itself."""


def noise(seed: int, n_steps: int, scale: float) -> F64:
    """An Ornstein-Uhlenbeck series of standard deviation `scale`."""
    keep = np.exp(-1 / CORRELATION)
    kicks = np.random.default_rng(seed).standard_normal(n_steps) * np.sqrt(1 - keep**2)
    series = np.empty(n_steps)
    series[0] = kicks[0] / np.sqrt(1 - keep**2)
    for step in range(1, n_steps):
        series[step] = keep * series[step - 1] + kicks[step]
    return series * scale


def test_a_steady_drift_is_found_in_mev_per_atom_and_picosecond() -> None:
    time = np.arange(1001) * 2.0  # 2 ps in steps of 2 fs

    found = drift(time, -500.0 + 0.008 * time / 1000, n_atoms=4)  # 8 meV in a picosecond, shared by four atoms

    assert found.value == pytest.approx(2.0, rel=1e-9)
    assert found.error < 1e-9


def test_a_vibration_of_the_energy_is_no_drift() -> None:
    time = np.arange(5001) * 2.0

    found = drift(time, 1e-3 * np.sin(2 * np.pi * time / 66.0), n_atoms=1)

    assert abs(found.value) < 0.05
    assert abs(found.value) < 3 * found.error + 1e-3


def test_the_error_of_a_drift_covers_the_scatter_of_correlated_runs() -> None:
    time = np.arange(4000) * 1.0
    found = [drift(time, noise(seed, 4000, 1e-3), n_atoms=1) for seed in range(100)]

    scatter = np.std([one.value for one in found])
    mean_error = np.mean([one.error for one in found])

    assert 0.9 * scatter < mean_error < 1.8 * scatter
    assert np.mean([abs(one.value) < 2 * one.error for one in found]) > 0.9


def test_an_error_that_ignored_correlation_would_be_four_times_too_small() -> None:
    time, energy = np.arange(4000) * 1e-3, noise(7, 4000, 1e-3) * 1e3
    centred = time - time.mean()
    residual = energy - energy.mean() - centred * (centred @ energy) / (centred @ centred)
    naive = np.sqrt(residual.var() / (centred @ centred))

    assert drift(time * 1e3, energy * 1e-3, n_atoms=1).error > 4 * naive


def test_the_error_of_a_mean_covers_the_scatter_of_correlated_runs() -> None:
    found = [mean(300 + noise(seed, 4000, 50.0)) for seed in range(100)]

    scatter = np.std([one.value for one in found])

    assert 0.9 * scatter < np.mean([one.error for one in found]) < 1.8 * scatter
    assert np.mean([abs(one.value - 300) < 2 * one.error for one in found]) > 0.9


def test_a_series_too_short_for_an_error_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 16 points, found 15"):
        mean(np.zeros(15))
    assert mean(np.ones(16)).value == 1.0
