"""HDF5 in one documented layout: concatenated arrays and `atom_start`, as they are here.

::

    /atom_start        int64 (n + 1,)        first atom of each configuration, and the end
    /id                uint8 (n, 16)         ids
    /calculation       int32 (n,)            place in /calculations
    /<property>        (n, ...) or (atoms, ...), as its attribute `level` says; attributes unit, meaning, absent
    /hessian           (pairs, 3, 3)         row by row, of the configurations that have one
    /hessian_start     int64 (n,)            first row of each, -1 where it has none
    /calculations      JSON of each, methods by their id in /methods
    /methods           JSON of each, beginning with its id

Everything is in the units of the attributes; what is not known is NaN, or the number in `absent`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mlpdata import durable
from mlpdata.frames import Frames, ragged_index
from mlpdata.interop.loss import ATTRIBUTES as ALL_ATTRIBUTES
from mlpdata.interop.loss import Difference, Mask, presence
from mlpdata.interop.names import EXPORTED
from mlpdata.interop.selection import Block, Selection, Terms
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.properties import ATOM, PAIR, PROPERTIES, REQUIRED

HELD = frozenset(EXPORTED)
HELD_PARTLY = True
ATTRIBUTES = frozenset(ALL_ATTRIBUTES)
WHY = "nothing"
LAYOUT = "mlpdata/hdf5/1"


def differences(frames: Frames) -> Mapping[Difference, Mask]:  # noqa: ARG001  it holds all
    """None: arrays are as they are stored."""
    return {}


def unfit(frames: Frames) -> Mapping[str, Mask]:  # noqa: ARG001  it holds any
    """None: it holds any configuration."""
    return {}


def write(selection: Selection, path: Path, terms: Terms) -> None:
    """Write a new file.

    Raises:
        StoreError: the disk refused.
    """
    n_atoms = selection.n_atoms
    with durable.staged_by_library(path), h5py.File(path, "w", libver="latest") as file:
        file.attrs.update({"layout": LAYOUT, **terms.about})
        file["atom_start"] = atom_start = np.concatenate(([0], np.cumsum(n_atoms)))
        file["id"] = selection.ids
        file["calculation"] = selection.of_row.astype(np.int32)
        _write_records(file, selection.calculations)
        names = [*REQUIRED, *(name for name in EXPORTED if name in terms.present)]
        for name in names:
            _create(file, name, len(selection), int(atom_start[-1]))
        for block in selection.blocks(names):
            _write_block(file, block, names, atom_start)


def _create(file: h5py.File, name: str, n: int, n_atoms: int) -> None:
    row = PROPERTIES[name]
    if row.level == PAIR:
        created = file.create_dataset(name, (0, *row.shape), row.dtype, maxshape=(None, *row.shape), chunks=True)
        file.create_dataset(f"{name}_start", (n,), np.int64)
    else:
        created = file.create_dataset(name, (n_atoms if row.level == ATOM else n, *row.shape), row.dtype)
    created.attrs.update({"unit": row.unit, "level": row.level, "meaning": row.meaning, "absent": row.absent})


def _write_block(file: h5py.File, block: Block, names: list[str], atom_start: Any) -> None:
    part, frames = block
    atoms = slice(int(atom_start[part.start]), int(atom_start[part.stop]))
    for name in names:
        level = PROPERTIES[name].level
        if level == PAIR:
            _append_pairs(file, name, part, frames)
        else:
            file[name][atoms if level == ATOM else part] = frames.get(name)


def _append_pairs(file: h5py.File, name: str, part: slice, frames: Frames) -> None:
    there, sizes = presence(frames, name).everywhere, frames.n_atoms**2
    starts = np.cumsum(sizes) - sizes
    rows = frames.get(name)[ragged_index(starts[there], sizes[there])]
    first = len(file[name])
    file[name].resize(first + len(rows), axis=0)
    file[name][first:] = rows
    mine = np.full(len(frames), -1)
    mine[there] = first + np.cumsum(sizes[there]) - sizes[there]
    file[f"{name}_start"][part] = mine


def _write_records(file: h5py.File, calculations: tuple[Calculation, ...]) -> None:
    """The calculations, methods apart, since many share one."""
    methods = {one.method.id: one.method for one in calculations}
    text = h5py.string_dtype()
    records = (json.dumps({**one.as_json(), "method": one.method.id, "id": one.id}) for one in calculations)
    file.create_dataset("calculations", data=list(records), dtype=text)
    named = [json.dumps({"id": name, **one.as_json()}) for name, one in methods.items()]
    file.create_dataset("methods", data=named, dtype=text)
