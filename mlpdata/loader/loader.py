"""Loader: batches of a source, read ahead by threads of this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import numpy as np
import torch
from numpy.typing import ArrayLike

from mlpdata.errors import UsageError
from mlpdata.frames import I64
from mlpdata.loader.batch import Batch, Rows, collate
from mlpdata.loader.sampler import Sampler


class Loader:
    """Iterates over the batches of one epoch, then moves on to the next.

    The order depends on (seed, epoch) alone, whatever the number of threads. Leaving a loop early ends the threads, and
    the next loop begins the same epoch again.

    Args:
        source: where configurations are read.
        rows: which of them, shape (n_configurations,).
        batch_size: most configurations in a batch.
        cutoff: longest edge [angstrom]; None for batches without edges.
        max_atoms: most atoms in a batch; None for no bound.
        seed: of the order.
        shuffle: whether each epoch has an order of its own.
        drop_last: whether a last batch of fewer than `batch_size` configurations is left out.
        threads: that read ahead; 0 reads in the thread of the caller.
        prefetch: batches read ahead.
        device: where the batches go.
        dtype: float32 or float64, of everything real but the energy.
    """

    def __init__(
        self,
        source: Rows,
        rows: ArrayLike,
        batch_size: int,
        cutoff: float | None,
        *,
        max_atoms: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        threads: int = 1,
        prefetch: int = 2,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        which = np.array(rows, np.int64)
        self._source = source
        self._sampler = Sampler(which, source.n_atoms[which], batch_size, max_atoms, seed, shuffle, drop_last)
        self._cutoff, self._dtype, self._device = cutoff, dtype, device
        self._threads, self._prefetch = threads, max(prefetch, threads)
        self._epoch = self._position = self._start = 0
        self.waited = 0.0
        """Time that the consumer waited for batches [s]; set it to zero as you like."""

    def __len__(self) -> int:
        """Batches of the whole epoch."""
        return len(self._sampler.batches(self._epoch))

    def set_epoch(self, epoch: int) -> None:
        """Make the next loop run over `epoch`, from its beginning."""
        self._epoch, self._start, self._position = epoch, 0, 0

    def state(self) -> dict[str, int]:
        """Where the iteration stands: seed, epoch, and position, the number of batches handed out of it."""
        return {"seed": self._sampler.seed, "epoch": self._epoch, "position": self._position}

    def restore(self, state: Mapping[str, int]) -> None:
        """Make the next loop go on after the last batch that `state` saw.

        Raises:
            UsageError: the state of a loader with another seed.
        """
        if state["seed"] != self._sampler.seed:
            raise UsageError(
                f"expected the state of a loader with seed {self._sampler.seed}, found seed {state['seed']}."
            )
        self._epoch, self._start, self._position = state["epoch"], state["position"], state["position"]

    def __iter__(self) -> Iterator[Batch]:
        epoch, self._position, self._start = self._epoch, self._start, 0
        waiting = self._sampler.batches(epoch)[self._position :]
        with closing(self._ahead(waiting) if self._threads else (self._read(rows) for rows in waiting)) as batches:
            while True:
                before = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - before
                if batch is None:
                    break
                self._position += 1
                yield batch
        self.set_epoch(epoch + 1)

    def _read(self, rows: I64) -> Batch:
        return collate(self._source, rows, self._cutoff, self._dtype).to(self._device)

    def _ahead(self, waiting: list[I64]) -> Generator[Batch]:
        """Batches in order, the next ones being read meanwhile."""
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="mlpdata-loader")
        reading: deque[Future[Batch]] = deque()
        try:
            for rows in waiting:
                reading.append(pool.submit(self._read, rows))
                if len(reading) > self._prefetch:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
