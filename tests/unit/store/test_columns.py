"""The columns people filter on, against numbers worked out by hand and by ASE."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.data import atomic_masses, covalent_radii

from mlpdata import elements
from mlpdata.errors import InputError
from mlpdata.frames import Frames, concatenate
from mlpdata.store.columns import binary16, force_columns, frame_columns, hill, ids_of, reduced, shortest_distances

BLOCK = concatenate(
    [
        Frames(  # conventional diamond-structure silicon: two atoms in a cubic cell are enough for the arithmetic
            [8],
            {
                "atomic_numbers": [14] * 8,
                "positions": np.array(
                    [[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]
                )
                * 5.431
                / 4,
                "cell": [np.eye(3) * 5.431],
                "pbc": [[1, 1, 1]],
                "energy": [-43.2],
                "stress": [np.diag([0.3, 0.0, 0.3])],
                "scf_converged": [1],
            },
        ),
        Frames(  # water, pulled apart along x and turned about z
            [3],
            {
                "atomic_numbers": [8, 1, 1],
                "positions": [[0, 0, 0], [0.96, 0, 0], [-0.96, 0, 0]],
                "pbc": [[0, 0, 0]],
                "energy": [-14.2],
                "forces": [[0, 0, 0], [3, 4, 0], [-3, -4, 0]],
                "charge": [0.0],
                "multiplicity": [1],
                "step": [7],
            },
        ),
    ]
)


def column(name: str) -> list[object]:
    return frame_columns(BLOCK, BLOCK.ids(), shortest_distances(BLOCK))[name].to_pylist()


def test_formulas_elements_and_compositions() -> None:
    assert column("formula") == ["Si8", "H2O"]
    assert column("reduced_formula") == ["Si", "H2O"]
    assert column("elements") == [["Si"], ["H", "O"]]
    assert column("composition") == [[("Si", 8)], [("H", 2), ("O", 1)]]
    assert column("pbc") == ["TTT", "FFF"]
    assert column("n_atoms") == [8, 3]


@pytest.mark.parametrize("symbols", ["CH3CH2OH", "CuCO2", "NaCl", "H2O", "SiC", "C60", "OCHNBr", "GaAs"])
def test_hill_formulas_are_those_of_ase(symbols: str) -> None:
    atoms = ase.Atoms(symbols)
    composition = {s: atoms.get_chemical_symbols().count(s) for s in set(atoms.get_chemical_symbols())}

    assert hill(composition) == atoms.get_chemical_formula(mode="hill")


def test_a_reduced_formula_divides_by_the_common_divisor() -> None:
    assert reduced({"Fe": 4, "O": 6}) == {"Fe": 2, "O": 3}
    assert reduced({}) == {}


def test_volume_and_density_of_silicon() -> None:
    assert column("volume") == [pytest.approx(160.19, abs=0.01), None]
    assert column("density") == [pytest.approx(2.329, abs=0.001), None]  # g/cm^3, the handbook's value at 300 K


def test_the_shortest_distance_of_silicon_and_of_the_molecule() -> None:
    assert column("min_distance") == [pytest.approx(5.431 * 3**0.5 / 4), pytest.approx(0.96)]


def test_forces_are_summed_up_by_hand() -> None:
    assert column("max_force") == [None, 5.0]
    assert column("rms_force") == [None, pytest.approx((50 / 9) ** 0.5)]
    assert column("net_force") == [None, 0.0]
    assert column("torque") == [None, pytest.approx(2 * 0.96 * 4)]
    assert column("has_forces") == [False, True]


def test_pressure_is_positive_in_compression() -> None:
    assert column("pressure") == [pytest.approx(-0.2), None]
    assert column("has_stress") == [True, False]


def test_energies_and_flags_are_null_where_unknown() -> None:
    assert column("energy_per_atom") == [-5.4, pytest.approx(-14.2 / 3)]
    assert column("energy_sigma0") == [None, None]
    assert column("charge") == [None, 0.0]
    assert column("multiplicity") == [None, 1]
    assert column("scf_converged") == [True, None]
    assert column("step") == [None, 7]


def test_the_torque_of_a_periodic_configuration_is_not_defined() -> None:
    slab = BLOCK.select([1]).with_arrays(pbc=[[1, 1, 0]], cell=[np.eye(3) * 9])

    assert np.isnan(force_columns(slab)["torque"]).all()


def test_a_configuration_without_atoms_costs_nothing() -> None:
    empty = Frames([0, 1], {"atomic_numbers": [1], "positions": np.zeros((1, 3)), "pbc": np.zeros((2, 3))})

    columns = frame_columns(empty, empty.ids(), np.full(2, np.nan))

    assert columns["formula"].to_pylist() == ["", "H"]


def test_ids_survive_the_way_through_a_column() -> None:
    ids = BLOCK.ids()

    np.testing.assert_array_equal(ids_of(binary16(ids)), ids)
    np.testing.assert_array_equal(ids_of(binary16(ids).slice(1)), ids[1:])


def test_masses_and_radii_are_those_of_the_tables_that_ase_carries() -> None:
    stable = [z for z in range(1, 93) if z not in (43, 61, *range(84, 90))]
    np.testing.assert_allclose(elements.MASSES[stable], atomic_masses[stable], rtol=1e-3)
    np.testing.assert_array_equal(elements.COVALENT_RADII[1:97], covalent_radii[1:97])
    assert np.isnan(elements.COVALENT_RADII[97:]).all()


def test_symbols_are_found_whatever_their_case() -> None:
    assert [elements.atomic_number(symbol) for symbol in ("Si", "si", "CU", " h ")] == [14, 14, 29, 1]
    with pytest.raises(InputError, match="Xx"):
        elements.atomic_number("Xx")
    assert [elements.SYMBOLS[z] for z in (1, 29, 79, 118)] == ["H", "Cu", "Au", "Og"]
