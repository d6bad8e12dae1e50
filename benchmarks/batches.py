"""Shuffled batches of 64 from the mapped store, as a ratio of numpy memmaps of the same arrays.

Positions, forces and energies of 10^5 configurations of about 20 atoms, in one segment and in thirty, checksums on.
Store and memmap take turns batch by batch and CPU time is measured, so that a noisy machine does not matter.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from mlpdata.frames import Frames, ragged_index
from mlpdata.store.arrays import write_arrays
from mlpdata.store.mapping import Mapped

NAMES = ("positions", "forces", "energy")
BATCH = 64


def block(n_configurations: int, random: np.random.Generator) -> Frames:
    n_atoms = random.integers(10, 31, n_configurations)
    total = int(n_atoms.sum())
    return Frames(
        n_atoms,
        {
            "atomic_numbers": random.integers(1, 90, total),
            "positions": random.normal(size=(total, 3)),
            "forces": random.normal(size=(total, 3)),
            "energy": random.normal(size=n_configurations),
            "pbc": np.zeros((n_configurations, 3)),
        },
    )


class Memmap:
    """The peer: one flat file an array, a ragged take."""

    def __init__(self, folder: Path, blocks: list[Frames]) -> None:
        self.n_atoms = np.concatenate([one.n_atoms for one in blocks])
        self.start = np.cumsum(self.n_atoms) - self.n_atoms
        self.arrays = {}
        for name in NAMES:
            whole = np.concatenate([one.get(name) for one in blocks])
            whole.tofile(folder / name)
            self.arrays[name] = np.memmap(folder / name, whole.dtype, "r", shape=whole.shape)

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The three arrays of the configurations `rows`."""
        atoms = ragged_index(self.start.take(rows), self.n_atoms.take(rows))
        return {name: array.take(rows if name == "energy" else atoms, axis=0) for name, array in self.arrays.items()}


def measure(mapped: Mapped, memmap: Memmap, batches: list[np.ndarray]) -> tuple[float, float]:
    """CPU seconds of store and memmap for the same batches."""
    clock, ours, theirs = time.thread_time, 0.0, 0.0
    for number, rows in enumerate(batches):
        for turn in (number % 2, 1 - number % 2):
            start = clock()
            if turn:
                mine = mapped.gather_many(NAMES, rows)
                ours += clock() - start
            else:
                other = memmap.batch(rows)
                theirs += clock() - start
        if number % 97 == 0:
            assert all(np.array_equal(mine[name], other[name]) for name in NAMES)
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=100_000)
    parser.add_argument("--segments", type=int, nargs="*", default=[1, 30])
    options = parser.parse_args()
    random = np.random.default_rng(0)
    folder = Path(tempfile.mkdtemp())
    try:
        for n_segments in options.segments:
            report(options.configurations, n_segments, folder, random)
    finally:
        shutil.rmtree(folder)


def report(n_configurations: int, n_segments: int, folder: Path, random: np.random.Generator) -> None:
    blocks = [block(n_configurations // n_segments, random) for _ in range(n_segments)]
    places = [folder / f"{n_segments}-{number}" for number in range(n_segments)]
    parts = [(place, write_arrays(place, [one])) for place, one in zip(places, blocks, strict=True)]
    memmap = Memmap(folder, blocks)
    with Mapped(parts) as mapped:
        for epoch in ("first", "later", "later", "later"):
            order = random.permutation(mapped.n_configurations)
            ours, theirs = measure(mapped, memmap, np.array_split(order, len(order) // BATCH))
            rate = mapped.n_configurations / ours
            print(
                f"shuffled batches of {BATCH}, {n_segments} segments, {epoch} epoch: "
                f"{theirs / ours:.2f} of numpy memmap ({rate:,.0f} configurations/s)"
            )


if __name__ == "__main__":
    main()
