"""Joining: several files of one run become one calculation, and no configuration is stored twice.

The most precise file gives the configurations (pitfall V17). What another file prints beyond it - settings, moments,
charges, configurations that the first one lost - is added where both agree on steps, energies and positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlpdata.frames import I64, Frames, concatenate
from mlpdata.readers.registry import Ending, Header
from mlpdata.schema.calculation import Source
from mlpdata.schema.noun import Noun
from mlpdata.schema.properties import ATOM, CONFIGURATION, PROPERTIES
from mlpdata.units import F64

Mask = NDArray[np.bool_]

ENERGY_TOLERANCE = (1e-4, 2e-7)
"""Absolute [eV] and relative difference that print formats and constants of one code explain."""
POSITION_TOLERANCE = 1e-3
"""Difference that print formats explain [angstrom]: an OUTCAR has five decimals."""
_OWN = {"source_line", "source_index", "step", "image", "atomic_numbers", "positions", "cell", "pbc"}
"""What says where a configuration stands in its own file, and what both must have."""
N = TypeVar("N", bound=Noun)


class Beside:
    """One run of another file of the same calculation, whole in memory.

    Args:
        sources: the file and its companions.
        header: what its file says before the first frame.
        frames: all its configurations; None where it has none.
        ending: what its file says after the last one.
    """

    def __init__(self, sources: tuple[Source, ...], header: Header, frames: Frames | None, ending: Ending) -> None:
        self.sources, self.header, self.frames, self.ending = sources, header, frames, ending
        self.n_agreeing = self.n_differing = 0
        self._met = np.zeros(0 if frames is None else len(frames), bool)

    @property
    def agrees(self) -> bool:
        """Whether what was compared is the same run; where one of them has no configurations nothing was."""
        return self.frames is None or (self.n_agreeing > 0 and self.n_differing == 0)

    def add_to(self, block: Frames) -> Frames:
        """`block` of the first file with what this file prints beyond it."""
        if self.frames is None:
            return block
        here, there, differing = _counterparts(block, self.frames)
        self.n_agreeing += len(here)
        self.n_differing += differing
        self._met[there] = True
        return filled(block, here, self.frames.select(there)) if len(here) and not self.n_differing else block

    def rest(self, index: int) -> Frames | None:
        """The labelled configurations that the first file lacks, as those of source number `index`."""
        if self.frames is None or not self.n_agreeing or self.n_differing:
            return None
        missing = ~self._met & ~np.isnan(self.frames.energy)
        if not missing.any():
            return None
        rest = self.frames.select(missing)
        return rest.with_arrays(source_index=np.full(len(rest), index))


def beside(sources: tuple[Source, ...], items: Sequence[Header | Frames | Ending]) -> list[Beside]:
    """The runs of a file that was read whole."""
    runs: list[Beside] = []
    header, frames = None, list[Frames]()
    for item in items:
        if isinstance(item, Header):
            header, frames = item, []
        elif isinstance(item, Frames):
            frames.append(item)
        elif header is not None:
            runs.append(Beside(sources, header, concatenate(frames) if frames else None, item))
    return runs


def _counterparts(block: Frames, other: Frames) -> tuple[I64, I64, int]:
    """Rows of `block` and of `other` that are one configuration, and how many ought to be and are not."""
    by_step = (block.get("step") >= 0).all() and (other.get("step") >= 0).all()
    here, there = _same_steps(block, other) if by_step else _same_energies(block, other)
    same = _same_labels(block, other, here, there)
    return here[same], there[same], int((~same).sum()) if by_step else 0


def _same_steps(block: Frames, other: Frames) -> tuple[I64, I64]:
    _, here, there = np.intersect1d(block.get("step"), other.get("step"), return_indices=True)
    return here, there


def _same_energies(block: Frames, other: Frames) -> tuple[I64, I64]:
    """Pairs of rows with the same energy, each row of `block` once."""
    order = np.argsort(other.energy)
    tolerance = _energy_tolerance(block.energy)
    place = np.searchsorted(other.energy[order], block.energy - tolerance)
    here = np.flatnonzero(place < len(other))
    there = order[place[here]]
    close = np.abs(other.energy[there] - block.energy[here]) <= tolerance[here]
    return here[close], there[close]


def _energy_tolerance(energy: F64) -> F64:
    absolute, relative = ENERGY_TOLERANCE
    tolerance: F64 = absolute + relative * np.abs(energy)
    return tolerance


def _same_labels(block: Frames, other: Frames, here: I64, there: I64) -> Mask:
    """Whether pairs of rows have the same atoms at the same places, and energies that do not contradict each other."""
    apart = np.abs(block.energy[here] - other.energy[there])
    same: Mask = ~(apart > _energy_tolerance(block.energy[here])) & (block.n_atoms[here] == other.n_atoms[there])
    if not same.any():
        return same
    one, two = block.select(here[same]), other.select(there[same])
    moved = np.linalg.norm(_nearest_image(one, two.positions - one.positions), axis=1)
    wrong = (moved > POSITION_TOLERANCE) | (one.atomic_numbers != two.atomic_numbers)
    bad = np.zeros(len(one), bool)
    bad[one.configuration_of_atom[wrong]] = True
    same[same] = ~bad
    return same


def _nearest_image(frames: Frames, shift: F64) -> F64:
    """`shift` of each atom less whole lattice vectors: codes print atoms inside the cell or where they walked to."""
    cell = np.where(np.isnan(frames.cell), np.eye(3), frames.cell)[frames.configuration_of_atom]
    whole = np.round(np.linalg.solve(cell.transpose(0, 2, 1), shift[:, :, None]))[:, :, 0]
    whole *= frames.pbc[frames.configuration_of_atom]
    nearest: F64 = shift - np.einsum("ai,aij->aj", whole, cell)
    return nearest


def filled(block: Frames, rows: I64, other: Frames) -> Frames:
    """`block` with what is absent in its configurations `rows` taken from those of `other`, in that order."""
    added: dict[str, NDArray[Any]] = {}
    where = np.zeros(len(block), bool)
    where[rows] = True
    order = np.argsort(rows)
    other = other.select(order)
    for name, values in other.arrays.items():
        row = PROPERTIES[name]
        if name in _OWN:
            continue
        mine = block.get(name)
        blank = _blank(mine, row.absent)
        if row.level == CONFIGURATION:
            chosen = where
        else:
            sizes = block.n_atoms if row.level == ATOM else block.n_atoms**2
            chosen = np.repeat(where, sizes)
        take = blank[chosen]
        if take.any():
            mine = mine.copy()
            mine[np.flatnonzero(chosen)[take]] = values[take]
            added[name] = mine
    return block.with_arrays(**added) if added else block


def _blank(array: NDArray[Any], absent: float) -> Mask:
    """Rows in which nothing is known."""
    flat = array.reshape(len(array), -1)
    blank: Mask = np.isnan(flat).all(axis=1) if np.isnan(absent) else (flat == absent).all(axis=1)
    return blank


def completed(one: N, other: N) -> N:
    """A record with what it does not state taken from another of the same thing, such as two methods of one run."""
    added: dict[str, Any] = {}
    for name in type(one).model_fields:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, dict):
            added[name] = {**theirs, **mine}
        elif isinstance(mine, Noun) and isinstance(theirs, Noun):
            added[name] = completed(mine, theirs)
        elif isinstance(mine, tuple) and mine and isinstance(mine[0], Noun):
            added[name] = _completed_rows(mine, theirs)
        elif mine in (None, ()):
            added[name] = theirs
    return one.model_copy(update=added)


def _completed_rows(mine: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Rows such as pseudopotentials, one by one where both files list the same elements or species."""
    names = [[next(iter(dict(row).values())) for row in rows] for rows in (mine, theirs)]
    if names[0] != names[1]:
        return mine
    return tuple(completed(a, b) for a, b in zip(mine, theirs, strict=True))
