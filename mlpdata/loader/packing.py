"""Packing: where the tensors of a batch lie in its one buffer.

Every tensor of a batch is a typed view of the same bytes, so that a batch is allocated once and moves in one copy.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CONFIGURATIONS, ATOMS, EDGES = "configurations", "atoms", "edges"
AXES: dict[str, tuple[str | int, ...]] = {
    "positions": (ATOMS, 3),
    "forces": (ATOMS, 3),
    "atomic_numbers": (ATOMS,),
    "configuration": (ATOMS,),
    "cell": (CONFIGURATIONS, 3, 3),
    "stress": (CONFIGURATIONS, 3, 3),
    "energy": (CONFIGURATIONS,),
    "n_atoms": (CONFIGURATIONS,),
    "rows": (CONFIGURATIONS,),
    "pbc": (CONFIGURATIONS, 3),
    "edge_index": (2, EDGES),
    "edge_shift": (EDGES, 3),
}
"""Shape of each tensor, in the order of the buffer. The edges are last: how many there are is known last."""
DTYPES: dict[str, torch.dtype] = {
    "atomic_numbers": torch.int64,
    "configuration": torch.int64,
    "energy": torch.float64,
    "n_atoms": torch.int64,
    "rows": torch.int64,
    "pbc": torch.bool,
    "edge_index": torch.int64,
}
"""Element types that do not follow the caller's choice of float32 or float64."""
ALIGNMENT = 64
"""Each tensor begins at a multiple of this [bytes]: a cache line, and any vector that a kernel loads."""

_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.int64: np.dtype(np.int64),
    torch.bool: np.dtype(np.bool_),
}


class Place(NamedTuple):
    """One tensor in the buffer."""

    offset: int
    """Of its first byte."""
    shape: tuple[int, ...]
    dtype: torch.dtype


class Packing:
    """The places of all tensors of a batch, which its counts and its dtype fix.

    Args:
        n_configurations: how many there are.
        n_atoms: of all of them.
        n_edges: of all of them.
        dtype: float32 or float64, of everything real but the energy.
    """

    def __init__(self, n_configurations: int, n_atoms: int, n_edges: int, dtype: torch.dtype) -> None:
        self.counts = (n_configurations, n_atoms, n_edges)
        self.dtype = dtype
        self.places: dict[str, Place] = {}
        offset = 0
        for name, level, before, after, row_bytes, kind in _rows(dtype):
            rows = self.counts[level]
            self.places[name] = Place(offset, (*before, rows, *after), kind)
            offset += -(-rows * row_bytes // ALIGNMENT) * ALIGNMENT
        self.nbytes = offset

    @property
    def head(self) -> int:
        """Bytes before the edges; they do not depend on how many edges there are."""
        return self.places["edge_index"].offset

    def with_edges(self, n_edges: int) -> Packing:
        """The same with another number of edges."""
        return Packing(*self.counts[:2], n_edges, self.dtype)

    def buffer(self, *, pinned: bool = False) -> Tensor:
        """Uninitialised bytes for a batch; `pinned` where a GPU is to fetch them while the CPU goes on."""
        return torch.empty(self.nbytes, dtype=torch.uint8, pin_memory=pinned)

    def arrays(self, buffer: Tensor) -> dict[str, NDArray[Any]]:
        """The tensors in a buffer of the CPU, as numpy arrays to write into."""
        memory = buffer.numpy()
        return {
            name: np.ndarray(shape, _NUMPY[dtype], memory, offset)
            for name, (offset, shape, dtype) in self.places.items()
        }

    def tensors(self, buffer: Tensor) -> dict[str, Tensor]:
        """The tensors in a buffer on any device: views, no copies."""
        if buffer.device.type == "cpu":
            return as_tensors(self.arrays(buffer))
        return {
            name: buffer[offset : offset + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)
            for name, (offset, shape, dtype) in self.places.items()
        }


def as_tensors(arrays: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """The same memory as tensors: torch takes an array of numpy in half the time of a view of its own."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class _Row(NamedTuple):
    """What is known of a tensor before its batch is."""

    name: str
    level: int
    """Index of its long axis in the counts."""
    before: tuple[int, ...]
    """Axes before the long one, as in (2, n_edges)."""
    after: tuple[int, ...]
    """Axes after it, as in (n_atoms, 3)."""
    row_bytes: int
    kind: torch.dtype


@cache
def _rows(dtype: torch.dtype) -> list[_Row]:
    """The tensors of a batch, worked out once for a float type."""
    rows = []
    for name, axes in AXES.items():
        kind = DTYPES.get(name, dtype)
        at = next(index for index, axis in enumerate(axes) if isinstance(axis, str))
        sizes = [1 if isinstance(axis, str) else axis for axis in axes]
        level = (CONFIGURATIONS, ATOMS, EDGES).index(str(axes[at]))
        row_bytes = kind.itemsize * math.prod(sizes)
        rows.append(_Row(name, level, tuple(sizes[:at]), tuple(sizes[at + 1 :]), row_bytes, kind))
    return rows
