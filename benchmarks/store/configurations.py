"""Configurations by the million, the same for the same seed: what every peer is given and a large store is made of.

The numbers are drawn on a lattice with thermal noise, so that formulas, distances, energies and forces are spread as in
a real set: some tens of compositions, nothing nearer than a bond, energies that go with the atoms, few large forces.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlpdata.frames import Frames

PAIRS = np.array([(14, 8), (13, 7), (22, 8), (12, 8), (31, 33), (3, 9), (11, 17), (6, 14)], np.uint8)
"""Elements that come together."""
SPACING = 2.3
"""Between neighbours on the lattice [angstrom]."""
SIDE = 4
"""Sites of the lattice along each axis, at most 64 atoms."""
_SITES = np.indices((SIDE,) * 3).reshape(3, -1).T


def block(n_configurations: int, n_atoms: tuple[int, int], seed: int) -> Frames:
    """Periodic configurations with energies, forces and stresses.

    Args:
        n_configurations: how many.
        n_atoms: fewest and most atoms of one.
        seed: of the numbers.
    """
    random = np.random.default_rng(seed)
    counts = random.integers(n_atoms[0], n_atoms[1] + 1, n_configurations)
    starts = np.cumsum(counts) - counts
    place = np.arange(int(counts.sum())) - np.repeat(starts, counts)
    pair = PAIRS[random.integers(0, len(PAIRS), n_configurations)].repeat(counts, axis=0)
    heat = random.gamma(2.0, 0.6, n_configurations)
    forces = random.normal(size=(len(place), 3)) * heat.repeat(counts)[:, None]
    strain = random.normal(1.0, 0.01, (n_configurations, 1, 1))
    return Frames(
        counts,
        {
            "atomic_numbers": np.where(place % 2, pair[:, 0], pair[:, 1]),
            "positions": _SITES[place] * SPACING + random.normal(scale=0.05, size=(len(place), 3)),
            "forces": forces,
            "energy": counts * random.normal(-5.0, 0.3, n_configurations) + heat,
            "cell": np.eye(3) * SPACING * SIDE * strain,
            "stress": random.normal(scale=0.01, size=(n_configurations, 1, 1)) * np.eye(3),
            "pbc": np.ones((n_configurations, 3), np.int8),
            "step": np.arange(n_configurations),
        },
    )


def blocks(n_configurations: int, n_atoms: tuple[int, int], size: int, seed: int = 0) -> Iterator[Frames]:
    """`n_configurations` in blocks of at most `size`."""
    for number, start in enumerate(range(0, n_configurations, size)):
        yield block(min(size, n_configurations - start), n_atoms, seed * 1_000_003 + number)
