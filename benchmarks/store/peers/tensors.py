"""TensorStore on the files that our store wrote, with a cache that holds all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from mlpdata.frames import I64, ragged_index
from store.peers.zarr_arrays import arrays_of_ours


class TensorStore:
    """The arrays, by one list of indices each."""

    def __init__(self, folder: Path) -> None:
        context = ts.Context({"cache_pool": {"total_bytes_limit": 4 << 30}})
        place = arrays_of_ours(folder)

        def opened(name: str) -> ts.TensorStore:
            kvstore = {"driver": "file", "path": str(place / name)}
            return ts.open({"driver": "zarr3", "kvstore": kvstore}, read=True, context=context).result()

        self._n_atoms, self._start = (opened(name).read().result() for name in ("n_atoms", "atom_start"))
        self._arrays = {name: opened(name) for name in ("positions", "forces", "energy")}

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        atoms = ragged_index(self._start[rows], self._n_atoms[rows])
        indices = {"positions": atoms, "forces": atoms, "energy": rows}
        reading = {name: self._arrays[name][index].read() for name, index in indices.items()}
        return {name: future.result() for name, future in reading.items()}
