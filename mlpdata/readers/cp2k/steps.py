"""Which geometry, cell and labels belong to one energy of a CP2K log.

What the log prints counts; its companion files fill in what it lacks. Coordinates are printed once, before the first
energy; those of later steps stand in `-pos-1.xyz` (pitfall C3). What cannot be paired for certain raises ParseError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import SYMBOLS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input, located
from mlpdata.readers.cp2k import blocks
from mlpdata.readers.cp2k.blocks import Cell, Geometry
from mlpdata.readers.cp2k.companions import Atoms, Companions, Trajectory, find
from mlpdata.readers.cp2k.headings import Evaluation, Mark
from mlpdata.readers.text import numbers
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import BOHR, F64

_VALUES_OF_STEP = {
    "time": re.compile(rb"(?:MD\| Time \[fs\]|TIME \[fs\] +=) +(\S+)[ \t\r]*\n"),
    "temperature_kinetic": re.compile(rb"(?:MD(?:_INI)?\| Temperature \[K\]|TEMPERATURE *\[K\] +=) +(\S+)(?= |[\t\r]*\n)"),
    "kinetic": re.compile(
        rb"(?:MD(?:_INI)?\| Kinetic energy \[hartree\]|KINETIC ENERGY *\[hartree\] +=) +(\S+)(?= |[\t\r]*\n)"
    ),
    "lengths": re.compile(rb"MD\| Cell lengths \[ang\] +(\S+ +\S+ +\S+)[ \t\r]*\n"),
    "angles": re.compile(rb"MD\| Cell angles \[deg\] +(\S+ +\S+ +\S+)[ \t\r]*\n"),
}  # fmt: skip
_UNITS_OF_STEP = {"time": "fs", "temperature_kinetic": "K"}
_BLOCK_OF_STEP = re.compile(rb"(?:(?! (?:MD\| )?\*{20})[^\n]{0,200}\n){1,40}")
_KIND = re.compile(rb"\n +(\d+)\. Atomic kind: (\S+) +Number of atoms: +\d+[ \t\r]*\n")
_FIXED_CELL = {"NVE", "NVT", "LANGEVIN", "ISOKIN", "NVT_ADIABATIC"}
_OWN_GEOMETRY = {"single_point", "response", "relax", "vc-relax", "md"}
"""Kinds of run whose first energy is that of the coordinates they print."""
_FOLLOWS_FIRST = {"md_start", "md_step", "opt_step"}
"""Headings that stand behind the energy of the first geometry."""

MUCH_NARROWER, MUCH_WIDER = 0.65, 1.5
"""A bohr is 0.529 angstrom."""
VELOCITY = "bohr/atomic_unit_of_time"
DALTON = 1822.888484264545
"""Atomic mass unit in electron masses, as CP2K prints it."""


class Label(NamedTuple):
    """Numbers as printed, with their unit."""

    values: F64
    unit: str


@dataclass
class Frame:
    """One configuration as printed."""

    atomic_numbers: NDArray[np.uint8]
    pbc: tuple[int, int, int]
    labels: dict[str, Label]
    """By name of the registry of properties: what has a unit."""
    scf_converged: int
    step: int
    line: int
    """Of the energy."""
    image: int = -1
    """On a reaction path, from 0."""


@dataclass
class Steps:
    """What all frames of a run share."""

    source: Input
    evaluations: Sequence[Evaluation]
    companions: Companions
    kind: str
    """`single_point`, `md`, ...; what the program was asked to do."""
    ensemble: str | None
    pbc: tuple[int, int, int] | None
    """Of the Poisson solver."""
    writes_velocities: bool = False
    """Whether the log names a file of velocities."""
    warnings: list[str] = field(default_factory=list)
    geometry: Geometry | None = None
    """The coordinates that the log prints; None until they are read, or where it prints none."""
    _cells: dict[int, Cell] = field(default_factory=dict)
    _widths: dict[str, float] = field(default_factory=dict)
    """How much wider apart atoms are in a companion than in the log, by its name."""

    def find_first_geometry(self, mark: Mark | None) -> None:
        """Read the coordinates that the log prints; a damaged table is met again with its energy."""
        if mark is not None:
            with suppress(ParseError):
                self.geometry = blocks.coordinates(self.source, mark)

    def elements(self, text: bytes) -> dict[str, str]:
        """Chemical symbols by the name of the kind, where coordinates tell them (C3: a kind Al may be cobalt)."""
        if self.geometry is None:
            return {}
        names = dict(_KIND.findall(text))
        pairs = zip(self.geometry.kinds.tolist(), self.geometry.atomic_numbers.tolist(), strict=True)
        return {names[b"%d" % kind].decode("latin-1"): SYMBOLS[z] for kind, z in set(pairs) if b"%d" % kind in names}

    def numbered(self) -> list[int | None]:
        """The number of the step of each evaluation; None where it cannot be told.

        Dynamics evaluate one energy a step, so that a step without a number has the one between its neighbours'; the
        line searches of an optimisation evaluate several, of which the last one before a number has it.
        """
        if self.kind in ("single_point", "response"):
            return [0] * len(self.evaluations)
        found: list[int | None] = [None] * len(self.evaluations)
        last = -1
        for index, evaluation in enumerate(self.evaluations):
            mark = evaluation.marks.get("md_step") or evaluation.marks.get("opt_step")
            if mark is None:
                continue
            try:
                step = blocks.number_of_step(mark)
            except ParseError as error:
                self._warn(f"line {self.source.line(mark.start)}: the number of the step is not known: {error.message}")
                continue
            found[index] = step
            if self.kind == "md" and (last < 0 or step - (found[last] or 0) == index - last):
                found[last + 1 : index] = range(step - (index - last) + 1, step)
            last = index
        return found

    def frame(self, index: int, step: int | None) -> Frame:
        """The frame of one evaluation.

        Raises:
            ParseError: no geometry belongs to its energy for certain, or a label cannot be read.
        """
        evaluation = self.evaluations[index]
        line = self.source.line(evaluation.energy.start)
        if "shells" in evaluation.marks:
            raise ParseError("expected forces on atoms, found them on cores and shells, whose positions are not read.")
        energy, unit = self._energy(evaluation)
        values = self._values_of_step(evaluation)
        numbered = step
        if geometry := self._coordinates(index):
            positions, atomic_numbers = Label(geometry.positions, geometry.unit), geometry.atomic_numbers
        else:
            atoms, numbered = self._atoms(step, energy)
            positions, atomic_numbers = Label(atoms.values, "angstrom"), atoms.atomic_numbers
        labels = {"positions": positions, "energy": Label(np.array(energy), unit)}
        cell, pbc = self._cell(index, numbered, values)
        if cell is not None:
            labels["cell"] = cell
        labels |= self._forces(evaluation, len(atomic_numbers), numbered, energy)
        labels |= self._optional(evaluation, len(atomic_numbers), energy, unit)
        labels |= {name: Label(values[name], unit) for name, unit in _UNITS_OF_STEP.items() if name in values}
        labels |= self._velocities(numbered, energy, values.get("kinetic"))
        step = -1 if numbered is None else numbered
        return Frame(atomic_numbers, pbc, labels, _converged(evaluation), step, line)

    def lacks_geometry(self, index: int) -> bool:
        """Whether neither the log nor a companion has positions for an evaluation."""
        with suppress(ParseError):
            energy, _ = self._energy(self.evaluations[index])
            return self._coordinates(index) is None and (
                find(self.companions.positions, self.numbered()[index], energy) is None
            )
        return False

    def labels(self, index: int, n_atoms: int) -> dict[str, Label]:
        """Energy and forces of an evaluation as the log prints them.

        Raises:
            ParseError: one of them cannot be read.
        """
        evaluation = self.evaluations[index]
        energy, unit = self._energy(evaluation)
        forces = (
            {"forces": Label(*blocks.forces(self.source, mark, n_atoms))}
            if (mark := evaluation.marks.get("forces"))
            else {}
        )
        return {"energy": Label(np.array(energy), unit), **forces}

    def _energy(self, evaluation: Evaluation) -> tuple[float, str]:
        energy, unit = blocks.energy(evaluation.energy)
        if (other := evaluation.marks.get("free_energy")) and abs(blocks.energy(other)[0] - energy) > 1e-9:
            raise ParseError(
                "expected one total energy, found a free energy beside it: which one has the forces is unknown."
            )
        return energy, unit

    # -- geometry

    def _coordinates(self, index: int) -> Geometry | None:
        """The coordinates that the log prints, where they are those of this energy."""
        evaluation = self.evaluations[index]
        mark = evaluation.marks.get("coordinates")
        if mark is None:
            return None
        with located(self.source, mark.start):
            geometry = self.geometry or blocks.coordinates(self.source, mark)
        if self.kind not in _OWN_GEOMETRY or (
            index + 1 < len(self.evaluations) and not _FOLLOWS_FIRST & evaluation.marks.keys()
        ):
            raise ParseError(
                "expected one energy behind the coordinates, found those of geometries that are not printed."
            )
        if not self._same_cell(evaluation.cell, evaluation.cell_of_coordinates):
            raise ParseError(
                "expected the cell in which the coordinates are printed, found another: a cell optimisation turns it, "
                "and forces and stress are given in the turned frame."
            )
        return geometry

    def _same_cell(self, one: Mark | None, other: Mark | None) -> bool:
        if one is None or other is None or one == other:
            return True
        return bool(np.allclose(self._cell_at(one).vectors, self._cell_at(other).vectors, atol=1.5e-3))

    def _atoms(self, step: int | None, energy: float) -> tuple[Atoms, int]:
        """The positions of a step from a companion file, and the number of the step."""
        found = find(self.companions.positions, step, energy)
        if found is None:
            known = ", ".join(trajectory.name for trajectory in self.companions.positions)
            raise ParseError(
                f"expected positions of {'this energy' if step is None else f'step {step}'}, found none in the log "
                + (f"nor in {known}." if known else "and no -pos-1.xyz beside it.")
            )
        trajectory, snapshot = found
        atoms = trajectory.read(snapshot)
        self._check_unit(trajectory)
        if self.geometry is not None and len(self.geometry.atomic_numbers) == len(atoms.values):
            return Atoms(self.geometry.atomic_numbers, atoms.values), snapshot.step  # kinds may be called anything
        if not atoms.atomic_numbers.all():
            raise ParseError(f"expected names of elements in {trajectory.name}, found names of kinds.")
        return atoms, snapshot.step

    def _check_unit(self, trajectory: Trajectory) -> None:
        """Refuse positions in another unit than angstrom: they begin as wide apart as the coordinates in the log (C1)."""
        if trajectory.name not in self._widths:
            self._widths[trajectory.name] = 1.0
            with suppress(ParseError):
                first = trajectory.read(trajectory.snapshots[0]).values
                if self.geometry is not None and len(first) == len(self.geometry.positions) > 1:
                    printed = self.geometry.positions * (BOHR if self.geometry.unit == "bohr" else 1.0)
                    self._widths[trajectory.name] = float(first.std(axis=0).max() / printed.std(axis=0).max())
        if not MUCH_NARROWER < self._widths[trajectory.name] < MUCH_WIDER:
            raise ParseError(
                f"expected {trajectory.name} in angstrom, found positions {self._widths[trajectory.name]:.3g} times as wide "
                "apart as in the log. The input asked for another unit."
            )

    # -- cell

    def printed_cell(self, mark: Mark | None) -> tuple[Cell | None, tuple[int, int, int]]:
        """The cell of a heading, and along which vectors it repeats."""
        printed = None if mark is None else self._cell_at(mark)
        pbc = (printed.pbc if printed else None) or self.pbc
        if pbc is None:
            self._warn("the log does not say along which vectors the cell repeats; all three are what CP2K assumes")
        return printed, pbc or (1, 1, 1)

    def _cell(self, index: int, step: int | None, values: dict[str, F64]) -> tuple[Label | None, tuple[int, int, int]]:
        """The cell of a step, and along which vectors it repeats; no cell where it does along none."""
        mark = self.evaluations[index].cell
        printed, pbc = self.printed_cell(mark)
        if not any(pbc):
            return None, pbc
        if printed is not None and self._holds(index, mark):
            return Label(printed.vectors, printed.unit), pbc
        lengths = values.get("lengths")
        if lengths is not None and printed is not None and self._stays_rectangular(printed, values):
            return Label(np.diag(lengths), "angstrom"), pbc
        if step in self.companions.cells:
            return Label(self.companions.cells[step], "angstrom"), pbc
        raise ParseError("expected the cell of this step, found none in the log and no .cell file that has it.")

    def _cell_at(self, mark: Mark) -> Cell:
        if mark.start not in self._cells:
            with located(self.source, mark.start):
                self._cells[mark.start] = blocks.cell(self.source, mark)
        return self._cells[mark.start]

    def _holds(self, index: int, mark: Mark | None) -> bool:
        """Whether the cell printed last is that of an evaluation: it is fixed, or was printed right before."""
        if self.kind == "md":
            return index == 0 or self.ensemble in _FIXED_CELL
        fresh = index == 0 or (mark is not None and mark.start > self.evaluations[index - 1].energy.start)
        return self.kind != "vc-relax" or fresh

    @staticmethod
    def _stays_rectangular(printed: Cell, values: dict[str, F64]) -> bool:
        off_diagonal = printed.vectors[~np.eye(3, dtype=bool)]
        return bool((off_diagonal == 0).all() and (values.get("angles", np.full(3, 90.0)) == 90).all())

    # -- labels

    def _forces(self, evaluation: Evaluation, n_atoms: int, step: int | None, energy: float) -> dict[str, Label]:
        if mark := evaluation.marks.get("forces"):
            with located(self.source, mark.start):
                return {"forces": Label(*blocks.forces(self.source, mark, n_atoms))}
        found = find(self.companions.forces, step, energy)
        if found is None:
            return {}
        forces = found[0].read(found[1]).values
        if len(forces) != n_atoms:
            raise ParseError(f"expected forces on {n_atoms} atoms in {found[0].name}, found {len(forces)}.")
        return {"forces": Label(forces, "hartree/bohr")}

    def _optional(self, evaluation: Evaluation, n_atoms: int, energy: float, unit: str) -> dict[str, Label]:
        """Labels without which a frame is still one: what is damaged is left and said."""
        labels: dict[str, Label] = {}
        for name in ("stress", "mulliken", "hirshfeld", "entropy"):
            mark = evaluation.marks.get(name)
            if mark is None:
                continue
            try:
                if name == "stress":
                    labels[name] = Label(*blocks.stress(self.source, mark))
                elif name == "entropy":
                    if unit == "hartree":  # which the table of energies is printed in
                        labels["energy_no_entropy"] = Label(np.array(energy - blocks.last_number(mark)), unit)
                else:
                    charges = blocks.charges(self.source, mark, n_atoms)
                    labels[f"charges_{name}"] = Label(charges.charges, "e")
                    if name == "mulliken" and charges.moments is not None:
                        labels["magnetic_moments"] = Label(charges.moments, "muB")
            except ParseError as error:
                self._warn(f"line {self.source.line(mark.start)}: {name} is left out: {error.message}")
        return labels

    def _values_of_step(self, evaluation: Evaluation) -> dict[str, F64]:
        """Time, temperature, kinetic energy and cell lengths that stand behind the number of a step."""
        mark = evaluation.marks.get("md_step") or evaluation.marks.get("md_start")
        if mark is None:
            return {}
        line_end = self.source.data.find(b"\n", mark.end) + 1
        block = _BLOCK_OF_STEP.match(self.source.data, line_end)
        values: dict[str, F64] = {}
        for name, pattern in _VALUES_OF_STEP.items():
            match = pattern.search(block[0]) if block else None
            try:
                if match:
                    found = numbers(match[1])
                    values[name] = found if name in ("lengths", "angles") else found[0]
            except ParseError as error:
                self._warn(f"line {self.source.line(mark.start)}: {name} is left out: {error.message}")
        return values

    def _velocities(self, step: int | None, energy: float, kinetic: F64 | None) -> dict[str, Label]:
        """Velocities whose kinetic energy is the one that the log prints, which proves their unit."""
        try:
            found = find(self.companions.velocities, step, energy)
            if found is None or self.geometry is None or kinetic is None:
                return {}
            velocities = found[0].read(found[1]).values
            if len(velocities) != len(self.geometry.masses):
                return {}
            own = 0.5 * DALTON * float(self.geometry.masses @ (velocities**2).sum(axis=1))
            if not abs(own - float(kinetic)) <= 1e-3 * float(kinetic):
                raise ParseError(
                    f"{found[0].name}: expected velocities in bohr per atomic unit of time with the kinetic energy "
                    f"{float(kinetic):.6g} hartree, found {own:.6g}."
                )
        except ParseError as error:
            self._warn(f"velocities of step {step} are left out: {error.message}")
            return {}
        return {"velocities": Label(velocities, VELOCITY)}

    def say_what_is_missing(self, frames: Sequence[Frame]) -> None:
        """Warn of steps without forces, and of steps without velocities where the log names a file of them."""
        if self.kind not in ("md", "relax", "vc-relax"):
            return
        expected = [("forces", self.companions.forces, True)]
        expected.append(("velocities", self.companions.velocities, self.writes_velocities))
        for name, trajectories, is_expected in expected:
            lacking = sum(name not in frame.labels for frame in frames)
            if lacking and (trajectories or is_expected):
                places = ", ".join(["the log"] * (name == "forces") + [one.name for one in trajectories]) or "any file"
                self._warn(f"{lacking} of {len(frames)} frames have no {name}: {places} does not have them")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _converged(evaluation: Evaluation) -> int:
    """Whether the wave function of an evaluation converged; the run goes on where it did not (C4)."""
    if "unconverged" in evaluation.marks:
        return NO
    return YES if "converged" in evaluation.marks else UNKNOWN
