"""Reference energies: least squares by composition, with what it leaves open."""

from __future__ import annotations

import numpy as np
import pytest

from mlpdata.curate.references import composition_matrix, fit_references, reference_fit
from mlpdata.errors import UsageError

HYDROGEN, CARBON, OXYGEN = 1, 6, 8
METHANE, WATER, CARBON_DIOXIDE = (
    [CARBON, HYDROGEN, HYDROGEN, HYDROGEN, HYDROGEN],
    [OXYGEN, HYDROGEN, HYDROGEN],
    [CARBON, OXYGEN, OXYGEN],
)
ENERGIES = {HYDROGEN: -13.6, CARBON: -1030.0, OXYGEN: -2040.0}


def total(*molecules: list[int]) -> tuple[list[int], list[int], list[float]]:
    return (
        [number for one in molecules for number in one],
        [len(one) for one in molecules],
        [sum(ENERGIES[number] for number in one) for one in molecules],
    )


def test_atoms_that_do_not_interact_are_recovered_exactly() -> None:
    fit = reference_fit(*total(METHANE, WATER, CARBON_DIOXIDE))

    assert fit.energies == pytest.approx(ENERGIES)
    assert fit.rank == 3
    assert fit.residual == pytest.approx(0, abs=1e-9)
    assert fit.notes == []


def test_one_composition_is_explained_and_the_rest_stated_as_open() -> None:
    fit = reference_fit(*total(WATER, WATER))

    assert 2 * fit.energies[HYDROGEN] + fit.energies[OXYGEN] == pytest.approx(2 * ENERGIES[HYDROGEN] + ENERGIES[OXYGEN])
    assert fit.rank == 1
    (combination,) = fit.open_combinations
    assert 2 * combination[HYDROGEN] + combination[OXYGEN] == pytest.approx(0)
    assert "H" in fit.notes[0]
    assert "O" in fit.notes[0]


def test_isolated_atoms_stand_as_they_are() -> None:
    fit = reference_fit(*total(WATER, WATER), isolated={HYDROGEN: -13.0})

    assert fit.energies[HYDROGEN] == -13.0
    assert fit.energies[OXYGEN] == pytest.approx(ENERGIES[OXYGEN] + 2 * (ENERGIES[HYDROGEN] + 13.0))
    assert fit.rank == 2


def test_every_element_may_be_isolated() -> None:
    assert fit_references(*total(WATER), isolated=ENERGIES) == {HYDROGEN: ENERGIES[HYDROGEN], OXYGEN: ENERGIES[OXYGEN]}


def test_the_residual_is_per_atom() -> None:
    numbers, n_atoms, _ = total([HYDROGEN, HYDROGEN], [HYDROGEN, HYDROGEN])

    fit = reference_fit(numbers, n_atoms, [-30.0, -34.0])

    assert fit.energies == pytest.approx({HYDROGEN: -16.0})
    assert fit.residual == pytest.approx(1.0)


def test_configurations_without_an_energy_do_not_count() -> None:
    numbers, n_atoms, energy = total(METHANE, WATER, CARBON_DIOXIDE, WATER)

    assert fit_references(numbers, n_atoms, [*energy[:3], np.nan]) == pytest.approx(ENERGIES)


def test_no_energy_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one configuration with an energy"):
        fit_references([HYDROGEN], [1], [np.nan])


def test_the_composition_matrix_holds_shares() -> None:
    elements, share = composition_matrix(METHANE + WATER, [5, 3])

    assert elements.tolist() == [1, 6, 8]
    np.testing.assert_allclose(share, [[0.8, 0.2, 0], [2 / 3, 0, 1 / 3]])
