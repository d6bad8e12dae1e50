"""Lance: the table of `arrow`, in the format that is made for random access."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames
from store.peers.arrow import NAMES, batch, table


def write(folder: Path, frames: Frames) -> None:
    lance.write_dataset(table(frames), folder / "all.lance")


class Lance:
    """The data set; rows by their number."""

    def __init__(self, folder: Path) -> None:
        self._dataset = lance.dataset(folder / "all.lance")

    def __call__(self, rows: I64) -> dict[str, NDArray[np.floating]]:
        return batch(self._dataset.take(rows.tolist(), columns=list(NAMES)))
