"""Neighbour lists of silicon at 5 angstrom: CPU time an atom, ours against ASE's, interleaved in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list

from mlpdata.neighbors import neighbor_lists

CUTOFF = 5.0
"""[angstrom]"""
ROUNDS = 7
"""Of which the fastest counts."""


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    for repeat, block in ((1, 400), (2, 60), (4, 8)):
        atoms = bulk("Si", cubic=True) * repeat
        atoms.rattle(0.05, seed=0)
        cell, pbc, n_atoms = atoms.cell.array, atoms.pbc, [len(atoms)] * block
        ours = partial(
            neighbor_lists,
            np.tile(atoms.positions, (block, 1)),
            np.tile(cell, (block, 1, 1)),
            [pbc] * block,
            n_atoms,
            CUTOFF,
        )
        ase = partial(primitive_neighbor_list, "ijS", pbc, cell, atoms.positions, CUTOFF)
        times = np.array([(seconds(ours) / block, seconds(ase)) for _ in range(ROUNDS)]).min(axis=0) / len(atoms) * 1e6
        print(
            f"neighbour lists, {len(atoms)} atoms: {times[0]:.1f} us/atom, ASE {times[1]:.0f}, ratio {times[1] / times[0]:.0f}"
        )


if __name__ == "__main__":
    main()
