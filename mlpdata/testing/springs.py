"""Springs: runs of two to five atoms joined by springs, so that forces are minus the gradient of the energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from mlpdata.units import F64

End = Literal["running", "finished", "failed"]
"""The program still prints, has printed its end mark, or gave up in a loop that did not converge."""
EDGE = 8.0
"""Of the cubic cell [angstrom]."""
SPRING, LENGTH = 4.0, 2.2
"""Of every pair of atoms [eV/angstrom^2], [angstrom]."""
ELEMENTS = (("C", 6, 12.011), ("O", 8, 15.999), ("Si", 14, 28.085))
CORNERS = np.array([(0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (2, 1, 1)]) * 1.5 + 1.0
"""Where the atoms rest [angstrom]."""


class Step(NamedTuple):
    """One geometry and its labels."""

    positions: F64
    """Shape (n_atoms, 3) [angstrom]."""
    energy: float
    """[eV]."""
    forces: F64
    """Shape (n_atoms, 3) [eV/angstrom]."""


@dataclass(frozen=True)
class Run:
    """A run as far as it has come."""

    code: str
    """A key of `LAYOUTS`."""
    seed: int
    """Of its trajectory, which runs that continue each other share."""
    first: int = 0
    """Step of the trajectory at which it began."""
    n_steps: int = 1
    """Steps printed so far."""
    end: End = "running"
    started: int = 0
    """Second at which it was started, which codes print and which tells runs apart."""

    def grown(self, n_steps: int) -> Run:
        """The run after so many further steps."""
        return replace(self, n_steps=self.n_steps + n_steps)

    def ended(self, end: End) -> Run:
        """The run at its end."""
        return replace(self, end=end)

    def continued(self, started: int, *, overlap: bool) -> Run:
        """A run that goes on after the last step, or with `overlap` from it."""
        first = self.first + self.n_steps - overlap
        return replace(self, first=first, n_steps=1, end="running", started=started)

    @property
    def clock(self) -> str:
        """Time of day at which it was started."""
        return f"{self.started // 3600 % 24:02d}:{self.started // 60 % 60:02d}:{self.started % 60:02d}"

    @property
    def n_atoms(self) -> int:
        """Two to five."""
        return 2 + self.seed % 4

    @property
    def element(self) -> tuple[str, int, float]:
        """Symbol, atomic number and mass [u] of all atoms; their electrons pair."""
        return ELEMENTS[self.seed // 4 % len(ELEMENTS)]

    @cached_property
    def steps(self) -> list[Step]:
        """What it has computed."""
        random = np.random.default_rng(self.seed)
        rest = CORNERS[: self.n_atoms] + 0.1 * random.normal(size=(self.n_atoms, 3))
        phase = random.uniform(0, 2 * np.pi, rest.shape)
        numbers = range(self.first, self.first + self.n_steps)
        return [labelled(np.round(rest + 0.1 * np.sin(phase + 0.4 * number), 5)) for number in numbers]


def labelled(positions: F64) -> Step:
    """A geometry with the labels of springs between all pairs of atoms."""
    arms = positions[:, None] - positions
    alone = np.eye(len(positions))
    lengths = np.linalg.norm(arms, axis=2) + alone
    stretch = (lengths - LENGTH) * (1 - alone)
    energy = -20.0 * len(positions) + SPRING / 4 * float((stretch**2).sum())
    return Step(positions, energy, -SPRING * ((stretch / lengths)[:, :, None] * arms).sum(axis=1))


def lines(line: str, *tables: F64, end: str = "\n") -> str:
    """`line` formatted with each row of tables that lie side by side; `n` is its number, from 1."""
    return "".join(line.format(*row, n=n) + end for n, row in enumerate(np.hstack(tables).tolist(), 1))


def printed(run: Run, opening: str, step: Callable[[int, Step], str], **at_end: str) -> str:
    """A whole output: what a program says first, at each step, and where it `finished` or `failed`."""
    return opening + "".join(step(number, one) for number, one in enumerate(run.steps, 1)) + at_end.get(run.end, "")
