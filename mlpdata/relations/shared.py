"""Shared: which configurations of which runs have the same geometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlpdata.digest import ID_BYTES
from mlpdata.relations.runs import Run

I64 = NDArray[np.int64]


class Shared:
    """The configurations of all runs, one after the other, with the number of their geometry."""

    def __init__(self, runs: Sequence[Run]) -> None:
        counts = np.array([len(run) for run in runs], np.int64)
        self.start: I64 = np.concatenate(([0], counts.cumsum()))
        """First configuration of each run, and the end."""
        self.run: I64 = np.repeat(np.arange(len(runs)), counts)
        """Run of each configuration."""
        ids = np.concatenate([np.empty((0, ID_BYTES), np.uint8), *(run.geometry_ids for run in runs)])
        words = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
        order = np.lexsort(words.T)
        new = np.ones(len(order), bool)
        new[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
        self.geometry: I64 = np.empty(len(order), np.int64)
        """Number of the geometry of each configuration."""
        self.geometry[order] = new.cumsum() - 1
        self._sorted = order

    def first(self, run: int) -> int:
        """Number of the geometry that a run begins with; -1 where it has no configuration."""
        start = self.start[run]
        return int(self.geometry[start]) if start < self.start[run + 1] else -1

    def of(self, run: int) -> I64:
        """Numbers of the geometries of a run, in order."""
        return self.geometry[self.start[run] : self.start[run + 1]]

    def pairs(self) -> I64:
        """Runs that share a geometry, shape (n, 2): each is joined with the next one that has it."""
        one, next_one = self._sorted[:-1], self._sorted[1:]
        same = (self.geometry[one] == self.geometry[next_one]) & (self.run[one] != self.run[next_one])
        return np.unique(np.stack([self.run[one][same], self.run[next_one][same]], axis=1), axis=0)

    def places(self, which: NDArray[np.bool_]) -> Places:
        """Where each geometry is among the configurations in `which`."""
        chosen = self._sorted[which[self._sorted]]
        return Places(chosen, self.geometry[chosen])


class Places:
    """Configurations sorted by their geometry, those of one geometry by run."""

    def __init__(self, configurations: I64, geometry: I64) -> None:
        self._configurations, self._geometry = configurations, geometry

    def of(self, geometry: int) -> I64:
        """The configurations that have a geometry."""
        first, last = np.searchsorted(self._geometry, [geometry, geometry + 1])
        return self._configurations[first:last]
