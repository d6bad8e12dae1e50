"""The loader among processes: workers of a DataLoader, forks, ranks."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from mlpdata.errors import UsageError
from mlpdata.frames import Frames
from mlpdata.loader import Loader
from mlpdata.loader.batch import Batch, Packer
from mlpdata.store.arrays import write_arrays
from mlpdata.store.mapping import Mapped

N = 50


def frames(count: int = N) -> Frames:
    random = np.random.default_rng(0)
    n_atoms = np.arange(count) % 3 + 1
    total = int(n_atoms.sum())
    return Frames(
        n_atoms,
        {
            "atomic_numbers": random.integers(1, 20, total),
            "positions": random.uniform(0, 3, (total, 3)),
            "pbc": np.zeros((count, 3)),
            "energy": np.arange(count, dtype=float),
            "forces": random.normal(size=(total, 3)),
        },
    )


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Mapped]:
    """A store of two segments on the disk."""
    block = frames()
    halves = [block.select(np.arange(0, 20)), block.select(np.arange(20, N))]
    parts = [
        (tmp_path / str(number), write_arrays(tmp_path / str(number), [half])) for number, half in enumerate(halves)
    ]
    with Mapped(parts) as opened:
        yield opened


def loader(source: Any, *, cutoff: float | None = 2.0, **options: Any) -> Loader:
    return Loader(source, np.arange(N), 4, cutoff, **options)


def bits(batches: Any) -> list[dict[str, bytes]]:
    return [{name: tensor.numpy().tobytes() for name, tensor in batch.tensors.items()} for batch in batches]


def in_a_fork(check: Callable[[], None]) -> None:
    """Run `check` in a fork of this process, which must end well within half a minute."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            import signal

            signal.alarm(30)
            check()
            status = 0
        except BaseException:  # noqa: BLE001  whatever it is, the parent is to see it, and pytest runs in one process
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("options", [{}, {"sampler": "block"}, {"max_edges": 20}, {"cutoff": None}])
def test_batches_are_the_same_bits_whatever_the_threads(mapped: Mapped, options: Any) -> None:
    expected = bits(loader(mapped, threads=0, **options))

    for threads in (1, 2, 4):
        assert bits(loader(mapped, threads=threads, prefetch=5, **options)) == expected


@pytest.mark.parametrize("sampler", ["global", "block"])
@pytest.mark.parametrize("bounds", [{}, {"max_atoms": 7}, {"max_edges": 12}])
@pytest.mark.parametrize("rank", [0, 2])
def test_any_position_of_any_rank_can_be_resumed(mapped: Mapped, sampler: str, bounds: Any, rank: int) -> None:
    options = {"sampler": sampler, "rank": rank, "world_size": 3, **bounds}
    whole = loader(mapped, **options)
    whole.set_epoch(2)
    expected = bits(whole) + bits(whole)

    for position in (0, 1, 3):
        stopped = loader(mapped, **options)
        stopped.set_epoch(2)
        for number, _ in enumerate(stopped, 1):
            if number == position:
                break
        else:
            stopped.restore({**stopped.state(), "epoch": 2})
        resumed = loader(mapped, threads=0, **options)
        resumed.restore({**stopped.state(), "position": position})
        assert bits(resumed) + bits(resumed) == expected[position:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataloader_gives_the_same_batches_in_the_same_order(mapped: Mapped, num_workers: int) -> None:
    expected = bits(loader(mapped, threads=0))

    found = list(
        DataLoader(loader(mapped), batch_size=None, num_workers=num_workers, multiprocessing_context=fork(num_workers))
    )

    assert all(isinstance(batch, Batch) for batch in found)
    assert bits(found) == expected


def fork(num_workers: int) -> str | None:
    return "fork" if num_workers else None


def test_a_dataloader_goes_on_where_a_state_says(mapped: Mapped) -> None:
    whole = loader(mapped, threads=0)
    whole.set_epoch(3)
    expected = bits(whole)
    resumed = loader(mapped)
    resumed.restore({**resumed.state(), "epoch": 3, "position": 5})

    found = DataLoader(resumed, batch_size=None, num_workers=2, multiprocessing_context="fork")

    assert bits(found) == expected[5:]


def test_workers_of_a_rank_share_what_the_rank_has(mapped: Mapped) -> None:
    found = []
    for rank in range(2):
        shard = loader(mapped, rank=rank, world_size=2)
        found += [batch.rows.tolist() for batch in DataLoader(shard, batch_size=None, num_workers=2)]

    assert sorted(row for rows in found for row in rows) == list(range(N))


def test_a_trainer_that_sets_the_epoch_sees_another_order_in_each(mapped: Mapped) -> None:
    one = loader(mapped)
    for loaded in (one, DataLoader(one, batch_size=None)):
        seen = []
        for epoch in (0, 1, 0):
            one.set_epoch(epoch)
            assert len(loaded) == 13
            seen.append([batch.rows.tolist() for batch in loaded])
        assert seen[0] == seen[2] != seen[1]


def test_a_loader_made_before_a_fork_works_in_the_child(mapped: Mapped) -> None:
    one = loader(mapped, threads=2)
    expected = bits(loader(mapped, threads=0))
    ahead = iter(one)
    next(ahead)  # the threads of the parent are at work while it forks

    def check() -> None:
        assert bits(loader(mapped, threads=2)) == expected
        one.set_epoch(0)
        assert bits(one) == expected

    in_a_fork(check)
    ahead.close()
    assert bits(one) == expected


def test_a_loop_that_goes_on_in_a_fork_is_refused_instead_of_hanging(mapped: Mapped) -> None:
    ahead = iter(loader(mapped, threads=1))
    next(ahead)

    def check() -> None:
        with pytest.raises(UsageError, match="found a fork of it"):
            next(ahead)

    in_a_fork(check)
    ahead.close()


def test_ranks_come_from_torch_distributed_where_it_runs(mapped: Mapped, tmp_path: Path) -> None:
    one = loader(mapped)  # made before the group is
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                meeting = f"file://{tmp_path}/meeting"
                torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
                rows = [row for batch in one for row in batch.rows.tolist()]
                (tmp_path / f"{rank}-{len(one)}").write_text(" ".join(map(str, rows)))
                torch.distributed.barrier()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]

    found = [(tmp_path / f"{rank}-7").read_text().split() for rank in range(2)]
    assert sorted(int(row) for rows in found for row in rows) == list(range(N))


