"""What people filter on, worked out of Frames on whole blocks: formulas, densities, forces, pressures, distances."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlpdata import elements, units
from mlpdata.elements import hill
from mlpdata.frames import I64, Frames
from mlpdata.units import F64

DENSITY = units.ATOMIC_MASS * 1e27
"""One u/angstrom^3 in g/cm^3."""
_AS_STORED = (
    "energy_sigma0", "energy_no_entropy", "charge", "total_magnetization", "band_gap", "fermi_energy", "time",
    "temperature_kinetic",
)  # fmt: skip
"""Properties that are columns as they are."""


def shortest_distances(frames: Frames) -> F64:
    """Shortest distance in each configuration [angstrom], shape (n_configurations,); NaN where it is above 2.5."""
    return frames.closest.distance


def frame_columns(frames: Frames, ids: NDArray[np.uint8], min_distance: F64) -> dict[str, pa.Array]:
    """The columns of the configurations table that need nothing but the block; NaN and sentinels are NULL."""
    volume, energy = frames.volume, frames.energy
    mass = total(elements.MASSES[frames.atomic_numbers], frames)
    numbers: dict[str, F64] = {
        "volume": volume,
        "density": mass / volume * DENSITY,
        "energy": energy,
        "energy_per_atom": energy / np.maximum(frames.n_atoms, 1),
        "min_distance": min_distance,
        "pressure": -np.trace(frames.stress, axis1=1, axis2=2) / 3,
        **force_columns(frames),
        **{name: frames.get(name) for name in _AS_STORED},
    }
    return {
        "id": binary16(ids),
        "geometry_id": binary16(frames.geometry_ids()),
        **composition_columns(frames),
        "n_atoms": pa.array(frames.n_atoms),
        "pbc": pa.array(_periodic_names().take(frames.pbc.astype(np.int64) @ (4, 2, 1))),
        **{name: pa.array(values, from_pandas=True) for name, values in numbers.items()},
        "multiplicity": nullable(frames.get("multiplicity"), 0),
        "step": nullable(frames.get("step"), -1),
        "image": nullable(frames.get("image"), -1),
        "source_line": nullable(frames.get("source_line"), -1),
        "source_index": pa.array(frames.get("source_index").astype(np.int32)),
        "scf_converged": nullable(frames.get("scf_converged"), -1).cast(pa.bool_()),
        "has_forces": pa.array(~np.isnan(numbers["max_force"])),
        "has_stress": pa.array(~np.isnan(numbers["pressure"])),
    }


def total(values: NDArray[Any], frames: Frames) -> NDArray[Any]:
    """Sum of per-atom `values` over each configuration, shape (n_configurations, ...)."""
    return _reduce(np.add, values, frames)


def _reduce(operation: np.ufunc, values: NDArray[Any], frames: Frames) -> NDArray[Any]:
    """`operation` over the atoms of each configuration; 0 for one without atoms, which reduceat does not know."""
    out = np.zeros((len(frames), *values.shape[1:]), values.dtype)
    some = frames.n_atoms > 0
    if some.any():
        out[some] = operation.reduceat(values, frames.atom_start[:-1][some], axis=0)
    return out


def force_columns(frames: Frames) -> dict[str, F64]:
    """Largest, root-mean-square and net force [eV/angstrom], and torque of molecules [eV], each (n_configurations,).

    The mean runs over components, the torque about the centroid; NaN where forces are absent, torque also where
    any direction is periodic.
    """
    forces = frames.forces
    squared = np.einsum("ij,ij->i", forces, forces)
    with np.errstate(invalid="ignore"):
        largest = np.sqrt(_reduce(np.maximum, squared, frames))
    count = np.maximum(frames.n_atoms, 1)
    centroid = total(frames.positions, frames) / count[:, None]
    arms = frames.positions - np.repeat(centroid, frames.n_atoms, axis=0)
    torque = np.linalg.norm(total(np.cross(arms, forces), frames), axis=1)
    torque[frames.pbc.any(axis=1)] = np.nan
    return {
        "max_force": largest,
        "rms_force": np.sqrt(total(squared, frames) / (3 * count)),
        "net_force": np.linalg.norm(total(forces, frames), axis=1),
        "torque": torque,
    }


def composition_columns(frames: Frames) -> dict[str, pa.Array]:
    """Formula (Hill), reduced formula, elements and composition, each worked out once a distinct composition."""
    present, species = np.unique(frames.atomic_numbers, return_inverse=True)
    cells = frames.configuration_of_atom * len(present) + species.reshape(-1)
    counts = np.bincount(cells, minlength=len(frames) * len(present)).reshape(len(frames), len(present))
    distinct, which = np.unique(counts, axis=0, return_inverse=True)
    symbols = [elements.SYMBOLS[number] for number in present.tolist()]
    compositions = [{s: n for s, n in zip(symbols, row, strict=True) if n} for row in distinct.tolist()]
    columns = {
        "formula": pa.array([hill(one) for one in compositions], pa.string()),
        "reduced_formula": pa.array([hill(reduced(one)) for one in compositions], pa.string()),
        "elements": pa.array([sorted(one) for one in compositions], pa.list_(pa.string())),
        "composition": pa.array([sorted(one.items()) for one in compositions], pa.map_(pa.string(), pa.int32())),
    }
    index = pa.array(which.reshape(-1))
    return {name: column.take(index) for name, column in columns.items()}


def reduced(composition: Mapping[str, int]) -> dict[str, int]:
    """The composition divided by the greatest common divisor of its counts."""
    divisor = int(np.gcd.reduce(list(composition.values()))) if composition else 1
    return {symbol: count // divisor for symbol, count in composition.items()}


def binary16(ids: NDArray[np.uint8]) -> pa.Array:
    """Ids of shape (n, 16) as a column of 16-byte values."""
    buffer = pa.py_buffer(np.ascontiguousarray(ids))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(ids), [None, buffer])


def ids_of(column: pa.ChunkedArray | pa.Array) -> NDArray[np.uint8]:
    """The reverse of `binary16`, shape (n, 16)."""
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(joined, pa.ChunkedArray):
        joined = pa.concat_arrays(joined.chunks) if joined.num_chunks else pa.array([], pa.binary(16))
    flat = np.frombuffer(joined.buffers()[1] or b"", np.uint8)
    return flat[joined.offset * 16 : (joined.offset + len(joined)) * 16].reshape(-1, 16)


def nullable(values: NDArray[Any], absent: int) -> pa.Array:
    """Integers with NULL where they are the sentinel `absent`."""
    return pa.array(values, mask=values == absent)


@functools.cache
def _periodic_names() -> NDArray[np.str_]:
    """TTT, TTF, ...: one letter a lattice vector, by the number that three bits make."""
    return np.array(["".join("FT"[number >> bit & 1] for bit in (2, 1, 0)) for number in range(8)])


def running(sizes: list[int]) -> I64:
    """0, sizes[0], sizes[0] + sizes[1], ..., shape (len(sizes) + 1,)."""
    return np.concatenate(([0], np.cumsum(np.array(sizes, np.int64)))).astype(np.int64)
