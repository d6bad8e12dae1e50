"""mlpdata itself: the store as committed, and a view frozen from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mlpdata
from mlpdata.curate import freeze as views
from mlpdata.frames import I64, Frames
from mlpdata.store.commit import Repository
from store.large import RUN_LENGTH, calculation

NAMES = ("positions", "forces", "energy")


def write(folder: Path, frames: Frames, n_segments: int = 1) -> None:
    """Stage and commit, `RUN_LENGTH` configurations a calculation, as many commits as segments."""
    repository = Repository.create(folder / "store")
    for part in np.array_split(np.arange(len(frames)), n_segments):
        with repository.stage() as writer:
            for first in range(part[0], part[-1] + 1, RUN_LENGTH):
                rows = np.arange(first, min(first + RUN_LENGTH, part[-1] + 1))
                writer.begin()
                writer.append(frames.select(rows))
                writer.end(calculation(first))
            repository.commit(writer)


class Store:
    """The snapshot, mapped."""

    def __init__(self, folder: Path) -> None:
        self._mapped = mlpdata.Store(folder / "store").snapshot().opened.mapped

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        return self._mapped.gather_many(NAMES, rows)


def freeze(folder: Path, frames: Frames) -> None:
    """All configurations as a view, in the order that it gives them."""
    everything = np.full(len(frames), "all")
    views.freeze(
        _InMemory(frames), frames.ids(), {"train": np.arange(len(frames))}, folder / "view",
        content="0" * 64, kinds=everything, groups=everything,
    )  # fmt: skip
    place = {name: row for row, name in enumerate(map(bytes, views.open_view(folder / "view").ids))}
    np.save(folder / "rows.npy", [place[name] for name in map(bytes, frames.ids())])


class _InMemory:
    def __init__(self, frames: Frames) -> None:
        self.n_atoms, self.frames = frames.n_atoms, frames.select


class View:
    """The view, mapped; asked by the order in which configurations were given."""

    def __init__(self, folder: Path) -> None:
        self._mapped = views.open_view(folder / "view").mapped
        self._rows = np.load(folder / "rows.npy")

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        return self._mapped.gather_many(NAMES, self._rows.take(rows))
