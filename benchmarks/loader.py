"""Shuffled batches of 64 as torch tensors against the same rows of numpy memmaps, and what a training step waits.

The memmaps hold what a frozen view holds: float32, energies and cells float64. The ways take turns round by round; the
ratio is of CPU time of all threads, and of wall time in brackets. The consumer does nothing with a batch, so that a
thread that reads ahead gains nothing and shows what it costs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlpdata.curate.freeze import PACKED
from mlpdata.frames import I64, Frames, ragged_index
from mlpdata.loader import Loader
from mlpdata.loader.batch import GATHERED, Rows
from mlpdata.loader.sampler import Sampler
from mlpdata.schema.params import ModelParams
from mlpdata.schema.properties import ATOM, PROPERTIES
from mlpdata.store.arrays import write_arrays
from mlpdata.store.mapping import Mapped
from mlpdata.training.model import Potential, Statistics

N_CONFIGURATIONS, BATCH_SIZE, ROUNDS = 100_000, 64, 7


def configurations() -> Frames:
    """Silicon of the right density and no order, with labels."""
    random = np.random.default_rng(0)
    n_atoms = random.integers(8, 28, N_CONFIGURATIONS)
    total = int(n_atoms.sum())
    return Frames(
        n_atoms,
        {
            "atomic_numbers": np.full(total, 14),
            "positions": random.uniform(0, 7, (total, 3)),
            "cell": np.broadcast_to(7 * np.eye(3), (N_CONFIGURATIONS, 3, 3)),
            "pbc": np.ones((N_CONFIGURATIONS, 3)),
            "energy": random.normal(-2000, 1, N_CONFIGURATIONS),
            "forces": random.normal(size=(total, 3)),
            "stress": random.normal(size=(N_CONFIGURATIONS, 3, 3)),
        },
    )


class Memmaps:
    """A numpy memmap a property: the fastest source there can be."""

    def __init__(self, folder: Path, frames: Frames) -> None:
        self.n_atoms, self._start = frames.n_atoms, frames.atom_start
        self._arrays = {name: self._written(folder / f"{name}.npy", name, frames) for name in GATHERED}

    def _written(self, path: Path, name: str, frames: Frames) -> NDArray[Any]:
        np.save(path, frames.get(name).astype(PACKED.get(name, PROPERTIES[name].dtype)))
        return np.load(path, mmap_mode="r")

    def gather_many(
        self, names: Sequence[str], rows: I64, out: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """The arrays `names` of `rows`."""
        atoms = ragged_index(self._start[rows], self.n_atoms[rows])
        given = out or {}
        return {
            name: self._arrays[name].take(
                atoms if PROPERTIES[name].level == ATOM else rows,
                axis=0,
                out=given.get(name),
                mode="clip" if name in given else "raise",
            )
            for name in names
        }


def spent(batches: Iterable[Any], count: int) -> tuple[float, float]:
    """CPU and wall time of a batch [us]."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in batches:
        pass
    return 1e6 * (time.process_time() - cpu) / count, 1e6 * (time.perf_counter() - wall) / count


def batches_per_second(memmaps: Memmaps, view: Mapped, store: Mapped) -> None:
    def loader(
        source: Rows, rows: I64, cutoff: float | None = None, threads: int = 1
    ) -> Callable[[int], Iterable[Any]]:
        return lambda epoch: Loader(source, rows, BATCH_SIZE, cutoff, seed=epoch, threads=threads)

    rows = np.random.default_rng(1).permutation(N_CONFIGURATIONS)[: 400 * BATCH_SIZE]
    few = rows[: 8 * BATCH_SIZE]
    sampler = Sampler(rows, memmaps.n_atoms[rows], BATCH_SIZE)
    ways: dict[str, tuple[Callable[[int], Iterable[Any]], int]] = {
        "numpy memmap": (lambda epoch: (memmaps.gather_many(GATHERED, batch) for batch in sampler.batches(epoch)), 400),
        "loader on the memmaps, in the thread of the caller": (loader(memmaps, rows, threads=0), 400),
        "loader on a frozen view, in the thread of the caller": (loader(view, rows, threads=0), 400),
        "loader on a frozen view, one thread ahead": (loader(view, rows), 400),
        "loader on a frozen view, two threads ahead": (loader(view, rows, threads=2), 400),
        "loader on a store in double precision, in the thread of the caller": (loader(store, rows, threads=0), 400),
        "loader on a frozen view with edges to 5 angstrom": (loader(view, few, cutoff=5.0), 8),
    }
    times = np.array([[spent(way(epoch), count) for way, count in ways.values()] for epoch in range(ROUNDS)])
    best = times[1:].min(axis=0)  # the first round verifies checksums
    for name, (cpu, wall) in zip(ways, best, strict=True):
        ratios = f"{best[0, 0] / cpu:.2f} of memmap in CPU time ({best[0, 1] / wall:.2f} in wall time)"
        print(f"{name}: {cpu:.0f} us of CPU time a batch, {ratios}")


def waiting(source: Rows) -> None:
    model = Potential(ModelParams(), {14: -150.0}, Statistics(1.0, 25.0, 0.0)).train()
    loader = Loader(source, np.arange(256), 8, 5.0)
    before = time.perf_counter()
    for batch in loader:
        torch.nan_to_num(model(batch).forces).square().sum().backward()
    elapsed = time.perf_counter() - before
    print(f"training steps of 8 configurations: {100 * loader.waited / elapsed:.1f} % of the time waiting for batches")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, frames = Path(name), configurations()
        memmaps = Memmaps(folder, frames)
        view, store = (
            Mapped([(folder / place, write_arrays(folder / place, [frames], kept))])
            for place, kept in (("view", PACKED), ("store", {}))
        )
        batches_per_second(memmaps, view, store)
        waiting(view)


if __name__ == "__main__":
    main()
