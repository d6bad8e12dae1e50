"""Batches: order, dtypes, absence, and edges that give the distances of the source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike

from mlpdata.errors import InputError
from mlpdata.frames import Frames
from mlpdata.loader.batch import Batch, FramesSource, collate

SILICON, WATER = bulk("Si", cubic=True, a=5.43), molecule("H2O")
SILICON.rattle(0.1, seed=3)


def frames(**labels: ArrayLike) -> Frames:
    return Frames(
        [8, 3],
        {
            "atomic_numbers": np.concatenate([SILICON.numbers, WATER.numbers]),
            "positions": np.concatenate([SILICON.positions, WATER.positions]),
            "cell": [SILICON.cell.array, np.full((3, 3), np.nan)],
            "pbc": [[1, 1, 1], [0, 0, 0]],
            **labels,
        },
    )


def distances(batch: Batch) -> torch.Tensor:
    centre, neighbour = batch.edge_index
    cell = batch.cell[batch.configuration[centre]]
    shift = torch.einsum("ei,eij->ej", batch.edge_shift, cell)
    return torch.linalg.norm(batch.positions[neighbour] - batch.positions[centre] + shift, dim=1)


def test_configurations_come_in_the_order_of_rows_and_may_come_twice() -> None:
    batch = collate(FramesSource(frames(energy=[-1.0, -2.0])), [1, 0, 1], 5.0)

    assert batch.n_configurations == 3
    assert batch.n_atoms.tolist() == [3, 8, 3]
    assert batch.energy.tolist() == [-2.0, -1.0, -2.0]
    assert batch.rows.tolist() == [1, 0, 1]
    assert batch.atomic_numbers.tolist() == [*WATER.numbers, *SILICON.numbers, *WATER.numbers]
    assert batch.configuration.tolist() == [0] * 3 + [1] * 8 + [2] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_give_the_distances_that_ase_finds(dtype: torch.dtype) -> None:
    batch = collate(FramesSource(frames()), [1, 0], 4.5, dtype)

    expected = [np.sort(neighbor_list("d", atoms, 4.5)) for atoms in (WATER, SILICON)]
    found = distances(batch).numpy()
    of_water = batch.configuration[batch.edge_index[0]].numpy() == 0
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(np.sort(found[of_water]), expected[0], atol=tolerance)
    np.testing.assert_allclose(np.sort(found[~of_water]), expected[1], atol=tolerance)


def test_energies_keep_double_precision_in_a_single_precision_batch() -> None:
    batch = collate(FramesSource(frames(energy=[-123456.789012345, 0.1])), [0, 1], 3.0)

    assert batch.energy.dtype == torch.float64
    assert batch.energy[0].item() == -123456.789012345
    assert {batch.positions.dtype, batch.cell.dtype, batch.forces.dtype, batch.edge_shift.dtype} == {torch.float32}


def test_absent_labels_are_nan_and_an_absent_cell_is_zero() -> None:
    batch = collate(FramesSource(frames()), [0, 1], 3.0)

    assert batch.energy.isnan().all()
    assert batch.forces.shape == (11, 3)
    assert batch.forces.isnan().all()
    assert batch.stress.shape == (2, 3, 3)
    assert batch.stress.isnan().all()
    assert (batch.cell[1] == 0).all()
    assert batch.pbc.tolist() == [[True] * 3, [False] * 3]


def test_a_batch_does_not_share_memory_with_its_source() -> None:
    source, rows = frames(energy=[1.0, 2.0]), np.array([0, 1])

    batch = collate(FramesSource(source), rows, 3.0, torch.float64)
    batch.positions.zero_()
    batch.energy.zero_()
    batch.rows.zero_()

    assert source.energy.tolist() == [1.0, 2.0]
    assert (source.positions[:8] == SILICON.positions).all()
    assert rows.tolist() == [0, 1]


def test_a_batch_may_do_without_edges() -> None:
    batch = collate(FramesSource(frames()), [0], None)

    assert batch.edge_index.shape == (2, 0)
    assert batch.edge_shift.shape == (0, 3)


def test_a_periodic_configuration_without_a_cell_is_refused() -> None:
    source = FramesSource(frames().without("cell"))

    assert collate(source, [1], 3.0).n_configurations == 1
    with pytest.raises(InputError, match="lattice vectors"):
        collate(source, [0], 3.0)


def test_moving_a_batch_to_the_device_it_is_on_returns_it() -> None:
    batch = collate(FramesSource(frames()), [0], 3.0)

    assert batch.to("cpu") is batch
    assert batch.to("meta").positions.device.type == "meta"
    assert batch.nbytes > batch.positions.nbytes
