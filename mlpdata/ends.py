"""Ends: the configurations of a run that tell what it is when it is looked at by itself."""

from __future__ import annotations

import numpy as np

from mlpdata.frames import Frames, concatenate
from mlpdata.relations import Run, alone
from mlpdata.schema.calculation import Calculation


class Ends:
    """The first, the last but one and the last configuration of a run that streams by."""

    def __init__(self) -> None:
        self._n = 0
        self._first: Frames | None = None
        self._last: Frames | None = None

    def add(self, frames: Frames) -> None:
        """More configurations of the run, at least one."""
        if self._first is None:
            self._first = frames.select([0])
        last = frames.select(np.arange(max(0, len(frames) - 2), len(frames)))
        self._last = last if self._last is None or len(last) == 2 else concatenate([self._last, last]).select([-2, -1])
        self._n += len(frames)

    def told(self, calculation: Calculation) -> Calculation:
        """The record with what is known of the run without any other: its system, and what its attributes rest on.

        A kind that is worked out here is left to the relations of all runs: as stored it would look like the run's own
        word.
        """
        if self._first is None or self._last is None:
            return calculation
        some = [self._first, self._last] if self._n > 2 else [self._last]
        unknown = np.full(self._n, np.nan)
        geometries = np.zeros((self._n, 16), np.uint8)  # nothing is asked of them here
        found = alone(Run(calculation, geometries, unknown, concatenate(some), unknown))
        return calculation.model_copy(
            update={"system": found.system, "temperature_target": found.temperature_target, "rests_on": found.rests_on}
        )
