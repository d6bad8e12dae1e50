"""Neighbour lists against those of ASE, on every kind of periodicity."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import ase
import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from mlpdata.errors import InputError, LimitExceeded
from mlpdata.frames import Frames
from mlpdata.neighbors import CLOSE, closest_pairs, neighbor_list, neighbor_lists
from mlpdata.units import F64

Pbc = tuple[int, int, int]

NO_CELL = np.full((3, 3), np.nan)
SKEWED = np.array([[4.0, 0.0, 0.0], [2.5, 3.1, 0.0], [-1.7, 1.1, 2.9]])
EVERY_PBC = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]


def edges(centre: ArrayLike, neighbour: ArrayLike, shift: ArrayLike) -> list[tuple[int, ...]]:
    """Edges as a sorted list, so that one that comes twice is noticed."""
    return sorted(map(tuple, np.column_stack([centre, neighbour, shift]).astype(int).tolist()))


def edges_of_ase(positions: F64, cell: F64, pbc: ArrayLike, cutoff: float) -> list[tuple[int, ...]]:
    return edges(*primitive_neighbor_list("ijS", np.array(pbc, bool), cell, positions, cutoff))


def test_the_second_shell_of_silicon_has_four_and_twelve_atoms() -> None:
    silicon = bulk("Si", a=5.43)

    centre, _, _ = neighbor_list(silicon.positions, silicon.cell.array, silicon.pbc, 4.0)

    assert np.bincount(centre).tolist() == [16, 16]


@pytest.mark.parametrize("pbc", EVERY_PBC)
@pytest.mark.parametrize("cutoff", [1.0, 2.5, 7.0])
def test_edges_in_a_skewed_cell_are_those_of_ase(pbc: Pbc, cutoff: float) -> None:
    positions = np.random.default_rng(1).uniform(-3, 6, (9, 3))

    found = edges(*neighbor_list(positions, SKEWED, pbc, cutoff))

    assert found == edges_of_ase(positions, SKEWED, pbc, cutoff)
    assert found or cutoff == 1.0


def test_a_cell_smaller_than_the_cutoff_has_an_atom_as_its_own_neighbour() -> None:
    centre, neighbour, shift = neighbor_list([[0, 0, 0]], np.eye(3) * 2, [1, 1, 1], 2.1)

    assert edges(centre, neighbour, shift) == edges([0] * 6, [0] * 6, np.vstack([np.eye(3), -np.eye(3)]))


def test_axes_that_are_not_periodic_need_no_lattice_vector() -> None:
    slab = fcc111("Al", (2, 2, 3), vacuum=6.0)
    expected = edges_of_ase(slab.positions, slab.cell.array, slab.pbc, 5.0)

    for absent in (0.0, np.nan):
        cell = slab.cell.array.copy()
        cell[2] = absent
        assert edges(*neighbor_list(slab.positions, cell, slab.pbc, 5.0)) == expected


def test_edges_are_sorted_by_centre_and_each_has_its_reverse() -> None:
    silicon = bulk("Si", cubic=True)

    centre, neighbour, shift = neighbor_list(silicon.positions, silicon.cell.array, silicon.pbc, 5.0)

    assert (np.diff(centre) >= 0).all()
    assert edges(centre, neighbour, shift) == edges(neighbour, centre, -shift)


def test_a_block_numbers_atoms_through_and_never_joins_two_configurations() -> None:
    silicon, water, slab = bulk("Si", cubic=True), molecule("H2O"), fcc111("Al", (1, 1, 3), vacuum=6.0)
    each = [silicon, water, slab]
    cells = np.array([NO_CELL if atoms.cell.rank == 0 else atoms.cell.array for atoms in each])
    n_atoms = [len(atoms) for atoms in each]

    found = neighbor_lists(
        np.concatenate([atoms.positions for atoms in each]), cells, [atoms.pbc for atoms in each], n_atoms, 4.0
    )

    expected, first = [], 0
    for atoms in each:
        pairs = edges_of_ase(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)
        expected += [(i + first, j + first, *shift) for i, j, *shift in pairs]
        first += len(atoms)
    assert edges(*found.edge_index, found.edge_shift) == sorted(expected)
    assert found.edge_index.dtype == np.int64
    assert found.edge_shift.dtype == np.int32


def test_a_block_of_nothing_and_atoms_far_apart_have_no_edges() -> None:
    nothing = neighbor_lists(np.empty((0, 3)), np.empty((0, 3, 3)), np.empty((0, 3)), [], 5.0)
    alone = neighbor_lists(np.array([[0.0, 0, 0], [9, 0, 0]]), NO_CELL[None], [[0, 0, 0]], [2], 5.0)

    for found in (nothing, alone):
        assert found.edge_index.shape == (2, 0)
        assert found.edge_shift.shape == (0, 3)


@given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.integers(1, 6),
    pbc=st.sampled_from(EVERY_PBC),
    cutoff=st.floats(0.5, 6.0),
)
@settings(max_examples=60, deadline=None)
def test_edges_of_any_cell_are_those_of_ase(seed: int, n_atoms: int, pbc: Pbc, cutoff: float) -> None:
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * rng.uniform(2, 5, 3) + rng.uniform(-0.8, 0.8, (3, 3))
    positions = rng.uniform(-8, 8, (n_atoms, 3))

    assert edges(*neighbor_list(positions, cell, pbc, cutoff)) == edges_of_ase(positions, cell, pbc, cutoff)


@given(seed=st.integers(0, 2**32 - 1), pbc=st.sampled_from(EVERY_PBC))
@settings(max_examples=30, deadline=None)
def test_moving_an_atom_by_lattice_vectors_keeps_every_distance(seed: int, pbc: Pbc) -> None:
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 4, (5, 3))
    moved = positions + (rng.integers(-3, 4, (5, 3)) * pbc) @ SKEWED

    def distances(place: F64) -> F64:
        i, j, shift = neighbor_list(place, SKEWED, pbc, 4.0)
        return np.sort(np.linalg.norm(place[j] - place[i] + shift @ SKEWED, axis=1))

    np.testing.assert_allclose(distances(moved), distances(positions), atol=1e-10)


def frames_of(*each: ase.Atoms) -> Frames:
    return Frames(
        [len(atoms) for atoms in each],
        {
            "atomic_numbers": np.concatenate([atoms.numbers for atoms in each]),
            "positions": np.concatenate([atoms.positions for atoms in each]),
            "pbc": [atoms.pbc for atoms in each],
            "cell": [NO_CELL if atoms.cell.rank == 0 else atoms.cell.array for atoms in each],
        },
    )


def test_the_minimum_distance_is_that_of_the_closest_pair_or_absent() -> None:
    silicon, hydrogen, atom = bulk("Si", a=5.43), molecule("H2"), ase.Atoms("He")
    lone_atom_and_image = bulk("Po", "sc", a=2.0)

    found = closest_pairs(frames_of(silicon, hydrogen, atom, lone_atom_and_image)).distance

    np.testing.assert_allclose(found, [5.43 * np.sqrt(3) / 4, hydrogen.get_distance(0, 1), np.nan, 2.0], rtol=1e-12)
    assert np.isnan(closest_pairs(frames_of(silicon), cutoff=2.0).distance).all()


@pytest.mark.parametrize("n_atoms", [1, 2, 7, 33])
@pytest.mark.parametrize("pbc", [True, False, (True, True, False)])
@pytest.mark.parametrize("size", [3.0, 5.5, 9.0])
def test_the_closest_pair_is_that_of_all_images(n_atoms: int, pbc: Any, size: float) -> None:
    """Cells on both sides of twice the cutoff, more and less skewed; numbers of atoms on both sides of `FEW`."""
    rng = np.random.default_rng(n_atoms)
    images = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3))) * np.array(pbc)
    each, expected = [], []
    for skew in (0.0, 0.3, 0.9):
        cell = size * (np.eye(3) + skew * np.triu(rng.uniform(-1, 1, (3, 3)), 1))
        place = rng.uniform(-1, 2, (n_atoms, 3)) @ cell
        each.append(ase.Atoms(["Si"] * n_atoms, place, cell=cell, pbc=pbc))
        apart = place[:, None, None] - place[None, :, None] + np.unique(images, axis=0) @ cell
        distance = np.linalg.norm(apart, axis=-1)
        nearest = distance[distance > 1e-9].min(initial=np.inf)
        expected.append(nearest if nearest < CLOSE else np.nan)

    found = closest_pairs(frames_of(*each))

    np.testing.assert_allclose(found.distance, expected, rtol=1e-10)
    np.testing.assert_allclose(found.ratio, np.array(expected) / (2 * 1.11), rtol=1e-10)


def test_the_closest_pair_for_its_radii_need_not_be_the_closest() -> None:
    # radii 0.31, 0.66, 2.44 angstrom: O-H at 0.97 is 1 of its radii, Cs-O at 2.48 is 0.8
    atoms = ase.Atoms("CsOH", [[0, 0, 0], [2.48, 0, 0], [2.48, 0.97, 0]])

    block = frames_of(atoms, ase.Atoms("He"))

    np.testing.assert_allclose(block.closest.distance, [0.97, np.nan])
    np.testing.assert_allclose(block.closest.ratio, [0.8, np.nan])
    assert block.closest is block.closest  # searched once


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (NO_CELL, "nan"),
        (np.zeros((3, 3)), "0.0"),
        (np.array([[1.0, 0, 0], [2, 0, 0], [0, 0, 1]]), "[2.0, 0.0, 0.0]"),
    ],
)
def test_a_periodic_axis_without_a_vector_of_its_own_is_refused(cell: F64, found: str) -> None:
    with pytest.raises(InputError, match="independent lattice vectors") as refused:
        neighbor_list([[0, 0, 0]], cell, [1, 1, 1], 3.0)

    assert found in str(refused.value)


def test_a_flattened_cell_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(LimitExceeded, match="images"):
        neighbor_list([[0, 0, 0]], np.diag([1e-3, 1e-3, 10.0]), [1, 1, 1], 5.0)


def test_positions_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        neighbor_list([[0, 0, 0], [np.nan, 0, 0]], NO_CELL, [0, 0, 0], 5.0)


def test_neighbour_lists_load_neither_torch_nor_ase() -> None:
    script = (
        "import sys, numpy as np; from mlpdata.neighbors import neighbor_list\n"
        "neighbor_list(np.zeros((1, 3)), np.eye(3), [1, 1, 1], 1.5)\n"
        "print([name for name in ('torch', 'ase') if name in sys.modules])\n"
        "import ase"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
