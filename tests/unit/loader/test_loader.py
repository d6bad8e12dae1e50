"""The loader: one order whatever the threads, errors that reach the consumer, resumption in mid-epoch."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlpdata.errors import CorruptError, UsageError
from mlpdata.frames import I64, Frames
from mlpdata.loader import Loader
from mlpdata.loader.batch import Batch, FramesSource

N = 30
Out = Mapping[str, NDArray[Any]] | None


class Source(FramesSource):
    """Configuration k has k % 3 + 1 atoms and energy k; reading a row in `bad` fails, of a row in `slow` takes long."""

    def __init__(self, bad: Iterable[int] = (), slow: Iterable[int] = ()) -> None:
        n_atoms = np.arange(N) % 3 + 1
        total = int(n_atoms.sum())
        positions = np.random.default_rng(0).uniform(0, 3, (total, 3))
        arrays = {"atomic_numbers": np.ones(total), "positions": positions, "pbc": np.zeros((N, 3))}
        super().__init__(Frames(n_atoms, {**arrays, "energy": np.arange(N, dtype=float)}))
        self.bad, self.slow, self.reads = set(bad), set(slow), 0

    def gather_many(self, names: Sequence[str], rows: I64, out: Out = None) -> dict[str, NDArray[Any]]:
        self.reads += bool(len(rows))
        if self.bad & set(rows.tolist()):
            raise CorruptError("expected a row, found noise.")
        if self.slow & set(rows.tolist()):
            time.sleep(0.01)
        return super().gather_many(names, rows, out)


def loader(source: Source | None = None, cutoff: float | None = 2.0, **options: Any) -> Loader:
    return Loader(source or Source(), np.arange(N), 4, cutoff, **options)


def rows(batches: Iterable[Batch]) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches]


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mlpdata-loader")]


@pytest.mark.parametrize("cutoff", [None, 2.0])
def test_the_order_of_batches_does_not_depend_on_threads(cutoff: float | None) -> None:
    expected = rows(loader(threads=0))

    assert len(expected) == 8
    for threads, prefetch in ((1, 1), (1, 5), (3, 2), (4, 16)):
        slow = Source(slow=expected[0] + expected[3])
        assert rows(loader(slow, cutoff, threads=threads, prefetch=prefetch)) == expected


def test_a_batch_holds_the_labels_of_its_rows() -> None:
    for batch in loader():
        assert batch.energy.tolist() == batch.rows.tolist()
        assert batch.n_atoms.tolist() == [row % 3 + 1 for row in batch.rows.tolist()]


def test_each_loop_is_an_epoch_with_an_order_of_its_own() -> None:
    once = loader()
    first, second = rows(once), rows(once)

    assert first != second
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(N))
    once.set_epoch(1)
    assert rows(once) == second


@pytest.mark.parametrize("cutoff", [None, 2.0])
@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_of_a_thread_is_raised_in_the_loop_at_its_batch(threads: int, cutoff: float | None) -> None:
    order = rows(loader(threads=0))
    reading = iter(loader(Source(bad=order[2]), cutoff, threads=threads))

    assert [next(reading).rows.tolist() for _ in range(2)] == order[:2]
    with pytest.raises(CorruptError, match="found noise"):
        next(reading)
    assert loader_threads() == []


def test_threads_end_when_the_loop_is_left_early() -> None:
    for _ in loader(threads=2, prefetch=6):
        assert loader_threads()
        break

    assert loader_threads() == []


def test_leaving_a_loop_early_begins_the_epoch_again() -> None:
    once = loader()
    left = next(iter(once)).rows.tolist()

    assert rows(once)[0] == left


def test_reading_ahead_is_bounded() -> None:
    source = Source()
    reading = iter(loader(source, threads=1, prefetch=2))

    next(reading)
    time.sleep(0.1)
    assert source.reads <= 3
    reading.close()


def test_a_restored_loader_goes_on_in_mid_epoch_with_the_next_batch() -> None:
    whole = loader(threads=2)
    whole.set_epoch(5)
    expected = rows(whole) + rows(whole)
    stopped = loader(threads=2)
    stopped.set_epoch(5)
    seen = []
    for batch in stopped:
        seen.append(batch.rows.tolist())
        if len(seen) == 3:
            break

    resumed = loader(threads=0)
    resumed.restore(stopped.state())

    assert (stopped.state()["epoch"], stopped.state()["position"]) == (5, 3)
    assert seen + rows(resumed) + rows(resumed) == expected


def test_after_the_last_batch_the_state_is_the_beginning_of_the_next_epoch() -> None:
    once = loader()
    list(once)

    assert (once.state()["epoch"], once.state()["position"]) == (1, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"shuffle": False},
        {"sampler": "block"},
        {"max_atoms": 5},
        {"max_edges": 50},
        {"drop_last": True},
        {"rank": 0, "world_size": 2},
    ],
)
def test_the_state_of_another_recipe_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="found another"):
        loader(**other).restore(loader().state())


def test_the_state_of_other_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="found another"):
        Loader(Source(), np.arange(N - 1), 4, 2.0).restore(loader().state())


def test_what_does_not_change_the_order_does_not_change_the_recipe() -> None:
    state = loader(threads=3, rank=1, world_size=2).state()

    loader(threads=0, prefetch=9, dtype=torch.float64, rank=0, world_size=2).restore(state)


def test_the_epoch_that_a_state_restored_may_be_set_again() -> None:
    expected = rows(loader())
    resumed = loader()
    resumed.restore({**loader().state(), "position": 3})

    resumed.set_epoch(0)

    assert resumed.state()["position"] == 3
    assert rows(resumed) == expected[3:]


def test_the_length_is_the_number_of_batches_of_the_epoch() -> None:
    assert len(loader()) == 8
    assert len(loader(drop_last=True)) == len(list(loader(drop_last=True))) == 7
    by_atoms = loader(max_atoms=5)
    assert len(by_atoms) == len(list(by_atoms))


def test_a_subset_of_rows_in_double_precision_without_edges() -> None:
    (batch,) = Loader(Source(), [7, 2], 4, None, shuffle=False, dtype=torch.float64)

    assert batch.rows.tolist() == [7, 2]
    assert batch.positions.dtype == torch.float64
    assert batch.edge_index.shape == (2, 0)


def test_waiting_for_batches_is_timed() -> None:
    slow = loader(Source(slow=range(N)), threads=0)
    list(slow)

    assert slow.waited > 8 * 0.01
