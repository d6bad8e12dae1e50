"""Which configurations come together in which batch: decided by (seed, epoch) alone, and dealt out to ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import overload

import numpy as np

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import UsageError
from mlpdata.frames import I64, ragged_index
from mlpdata.units import F64

GLOBAL, BLOCK = "global", "block"
SAMPLERS = (GLOBAL, BLOCK)
"""`global` shuffles the whole set. `block` shuffles blocks of neighbours in the files, then the configurations in a pool
of blocks: for sets larger than memory, where a disk reads ranges fast and single configurations slowly."""
BLOCK_SIZE, POOL_SIZE = 256, 64
"""Configurations in a block, and blocks in a pool."""


class Plan(Sequence[I64]):
    """The batches of one epoch, each cut out when it is asked for: no object a batch is kept.

    Args:
        rows: of the source, in the order of the epoch, shape (n,).
        bounds: first place of each batch in that order and the place after its last, shape (n_batches, 2).
    """

    def __init__(self, rows: I64, bounds: I64) -> None:
        self._rows, self._bounds = rows, bounds

    def __len__(self) -> int:
        return len(self._bounds)

    @overload
    def __getitem__(self, number: int) -> I64: ...
    @overload
    def __getitem__(self, number: slice) -> Plan: ...
    def __getitem__(self, number: int | slice) -> I64 | Plan:
        if isinstance(number, slice):
            return Plan(self._rows, self._bounds[number])
        start, stop = self._bounds[number].tolist()
        return self._rows[start:stop]


@dataclass(frozen=True, eq=False)
class Sampler:
    """Batches of rows, in an order of each epoch.

    Raises:
        UsageError: a bound that is not positive, or an order that does not exist.
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
    """Whether a last batch of fewer than `batch_size` configurations, or a round of batches that does not reach all
    ranks, is left out."""
    max_edges: float | None = None
    """Most edges that a batch is expected to have; a larger configuration comes alone. None for no bound."""
    n_edges: F64 | None = None
    """Edges that each of `rows` is expected to have, shape (n_configurations,); needed by `max_edges`."""
    order: str = GLOBAL
    """How epochs are shuffled: one of `SAMPLERS`."""

    def __post_init__(self) -> None:
        bounds = {"batch_size": self.batch_size, "max_atoms": self.max_atoms, "max_edges": self.max_edges}
        for name, bound in bounds.items():
            if bound is not None and bound < 1:
                raise UsageError(f"expected {name} of at least 1, found {bound}.")
        if self.order not in SAMPLERS:
            raise UsageError(f"expected a sampler of {', '.join(SAMPLERS)}, found {self.order!r}.")

    def batches(self, epoch: int, rank: int = 0, world_size: int = 1) -> Plan:
        """The rows of each batch of `epoch` that process `rank` of `world_size` has.

        All have equally many batches, no configuration comes twice, and none is left out: the last round is divided
        until there is a batch for everyone. Only where fewer configurations than processes are left, as many of the
        first ones of the epoch as are missing, at most `world_size` - 1, come a second time.
        """
        order = self._order(epoch)
        starts = np.array(self._starts(order), np.int64)
        stops = np.append(starts[1:], len(order)).astype(np.int64)[: len(starts)]
        bounds = np.stack([starts, stops], axis=1)
        if self.drop_last and len(bounds) and bounds[-1, 1] - bounds[-1, 0] < self.batch_size:
            bounds = bounds[:-1]
        return Plan(self.rows[order], self._for_all(bounds, world_size)[rank::world_size])

    @cached_property
    def recipe(self) -> str:
        """Digest of all that the order of every epoch depends on."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return sha256_json(
            {name: sha256(value.tobytes()) if isinstance(value, np.ndarray) else value for name, value in shown.items()}
        )

    def _order(self, epoch: int) -> I64:
        """Places in `rows` in the order of the epoch."""
        count = len(self.rows)
        if not self.shuffle:
            return np.arange(count)
        random = np.random.default_rng((self.seed, epoch))
        if self.order == GLOBAL:
            return random.permutation(count)
        return np.argsort(self.rows, kind="stable")[_by_blocks(count, random)]

    def _starts(self, order: I64) -> list[int]:
        """Place in `order` at which each batch begins."""
        bounds = [(self.n_atoms, self.max_atoms), (self.n_edges, self.max_edges)]
        sums = [(np.cumsum(size[order]), most) for size, most in bounds if most is not None and size is not None]
        if not sums:
            return list(range(0, len(order), self.batch_size))
        starts, start = [], 0
        while start < len(order):
            starts.append(start)
            stop = start + self.batch_size
            for ends, most in sums:
                before = ends[start - 1] if start else 0
                stop = min(stop, int(np.searchsorted(ends, before + most, side="right")))
            start = max(stop, start + 1)
        return starts

    def _for_all(self, bounds: I64, world_size: int) -> I64:
        """The batches with the last round complete, so that every process has one of it."""
        whole = len(bounds) // world_size * world_size
        if whole == len(bounds) or self.drop_last:
            return bounds[:whole]
        return np.concatenate([bounds[:whole], _divided(bounds[whole:], world_size)])


def _by_blocks(count: int, random: np.random.Generator) -> I64:
    """Places from 0 to `count`: blocks in random order, and the places of each pool of blocks in random order."""
    blocks = random.permutation(-(-count // BLOCK_SIZE))
    lengths = np.minimum(BLOCK_SIZE, count - blocks * BLOCK_SIZE)
    places = ragged_index(blocks * BLOCK_SIZE, lengths)
    for pool in np.split(places, np.cumsum(lengths)[POOL_SIZE - 1 : -1 : POOL_SIZE]):
        random.shuffle(pool)  # a view of `places`
    return places


def _divided(bounds: I64, count: int) -> I64:
    """`count` batches of the same configurations as the fewer `bounds`, none larger than before; see `batches`."""
    sizes = bounds[:, 1] - bounds[:, 0]
    parts = np.ones(len(bounds), np.int64)
    while parts.sum() < min(count, sizes.sum()):
        parts[np.argmax(np.where(parts < sizes, sizes / parts, 0.0))] += 1
    cuts = [
        start + np.arange(part + 1) * size // part for start, size, part in zip(bounds[:, 0], sizes, parts, strict=True)
    ]
    divided = np.concatenate([np.stack([cut[:-1], cut[1:]], axis=1) for cut in cuts])
    again = np.arange(count - len(divided)) % bounds[-1, 1]
    return np.concatenate([divided, np.stack([again, again + 1], axis=1)])
