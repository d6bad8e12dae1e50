"""Shuffled batches of 64 as torch tensors against the same rows of numpy memmaps, and what a training step waits."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlpdata.frames import I64, ragged_index
from mlpdata.loader import Loader
from mlpdata.loader.sampler import Sampler
from mlpdata.schema.params import ModelParams
from mlpdata.schema.properties import ATOM, PROPERTIES
from mlpdata.training.model import Potential, Statistics

N_CONFIGURATIONS, BATCH_SIZE, ROUNDS = 20_000, 64, 5
NAMES = ("atomic_numbers", "positions", "cell", "pbc", "energy", "forces", "stress")


class Memmaps:
    """A numpy memmap a property, float32 but for the energy: the fastest source there can be."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.n_atoms = rng.integers(8, 28, N_CONFIGURATIONS)
        self._start = np.concatenate(([0], np.cumsum(self.n_atoms)))
        self._arrays = {name: self._written(folder / f"{name}.npy", name, rng) for name in NAMES}

    def _written(self, path: Path, name: str, rng: np.random.Generator) -> NDArray[Any]:
        row = PROPERTIES[name]
        shape = (int(self._start[-1]) if row.level == ATOM else N_CONFIGURATIONS, *row.shape)
        dtype = np.float32 if row.dtype == "float64" and name != "energy" else row.dtype
        values = {"atomic_numbers": 14, "pbc": 1, "cell": 7 * np.eye(3)}.get(name)
        np.save(path, (rng.uniform(0, 7, shape) if values is None else np.broadcast_to(values, shape)).astype(dtype))
        return np.load(path, mmap_mode="r")

    def gather_many(
        self, names: Sequence[str], rows: I64, out: Mapping[str, NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """The arrays `names` of `rows`."""
        atoms = ragged_index(self._start[rows], self.n_atoms[rows])
        place = out or {}
        return {
            name: self._arrays[name].take(
                atoms if PROPERTIES[name].level == ATOM else rows,
                axis=0,
                out=place.get(name),
                mode="clip" if name in place else "raise",
            )
            for name in names
        }


def rate(batches: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in batches():
        pass
    return count / (time.perf_counter() - start)


def batches_per_second(source: Memmaps) -> None:
    rows = np.arange(N_CONFIGURATIONS)
    order = Sampler(rows, source.n_atoms, BATCH_SIZE).batches(0)
    ways: dict[str, Callable[[], Any]] = {
        "numpy memmap": lambda: (source.gather_many(NAMES, batch) for batch in order),
        "loader, in the thread of the caller": lambda: Loader(source, rows, BATCH_SIZE, None, threads=0),
        "loader, one thread ahead": lambda: Loader(source, rows, BATCH_SIZE, None),
        "loader with edges to 5 angstrom": lambda: Loader(source, rows[:2048], BATCH_SIZE, 5.0),
    }
    counts = [len(order)] * 3 + [2048 // BATCH_SIZE]
    pairs = list(zip(ways.values(), counts, strict=True))
    best = np.array([[rate(way, count) for way, count in pairs] for _ in range(ROUNDS)]).max(axis=0)
    for name, found in zip(ways, best, strict=True):
        print(f"{name}: {found:.0f} batches/s, {found / best[0]:.2f} of memmap")


def waiting(source: Memmaps) -> None:
    model = Potential(ModelParams(), {14: -150.0}, Statistics(1.0, 25.0, 0.0)).train()
    loader = Loader(source, np.arange(256), 8, 5.0)
    before = time.perf_counter()
    for batch in loader:
        torch.nan_to_num(model(batch).forces).square().sum().backward()
    spent = time.perf_counter() - before
    print(f"training steps of 8 configurations: {100 * loader.waited / spent:.1f} % of the time waiting for batches")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Memmaps(Path(folder))
        batches_per_second(source)
        waiting(source)


if __name__ == "__main__":
    main()
