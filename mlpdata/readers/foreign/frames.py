"""What the libraries' adapters hand over: frames with numbers as the code printed them, and what else they know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.readers.archive import Input
from mlpdata.schema.calculation import LeftOut
from mlpdata.units import F64


class Snapshot(NamedTuple):
    """One geometry with its labels, in the units that the row of the code states."""

    atomic_numbers: NDArray[np.uint8]
    """Shape (n_atoms,)."""
    positions: F64
    """Shape (n_atoms, 3)."""
    cell: F64 | None
    """Lattice vectors as rows, shape (3, 3); None for a molecule."""
    pbc: NDArray[np.int8]
    """Shape (3,)."""
    energy: float
    forces: F64 | None = None
    """Minus the gradient, shape (n_atoms, 3)."""
    stress: F64 | None = None
    """Positive in tension, shape (3, 3)."""
    fixed: NDArray[np.int8] | None = None
    """Shape (n_atoms, 3)."""
    line: int = -1
    """Of the energy, from 1."""
    step: int = 0
    """Place among the frames that the library gave, from 0."""


@dataclass
class Reading:
    """What a library made of a file."""

    frames: list[Snapshot] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    method: dict[str, Any] = field(default_factory=dict)
    """Fields of `Method` that the library tells."""
    charge: float = np.nan
    multiplicity: int = 0


def finite(values: Any, shape: tuple[int, ...]) -> F64 | None:
    """`values` as finite numbers of this shape; None where they are not."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.shape == shape and bool(np.isfinite(array).all()) else None


def text(known: Mapping[str, Any], name: str) -> str | None:
    """A word that a library tells, if it is one."""
    value = known.get(name)
    return value if isinstance(value, str) and value else None


def whole_lines(source: Input) -> bytes:
    """The text up to its last line break: a number that is cut is another number."""
    return source.data[: source.data.rfind(b"\n") + 1]
