"""Frames: one shape, checked when it is made; absence is NaN, never zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpdata.errors import InputError, UnitError, UsageError
from mlpdata.frames import Frames, by_block, concatenate, from_printed, ragged_index
from mlpdata.units import Quantity

WATER = [[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.24, 0.9266, 0.0]]


def frames(n_atoms: tuple[int, ...] = (3, 1, 2), **arrays: Any) -> Frames:
    atoms = sum(n_atoms)
    standard = {
        "atomic_numbers": np.arange(1, atoms + 1),
        "positions": np.arange(3 * atoms, dtype=float).reshape(-1, 3),
        "pbc": np.zeros((len(n_atoms), 3)),
        "energy": -np.arange(len(n_atoms), dtype=float),
    }
    return Frames(n_atoms, {**standard, **arrays})


def test_atoms_of_a_configuration_lie_between_its_starts() -> None:
    block = frames()

    assert block.atom_start.tolist() == [0, 3, 4, 6]
    assert block.configuration_of_atom.tolist() == [0, 0, 0, 1, 2, 2]
    assert len(block) == 3


def test_what_is_absent_is_blank_and_not_zero() -> None:
    block = frames()

    assert np.isnan(block.forces).all()
    assert block.forces.shape == (6, 3)
    assert np.isnan(block.stress).all()
    assert block.get("scf_converged").tolist() == [-1, -1, -1]
    assert block.get("multiplicity").tolist() == [0, 0, 0]
    assert "forces" not in block


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="found 'warmth'"):
        frames().get("warmth")
    with pytest.raises(InputError, match="property of the registry, found 'warmth'"):
        frames(warmth=[1, 2, 3])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"positions": np.zeros((5, 3))}, r"positions of shape \(6, 3\), found \(5, 3\)"),
        ({"forces": np.zeros((6, 2))}, r"forces of shape \(6, 3\)"),
        ({"energy": np.zeros(4)}, r"energy of shape \(3,\)"),
        ({"atomic_numbers": np.array([300, 1, 1, 1, 1, 1])}, "atomic_numbers as uint8"),
        ({"atomic_numbers": [-1, 1, 1, 1, 1, 1]}, "atomic_numbers as uint8"),
        ({"multiplicity": [np.nan, 1, 1]}, "multiplicity as int16"),
        ({"energy": ["a", "b", "c"]}, "energy as float64"),
        ({"cell": np.zeros((3, 3))}, r"cell of shape \(3, 3, 3\)"),
        ({"forces": np.full((6, 3), np.inf)}, "finite forces, found infinity"),
        ({"forces": np.where(np.arange(18).reshape(6, 3) == 4, np.nan, 0)}, "partly NaN"),
        ({"stress": np.where(np.arange(27).reshape(3, 3, 3) == 4, np.nan, 0)}, "partly NaN"),
    ],
)
def test_shapes_and_numbers_are_checked(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        frames(**arrays)


def test_a_block_needs_species_positions_and_periodicity() -> None:
    with pytest.raises(InputError, match="expected pbc in every block"):
        Frames([1], {"atomic_numbers": [1], "positions": [[0, 0, 0]]})


def test_forces_may_be_absent_in_some_configurations() -> None:
    forces = np.zeros((6, 3))
    forces[3] = np.nan

    assert np.isnan(frames(forces=forces).forces[3]).all()


def test_arrays_cannot_be_replaced_behind_its_back() -> None:
    with pytest.raises(TypeError):
        frames().arrays["energy"] = np.zeros(3)  # type: ignore[index]


@pytest.mark.parametrize("which", [[2, 0], [], [1, 1], np.array([True, False, True]), range(1, 3)])
def test_selected_configurations_come_in_the_order_asked_for(which: Any) -> None:
    block = frames()
    index = np.flatnonzero(which) if isinstance(which, np.ndarray) else list(which)

    chosen = block.select(which)

    assert chosen.energy.tolist() == [block.energy[i] for i in index]
    assert chosen.atomic_numbers.tolist() == [
        z for i in index for z in block.atomic_numbers[block.atom_start[i] : block.atom_start[i + 1]]
    ]


def test_joined_blocks_are_blank_where_one_lacks_an_array() -> None:
    first, second = frames(), frames(forces=np.ones((6, 3)))

    whole = concatenate([first, second])

    assert np.isnan(whole.forces[:6]).all()
    assert (whole.forces[6:] == 1).all()
    assert whole.n_atoms.tolist() == [3, 1, 2, 3, 1, 2]
    with pytest.raises(UsageError, match="at least one block"):
        concatenate([])


def test_arrays_are_added_and_taken_away_in_copies() -> None:
    block = frames()

    assert "charge" in block.with_arrays(charge=[0, 0, 1])
    assert "energy" not in block.without("energy")
    assert "energy" in block


@given(st.lists(st.integers(0, 5), max_size=8))
def test_ragged_indices_are_the_ranges_one_after_the_other(lengths: list[int]) -> None:
    starts = np.cumsum([0, *lengths])[:-1] * 10

    found = ragged_index(starts, np.array(lengths, np.int64))

    assert found.tolist() == [s + i for s, n in zip(starts, lengths, strict=True) for i in range(n)]


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(1, 12))
def test_blocks_are_bounded_and_lose_nothing(sizes: list[int], limit: int) -> None:
    blocks = list(by_block([(size, i) for i, size in enumerate(sizes)], limit))

    assert [item for block in blocks for item in block] == list(range(len(sizes)))
    assert all(len(block) == 1 or sum(sizes[item] for item in block) <= limit for block in blocks)


def printed(**values: Any) -> dict[str, Any]:
    return {
        "atomic_numbers": [8, 1, 1],
        "positions": Quantity(np.array(WATER), "angstrom"),
        "pbc": [[0, 0, 0]],
        **values,
    }


def test_printed_numbers_pass_the_door_once_and_the_ledger_says_how() -> None:
    block, ledger = from_printed([3], printed(energy=Quantity(np.array([-76.0]), "hartree", 9)))

    assert block.energy[0] == pytest.approx(-76 * 27.211386245981)
    entry = next(one for one in ledger if one.name == "energy")
    assert (entry.unit, entry.decimals) == ("hartree", 9)
    assert entry.printed(block.energy)[0] == -76.0


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (np.array([-76.0]), "bare"),
        (Quantity(np.array([-76.0]), "bohr"), "dimension"),
        (Quantity(np.array([np.inf]), "hartree"), "finite"),
    ],
)
def test_bare_numbers_wrong_dimensions_and_infinity_do_not_pass(energy: Any, message: str) -> None:
    with pytest.raises(UnitError, match=message):
        from_printed([3], printed(energy=energy))


def test_rows_that_a_reader_marks_as_absent_stay_absent() -> None:
    two = {
        "atomic_numbers": [8, 1, 1] * 2,
        "positions": Quantity(np.array(WATER * 2), "angstrom"),
        "pbc": [[0, 0, 0]] * 2,
        "energy": Quantity(np.array([np.nan, 2.0]), "hartree"),
    }

    block, _ = from_printed([3, 3], two)

    assert np.isnan(block.energy[0])
    assert block.energy[1] == pytest.approx(54.422772491962)


def test_a_row_that_is_partly_nan_does_not_pass() -> None:
    forces = np.zeros((3, 3))
    forces[1, 1] = np.nan

    with pytest.raises(UnitError, match="finite"):
        from_printed([3], printed(forces=Quantity(forces, "hartree/bohr")))


def test_a_name_that_the_registry_lacks_does_not_pass() -> None:
    with pytest.raises(InputError, match="property of the registry"):
        from_printed([3], printed(warmth=[1.0]))


def test_the_id_names_geometry_and_labels_and_the_geometry_id_only_the_geometry() -> None:
    block = frames()
    relabelled = block.with_arrays(energy=block.energy + 1e-9)
    nudged = block.with_arrays(positions=block.positions + 1e-9)

    assert (block.ids() != relabelled.ids()).any(axis=1).all()
    assert (block.geometry_ids() == relabelled.geometry_ids()).all()
    assert (block.ids() != nudged.ids()).any(axis=1).all()
    assert (block.geometry_ids() == nudged.geometry_ids()).all()


@settings(max_examples=30)
@given(st.permutations(range(3)))
def test_ids_belong_to_configurations_and_not_to_blocks(order: list[int]) -> None:
    block = frames(forces=np.ones((6, 3)))

    assert (block.select(order).ids() == block.ids()[order]).all()


def test_minus_zero_is_zero_and_a_blank_array_renames_nothing() -> None:
    block = frames(energy=[0.0, 1.0, 2.0])

    assert (block.ids() == block.with_arrays(energy=[-0.0, 1.0, 2.0]).ids()).all()
    assert (block.ids() == block.with_arrays(forces=np.full((6, 3), np.nan)).ids()).all()


def test_the_volume_is_that_of_the_cell_and_nan_without_one() -> None:
    cell = np.full((3, 3, 3), np.nan)
    cell[0] = [[2, 0, 0], [1, 3, 0], [1, 1, -4]]

    volume = frames(cell=cell).volume

    assert volume[0] == pytest.approx(24)
    assert np.isnan(volume[1:]).all()


def test_arrays_leave_with_their_unit() -> None:
    forces = frames(forces=np.ones((6, 3))).quantity("forces").to("hartree/bohr")

    np.testing.assert_allclose(forces.magnitude, 0.01944690, rtol=1e-6)


def test_the_representation_names_arrays_and_units() -> None:
    assert "3 configurations, 6 atoms" in repr(frames())
    assert "[eV]" in repr(frames())


def test_ase_gets_the_force_consistent_energy_under_both_names() -> None:
    stress = np.array([[[1.0, 6, 5], [6, 2, 4], [5, 4, 3]]])
    block = Frames(
        [3],
        {
            "atomic_numbers": [8, 1, 1],
            "positions": WATER,
            "pbc": [[1, 1, 0]],
            "cell": [np.eye(3) * 9],
            "energy": [-14.0],
            "energy_sigma0": [-13.9],
            "forces": np.arange(9.0).reshape(3, 3),
            "stress": stress,
        },
    )

    (atoms,) = block.to_ase()

    assert atoms.get_potential_energy() == atoms.get_potential_energy(force_consistent=True) == -14.0
    np.testing.assert_array_equal(atoms.get_forces(), block.forces)
    np.testing.assert_array_equal(atoms.get_stress(), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(atoms.get_stress(voigt=False), stress[0])
    assert atoms.pbc.tolist() == [True, True, False]


def test_ase_gets_a_molecule_without_cell_and_without_labels_that_are_absent() -> None:
    first, second, _ = frames(forces=np.full((6, 3), np.nan), energy=[1.0, np.nan, 0.0]).to_ase()

    assert not first.pbc.any()
    assert not first.cell.array.any()
    assert "forces" not in first.calc.results
    assert second.calc.results == {}