@pytest.mark.parametrize(
    "place", [{"rank": 0}, {"world_size": 2}, {"rank": 2, "world_size": 2}, {"rank": -1, "world_size": 2}]
)
def test_a_rank_that_cannot_be_is_refused(mapped: Mapped, place: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="rank < world_size"):
        loader(mapped, **place)


@contextmanager
def events() -> Iterator[list[int]]:
    """Counts calls of functions, of Python and of C, while it lasts."""
    counted = [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        counted[0] += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_costs_no_python_object_and_no_call_a_configuration(dtype: torch.dtype, tmp_path: Path) -> None:
    source = Mapped([(tmp_path / "one", write_arrays(tmp_path / "one", [frames(8192)]))])
    pack = Packer(source, None, dtype)
    calls, blocks, objects = [], [], []
    for size in (64, 4096):
        rows = np.arange(size)
        pack(rows)  # the first reading verifies checksums
        with events() as counted:
            pack(rows)
        calls.append(counted[0])
        gc.collect()
        before, tracked = sys.getallocatedblocks(), len(gc.get_objects())
        batch = pack(rows)
        blocks.append(sys.getallocatedblocks() - before)
        objects.append(len(gc.get_objects()) - tracked)
        assert batch.n_configurations == size
        del batch

    assert calls[0] == calls[1]
    assert objects[0] == objects[1]
    assert abs(blocks[1] - blocks[0]) < 16  # small integers are cached, larger ones are not


class Seen(Mapped):
    """A store that remembers what it gave last."""

    given: dict[str, NDArray[Any]]

    def gather_many(self, names: Any, rows: Any, out: Any = None) -> dict[str, NDArray[Any]]:
        self.given = super().gather_many(names, rows, out)
        return self.given


def test_what_is_stored_in_the_type_of_the_batch_is_gathered_straight_into_its_buffer(tmp_path: Path) -> None:
    kept = {"positions": "float32", "forces": "float32"}  # as a frozen view keeps them
    source = Seen([(tmp_path / "one", write_arrays(tmp_path / "one", [frames()], kept))])

    single = Packer(source, None, torch.float32)(np.arange(N))
    for name in ("positions", "forces", "energy"):
        assert np.shares_memory(source.given[name], single.tensors[name].numpy()), name

    double = Packer(source, None, torch.float64)(np.arange(N))
    assert not np.shares_memory(source.given["positions"], double.positions.numpy())
    np.testing.assert_array_equal(double.positions.numpy(), source.given["positions"])
