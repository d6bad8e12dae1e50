"""One buffer a batch: every tensor is a view of it, and it moves in one copy."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mlpdata.frames import Frames
from mlpdata.loader.batch import Batch, FramesSource, collate
from mlpdata.loader.packing import ALIGNMENT, AXES, Packing


def source(count: int = 5) -> FramesSource:
    random = np.random.default_rng(0)
    n_atoms = np.arange(count) % 4 + 1
    total = int(n_atoms.sum())
    return FramesSource(
        Frames(
            n_atoms,
            {
                "atomic_numbers": random.integers(1, 90, total),
                "positions": random.uniform(0, 3, (total, 3)),
                "pbc": np.zeros((count, 3)),
                "energy": random.normal(size=count),
                "forces": random.normal(size=(total, 3)),
            },
        )
    )


class Copies(TorchDispatchMode):
    """Counts the copies that torch makes from device to device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
        return func(*args, **(kwargs or {}))


def same(one: Batch, other: Batch) -> bool:
    return all(
        tensor.dtype == other.tensors[name].dtype and torch.equal(tensor.nan_to_num(), other.tensors[name].nan_to_num())
        for name, tensor in one.tensors.items()
    )


@pytest.mark.parametrize("cutoff", [None, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_tensors_of_a_batch_lie_one_after_the_other_in_one_buffer(cutoff: float | None, dtype: torch.dtype) -> None:
    batch = collate(source(), range(5), cutoff, dtype)
    assert batch._packed is not None
    _, buffer = batch._packed

    end = 0
    for name in AXES:
        start = batch.tensors[name].data_ptr() - buffer.data_ptr()
        assert batch.tensors[name].numel() == 0 or start - end in range(ALIGNMENT), name
        assert start % ALIGNMENT == 0 or batch.tensors[name].numel() == 0, name
        end = start + batch.tensors[name].nbytes
    assert end <= buffer.nbytes


def test_a_batch_moves_to_a_device_in_one_copy() -> None:
    batch = collate(source(), range(5), 2.0)

    with Copies() as copies:
        moved = batch.to("meta")

    assert copies.count == 1
    assert {name: tensor.shape for name, tensor in moved.tensors.items()} == {
        name: tensor.shape for name, tensor in batch.tensors.items()
    }
    assert len({tensor.untyped_storage()._cdata for tensor in moved.tensors.values()}) == 1


def test_the_views_on_another_device_are_those_of_the_cpu() -> None:
    packing = Packing(2, 7, 4, torch.float32)
    buffer = torch.arange(packing.nbytes, dtype=torch.int64).to(torch.uint8) % 2
    on_cpu = packing.tensors(buffer)
    sliced = packing.tensors(buffer.as_subclass(_Elsewhere))

    for name, tensor in on_cpu.items():
        assert sliced[name].shape == tensor.shape, name
        assert torch.equal(sliced[name].as_subclass(torch.Tensor).nan_to_num(), tensor.nan_to_num()), name


class _Elsewhere(torch.Tensor):
    """Memory of the CPU that says it is a GPU's, so that its views are made as there."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda")


def test_a_batch_with_another_tensor_put_in_moves_with_that_tensor() -> None:
    batch = replace(collate(source(), range(5), 2.0), energy=torch.arange(5.0, dtype=torch.float64))

    sent = pickle.loads(pickle.dumps(batch))

    assert sent.energy.tolist() == [0, 1, 2, 3, 4]
    assert batch.to("meta").energy.shape == (5,)
    assert same(sent, batch)


def test_a_batch_goes_to_another_process_as_one_buffer() -> None:
    batch = collate(source(), range(5), 2.0)

    function, arguments = batch.__reduce__()

    assert sum(isinstance(argument, torch.Tensor) for argument in arguments) == 1
    assert same(function(*arguments), batch)


@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 1, 0), (3, 17, 40)])
def test_a_packing_has_room_for_all_and_its_head_does_not_depend_on_the_edges(counts: tuple[int, int, int]) -> None:
    packing = Packing(*counts, torch.float64)
    tensors = packing.tensors(packing.buffer())

    assert sum(tensor.nbytes for tensor in tensors.values()) <= packing.nbytes
    assert tensors["edge_index"].shape == (2, counts[2])
    assert packing.with_edges(9).head == packing.head
    assert {name: place for name, place in packing.with_edges(9).places.items() if "edge" not in name} == {
        name: place for name, place in packing.places.items() if "edge" not in name
    }
