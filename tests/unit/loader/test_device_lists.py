"""Lists of a whole batch on its device: those that vesin finds. The library's kernels run on the CPU here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from mlpdata.errors import InputError, UsageError
from mlpdata.frames import Frames
from mlpdata.loader import Loader
from mlpdata.loader.batch import Batch, FramesSource, collate
from mlpdata.loader.device_lists import on_device, with_edges

CUTOFF = 5.0
installed = pytest.mark.skipif(find_spec("nvalchemiops") is None, reason="needs nvalchemi-toolkit-ops")
without = pytest.mark.skipif(find_spec("nvalchemiops") is not None, reason="needs an absent nvalchemi-toolkit-ops")


def slab() -> Atoms:
    """A slab whose open axis has no lattice vector."""
    atoms = fcc111("Al", (2, 2, 3), vacuum=8)
    atoms.set_cell([*atoms.cell[:2], [0, 0, 0]])
    atoms.pbc = (True, True, False)
    return atoms


def systems() -> list[Atoms]:
    crowd = Atoms("H300", positions=np.random.default_rng(0).uniform(0, 4, (300, 3)))
    outside = Atoms("H20", positions=np.random.default_rng(1).uniform(-30, 50, (20, 3)), cell=np.eye(3) * 7, pbc=True)
    found = [bulk("Si", cubic=True), molecule("C6H6"), bulk("Cu"), slab(), Atoms("He"), crowd, outside]
    for atoms in found:
        atoms.rattle(0.05, seed=1)
    return found


def source(which: list[Atoms]) -> FramesSource:
    return FramesSource(
        Frames(
            [len(atoms) for atoms in which],
            {
                "atomic_numbers": np.concatenate([atoms.numbers for atoms in which]),
                "positions": np.concatenate([atoms.positions for atoms in which]),
                "cell": [atoms.cell.array if atoms.pbc.any() else np.full((3, 3), np.nan) for atoms in which],
                "pbc": [atoms.pbc for atoms in which],
            },
        )
    )


def edges(batch: Batch) -> list[tuple[int, ...]]:
    return sorted(map(tuple, torch.cat([batch.edge_index.T, batch.edge_shift.long()], dim=1).tolist()))


@installed
@pytest.mark.parametrize("which", [slice(0, 1), slice(1, 2), slice(2, 4), slice(5, 7), slice(None)])
def test_the_edges_are_those_that_vesin_finds(which: slice) -> None:
    block = source(systems()[which])
    rows = range(len(block.n_atoms))

    found = with_edges(collate(block, rows, None, torch.float64), CUTOFF)

    expected = collate(block, rows, CUTOFF, torch.float64)
    assert edges(found) == edges(expected)
    assert torch.equal(found.edge_index[0], expected.edge_index[0]), "sorted by centre"
    for name in ("edge_index", "edge_shift"):
        assert found.tensors[name].dtype == expected.tensors[name].dtype
        assert found.tensors[name].shape == expected.tensors[name].shape


@installed
def test_a_loader_builds_its_lists_on_the_device_where_it_is_told_to() -> None:
    block = source(systems())

    found, expected = (
        list(Loader(block, np.arange(7), 3, CUTOFF, lists=lists, dtype=torch.float64)) for lists in ("device", "cpu")
    )

    assert [edges(batch) for batch in found] == [edges(batch) for batch in expected]


@installed
def test_a_periodic_configuration_without_a_cell_is_refused() -> None:
    block = source([bulk("Cu")])._frames.without("cell")

    with pytest.raises(InputError, match="lattice vectors"):
        with_edges(collate(FramesSource(block), [0], None), CUTOFF)


@installed
def test_lists_are_built_on_a_gpu_by_itself_and_on_the_cpu_by_vesin() -> None:
    assert on_device("auto", "cuda")
    assert not on_device("auto", "cpu")
    assert not on_device("cpu", "cuda")


@without
def test_without_the_library_lists_are_built_by_vesin_or_the_extra_is_named() -> None:
    assert not on_device("auto", "cuda")
    with pytest.raises(UsageError, match=r"mlpdata\[gpu\]"):
        on_device("device", "cpu")


@pytest.mark.parametrize("where", ["gpu", ""])
def test_a_place_that_does_not_exist_is_refused(where: Any) -> None:
    with pytest.raises(UsageError, match="auto, cpu, device"):
        on_device(where, "cpu")
