"""Which configurations come together in which batch: decided by (seed, epoch) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlpdata.errors import UsageError
from mlpdata.frames import I64


@dataclass(frozen=True, eq=False)
class Sampler:
    """Batches of rows, shuffled over the whole set in each epoch.

    Raises:
        UsageError: a bound that is not positive.
    """

    rows: I64
    """Rows of the source to draw from, shape (n_configurations,)."""
    n_atoms: I64
    """Atoms of each of `rows`, shape (n_configurations,)."""
    batch_size: int
    """Most configurations in a batch."""
    max_atoms: int | None = None
    """Most atoms in a batch; a larger configuration comes alone. None for no bound."""
    seed: int = 0
    """Of the order."""
    shuffle: bool = True
    """Whether each epoch has an order of its own; else the order is that of `rows`."""
    drop_last: bool = False
    """Whether a last batch of fewer than `batch_size` configurations is left out."""

    def __post_init__(self) -> None:
        for name, bound in (("batch_size", self.batch_size), ("max_atoms", self.max_atoms)):
            if bound is not None and bound < 1:
                raise UsageError(f"expected {name} of at least 1, found {bound}.")

    def batches(self, epoch: int) -> list[I64]:
        """The rows of each batch of `epoch`."""
        order = np.arange(len(self.rows))
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.rows))
        batches = np.split(self.rows[order], self._starts(order)[1:]) if len(order) else []
        if self.drop_last and batches and len(batches[-1]) < self.batch_size:
            batches.pop()
        return batches

    def _starts(self, order: I64) -> list[int]:
        """Place in `order` at which each batch begins."""
        if self.max_atoms is None:
            return list(range(0, len(order), self.batch_size))
        ends = np.cumsum(self.n_atoms[order])
        starts, start, before = [], 0, 0
        while start < len(order):
            starts.append(start)
            fitting = int(np.searchsorted(ends, before + self.max_atoms, side="right"))
            start = min(max(fitting, start + 1), start + self.batch_size)
            before = int(ends[start - 1])
        return starts
