"""Likeness: what two runs must have in common before one is taken for a continuation or a variation of the other."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from mlpdata.relations.runs import Run
from mlpdata.schema.method import Method


class Likeness:
    """Atoms, charge, theory and settings by run; what one output states and another does not is a difference."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._of: dict[int, tuple[object, ...]] = {}
        self._surfaces: dict[str, tuple[str, str]] = {}

    def of(self, run: int) -> tuple[object, ...]:
        """Atoms, periodicity, charge, multiplicity, theory and settings of a run."""
        if run not in self._of:
            one = self._runs[run]
            charge = float(one.ends.get("charge")[0])
            multiplicity = int(one.ends.get("multiplicity")[0])
            surface = self._surface(one.calculation.method)
            self._of[run] = (one.species, one.pbc, None if isnan(charge) else charge, multiplicity, *surface)
        return self._of[run]

    def _surface(self, method: Method) -> tuple[str, str]:
        """Digests of theory and settings, worked out once for each method."""
        text = method.model_dump_json()
        if text not in self._surfaces:
            self._surfaces[text] = (method.theory, method.settings)
        return self._surfaces[text]

    def one_trajectory(self, one: int, other: int) -> bool:
        """Whether two runs may belong to one trajectory: the same surface, and the same sort of motion on it."""
        moves = self._runs[one].moves
        return moves != "" and moves == self._runs[other].moves and self.of(one) == self.of(other)
