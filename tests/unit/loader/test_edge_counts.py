"""Expected edges: against the lists that ASE builds."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list

from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.loader import Loader
from mlpdata.loader.batch import FramesSource
from mlpdata.loader.edge_counts import SAMPLE, expected_edges

CUTOFF = 5.0


def source(systems: list[Atoms]) -> FramesSource:
    return FramesSource(
        Frames(
            [len(atoms) for atoms in systems],
            {
                "atomic_numbers": np.concatenate([atoms.numbers for atoms in systems]),
                "positions": np.concatenate([atoms.positions for atoms in systems]),
                "cell": [atoms.cell.array if atoms.pbc.any() else np.full((3, 3), np.nan) for atoms in systems],
                "pbc": [atoms.pbc for atoms in systems],
            },
        )
    )


def crystals(count: int) -> list[Atoms]:
    """Silicon and copper cells of 1 to 8 atoms, up to 15 % denser or looser."""
    random = np.random.default_rng(0)
    found = []
    for number in range(count):
        atoms = bulk("Si", cubic=True) if number % 2 else bulk("Cu").repeat((1 + number % 3, 1, 1))
        atoms.set_cell(atoms.cell * random.uniform(0.95, 1.05), scale_atoms=True)
        atoms.rattle(0.05, seed=number)
        found.append(atoms)
    return found


def molecules(count: int) -> list[Atoms]:
    names = ("H2O", "CH4", "C2H6", "C6H6", "CH3CH2OH", "isobutane", "C3H7")
    found = [molecule(names[number % len(names)]) for number in range(count)]
    for number, atoms in enumerate(found):
        atoms.rattle(0.05, seed=number)
    return found


def slabs(count: int) -> list[Atoms]:
    found = [fcc111("Al", (1 + number % 2, 1, 2 + number % 4), vacuum=6.0) for number in range(count)]
    for atoms in found:
        atoms.pbc = (True, True, False)
    return found


@pytest.mark.parametrize("kind", [crystals, molecules, slabs])
def test_batches_of_one_kind_have_about_the_edges_that_are_expected(kind: object) -> None:
    systems = kind(96)  # type: ignore[operator]
    true = np.array([len(neighbor_list("i", atoms, CUTOFF)) for atoms in systems])

    expected = expected_edges(source(systems), np.arange(96), CUTOFF)

    order = np.random.default_rng(1).permutation(96)
    by_batch = [values[order].reshape(4, 24).sum(axis=1) for values in (expected, true)]
    np.testing.assert_allclose(*by_batch, rtol=0.1)


def test_kinds_that_are_mixed_do_not_spoil_each_other() -> None:
    systems = [*crystals(64), *molecules(64), *slabs(64)]

    mixed = expected_edges(source(systems), np.arange(192), CUTOFF)

    apart = [expected_edges(source(kind(64)), np.arange(64), CUTOFF) for kind in (crystals, molecules, slabs)]
    np.testing.assert_allclose(mixed, np.concatenate(apart))


def test_few_lists_are_built() -> None:
    class Counting(FramesSource):
        read = 0

        def gather_many(self, names: object, rows: object, out: object = None) -> dict[str, np.ndarray]:
            self.read += len(rows) if "positions" in names else 0  # type: ignore[arg-type,operator]
            return super().gather_many(names, rows, out)  # type: ignore[arg-type]

    systems = molecules(7) * 200
    counting = Counting(source(systems)._frames)

    expected_edges(counting, np.arange(1400), CUTOFF)

    assert counting.read <= SAMPLE


def test_an_atom_alone_has_no_edges_and_no_rows_have_no_counts() -> None:
    alone = source([Atoms("H"), Atoms("He")])

    assert expected_edges(alone, np.arange(2), CUTOFF).tolist() == [0, 0]
    assert expected_edges(alone, np.empty(0, np.int64), CUTOFF).shape == (0,)


def test_batches_bounded_by_edges_keep_to_the_bound_about() -> None:
    systems = [*crystals(100), *molecules(100)]
    bound = 2000

    batches = list(Loader(source(systems), np.arange(200), 1000, CUTOFF, max_edges=bound))

    edges = np.array([batch.edge_index.shape[1] for batch in batches])
    assert sum(batch.n_configurations for batch in batches) == 200
    assert edges.max() < 1.1 * bound
    assert edges[:-1].mean() > 0.8 * bound


def test_a_bound_of_edges_without_a_cutoff_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a cutoff"):
        Loader(source(molecules(2)), [0, 1], 2, None, max_edges=10)
