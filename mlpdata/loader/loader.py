"""Loader: batches of a source, read ahead by threads of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import IterableDataset, get_worker_info

from mlpdata.digest import sha256_json
from mlpdata.errors import UsageError
from mlpdata.frames import I64
from mlpdata.loader.batch import Batch, Packer, Rows
from mlpdata.loader.device_lists import AUTO, on_device, with_edges
from mlpdata.loader.edge_counts import expected_edges
from mlpdata.loader.prefetch import ahead
from mlpdata.loader.sampler import GLOBAL, Plan, Sampler

TOGETHER = 8
"""Batches that a thread hands over at once where it builds no lists: to wake another thread costs half a batch."""


class Loader(IterableDataset[Batch]):
    """Iterates over the batches of one epoch, then moves on to the next.

    The order depends on (seed, epoch) alone, whatever the number of threads. Leaving a loop early ends the threads, and
    the next loop begins the same epoch again.

    In a group of processes (`torch.distributed`, or `rank` and `world_size`) each has its share of the same epoch: see
    `Sampler.batches`. `torch.utils.data.DataLoader(loader, batch_size=None, num_workers=2)` gives the same batches in
    the same order; its workers leave them on the CPU. A loader may be used in a fork of the process that made it.

    Args:
        source: where configurations are read.
        rows: which of them, shape (n_configurations,).
        batch_size: most configurations in a batch.
        cutoff: longest edge [angstrom]; None for batches without edges.
        max_atoms: most atoms in a batch; None for no bound.
        max_edges: most edges that a batch is expected to have, see `edge_counts`; None for no bound.
        seed: of the order.
        shuffle: whether each epoch has an order of its own.
        sampler: `global`, or `block` for a source larger than memory: see `sampler.SAMPLERS`.
        drop_last: whether a last batch of fewer than `batch_size` configurations is left out; among several processes,
            the last round too if there is not a batch for each.
        threads: that read ahead; 0 reads in the thread of the caller.
        prefetch: batches read ahead.
        device: where the batches go.
        dtype: float32 or float64, of everything real but the energy.
        lists: where neighbour lists are built: `cpu`, `device`, or `auto`, see `device_lists`.
        rank: which of the processes this one is; None to ask `torch.distributed`, alone where it does not run.
        world_size: how many processes there are.

    Raises:
        UsageError: arguments that cannot be.
    """

    def __init__(
        self,
        source: Rows,
        rows: ArrayLike,
        batch_size: int,
        cutoff: float | None,
        *,
        max_atoms: int | None = None,
        max_edges: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        sampler: str = GLOBAL,
        drop_last: bool = False,
        threads: int = 1,
        prefetch: int = 8,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        lists: str = AUTO,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__()
        which = np.array(rows, np.int64)
        n_edges = None
        if max_edges is not None:
            if cutoff is None:
                raise UsageError("expected a cutoff where edges are bounded, found none. Give a cutoff.")
            n_edges = expected_edges(source, which, cutoff)
        self._sampler = Sampler(
            which, source.n_atoms[which], batch_size, max_atoms, seed, shuffle, drop_last, max_edges, n_edges, sampler
        )
        self._source, self._cutoff, self._dtype, self._device = source, cutoff, dtype, torch.device(device)
        self._lists_on_device = on_device(lists, self._device)
        self._shard = _checked_shard(rank, world_size)
        self._threads, self._prefetch = threads, max(prefetch, threads)
        self._epoch = self._position = self._start = 0
        self._planned: tuple[tuple[int, ...], Plan] | None = None
        self.waited = 0.0
        """Time that the consumer waited for batches [s]; set it to zero as you like."""

    def __len__(self) -> int:
        """Batches of the whole epoch in this process."""
        return len(self._plan())

    def set_epoch(self, epoch: int) -> None:
        """Make the next loop run over `epoch`: from its beginning, or from where `restore` put it in that epoch."""
        if epoch != self._epoch:
            self._epoch, self._start = epoch, 0
        self._position = self._start

    def state(self) -> dict[str, Any]:
        """Where the iteration stands.

        Returns:
            epoch; position, the number of batches handed out of it; and recipe, the digest of what fixes the order, the
            same in all processes of a group. Who reads through a DataLoader, whose workers hand out the batches, counts
            them and sets the position.
        """
        return {"recipe": self._recipe(), "epoch": self._epoch, "position": self._position}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Make the next loop go on after the last batch that `state` saw.

        Raises:
            UsageError: the state of a loader with other rows, bounds, seed, sampler or number of processes.
        """
        if state["recipe"] != self._recipe():
            raise UsageError(
                "expected the state of a loader with the same rows, bounds, seed, sampler and number of processes, "
                "found another. Make the loader as it was."
            )
        self._epoch, self._start = int(state["epoch"]), int(state["position"])
        self._position = self._start

    def __iter__(self) -> Iterator[Batch]:
        plan, epoch, worker = self._plan(), self._epoch, get_worker_info()
        self._position, self._start = self._start, 0
        if worker is None:
            read, threads, numbers = self._reader(), self._threads, range(self._position, len(plan))
        else:  # it is ahead of its consumer without threads, and a fork cannot use a GPU
            read, threads = Packer(self._source, self._cutoff, self._dtype), 0
            numbers = range(self._position + worker.id, len(plan), worker.num_workers)
        together = (
            TOGETHER if self._cutoff is None or self._lists_on_device else 1
        )  # vesin takes far longer than a hand-over
        with closing(ahead(lambda number: read(plan[number]), numbers, threads, self._prefetch, together)) as batches:
            while True:
                before = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - before
                if batch is None:
                    break
                self._position += 1
                yield batch
        self.set_epoch(epoch + 1)

    def _reader(self) -> Callable[[I64], Batch]:
        """Reads rows into a batch on the device."""
        device, cutoff, pinned = self._device, self._cutoff, self._device.type == "cuda"
        if cutoff is None or not self._lists_on_device:
            pack = Packer(self._source, cutoff, self._dtype, pinned=pinned)
            return lambda rows: pack(rows).to(device)
        bare = Packer(self._source, None, self._dtype, pinned=pinned)
        return lambda rows: with_edges(bare(rows).to(device), cutoff)

    def _plan(self) -> Plan:
        """The batches of this epoch in this process; the last plan is kept, since its length is asked for often."""
        key = (self._epoch, *self._process())
        if self._planned is None or self._planned[0] != key:
            self._planned = key, self._sampler.batches(*key)
        return self._planned[1]

    def _process(self) -> tuple[int, int]:
        """Which of the processes this one is, and how many there are."""
        if self._shard is not None:
            return self._shard
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _recipe(self) -> str:
        return sha256_json({"sampler": self._sampler.recipe, "world_size": self._process()[1]})


def _checked_shard(rank: int | None, world_size: int | None) -> tuple[int, int] | None:
    """The two together; None if neither is given."""
    if rank is None and world_size is None:
        return None
    if rank is None or world_size is None or not 0 <= rank < world_size:
        raise UsageError(f"expected 0 <= rank < world_size, found rank {rank}, world_size {world_size}.")
    return rank, world_size
