"""A toy surface that is cheap and exact: a Morse pair potential on small silicon-like cells."""

from __future__ import annotations

import numpy as np

from mlpdata.frames import Frames, concatenate
from mlpdata.loader.batch import FramesSource
from mlpdata.loader.loader import Loader
from mlpdata.neighbors import neighbor_list
from mlpdata.schema.params import ModelParams, TrainParams
from mlpdata.units import F64

REFERENCE = -100.0
CUTOFF = 4.0
DEPTH, WIDTH, BOND = 0.8, 1.2, 2.4

SMALL = TrainParams(
    model=ModelParams(cutoff=CUTOFF, l_max=1, layers=2, channels=8, radial_basis=6, radial_hidden=16),
    batch_size=2,
    epochs=4,
    max_minutes=None,
    threads=1,
    learning_rate=0.01,
    ema_decay=0.9,
)


def morse(positions: F64, cell: F64) -> tuple[float, F64, F64]:
    """Energy, forces and stress of the pairs within the cutoff, each bond counted once."""
    i, j, shift = neighbor_list(positions, cell, [True] * 3, CUTOFF)
    vectors = positions[j] - positions[i] + shift @ cell
    distance = np.linalg.norm(vectors, axis=1)
    decay = np.exp(-WIDTH * (distance - BOND))
    # a polynomial window ends value and slope at the cutoff
    window, slope = (1 - (distance / CUTOFF) ** 2) ** 3, -6 * distance / CUTOFF**2 * (1 - (distance / CUTOFF) ** 2) ** 2
    pair = DEPTH * (decay**2 - 2 * decay)
    gradient = DEPTH * (-2 * WIDTH * decay**2 + 2 * WIDTH * decay) * window + pair * slope
    along = 0.5 * gradient[:, None] * vectors / distance[:, None]
    forces = np.zeros_like(positions)
    np.add.at(forces, i, along)
    np.add.at(forces, j, -along)
    return 0.5 * (pair * window).sum(), forces, np.einsum("ei,ej->ij", vectors, along) / np.linalg.det(cell)


def toy(count: int, seed: int = 0) -> Frames:
    """`count` rattled eight-atom cells with Morse labels."""
    rng = np.random.default_rng(seed)
    basis = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4
    blocks = []
    for _ in range(count):
        cell = np.eye(3) * 5.4 + rng.normal(scale=0.05, size=(3, 3))
        positions = (basis + rng.normal(scale=0.02, size=basis.shape)) @ cell
        energy, forces, stress = morse(positions, cell)
        labels = {"energy": [energy + 8 * REFERENCE], "forces": forces, "stress": [stress], "cell": [cell]}
        geometry = {"atomic_numbers": [14] * 8, "positions": positions, "pbc": np.ones((1, 3))}
        blocks.append(Frames([8], geometry | labels))
    return concatenate(blocks)


def loader_of(frames: Frames, batch_size: int = 2, shuffle: bool = True) -> Loader:
    return Loader(FramesSource(frames), np.arange(len(frames)), batch_size, CUTOFF, shuffle=shuffle, threads=0)
