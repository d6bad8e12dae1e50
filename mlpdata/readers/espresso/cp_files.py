"""Files that cp.x writes beside its standard output every `iprint` steps: PREFIX.pos, .for, .vel, .cel, .str, .evp.

Each holds a heading with the number of the step, then a table; standard output prints the energy of the same step.
Positions, forces, velocities, cell and stress under one number belong to that energy: along a run of cp.x 6.7 with
iprint = 1 the change of energy is the work of the forces to 4 parts in 10,000, with neighbouring numbers to 30. The
stress holds the momentum of the nuclei. A cell is printed with its vectors in columns.

A run that is restarted appends to these files, and another run may leave its own under the same name. A step is
therefore taken by its number and by its energy in PREFIX.evp; where that does not tell, by the positions that
standard output prints every 100 steps.

References:
    CPV/src/print_out.f90 and printout_base.f90 of Quantum ESPRESSO 4 to 7.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.place import COMPRESSED, Belonging
from mlpdata.readers.registry import plain_name
from mlpdata.readers.text import number, numbers, whole
from mlpdata.units import F64

_RESTART = re.compile(rb"writing restart file[^\n]{0,40}: {1,8}(?:[^\s]{0,400}/)?([^\s/]{1,200})_\d{1,4}\.save/")
_HEADING = re.compile(rb"^[ \t]*(\d{1,9})[ \t]+(\S{1,24})[ \t\r]*\n", re.M)
_HELD = b"Ions are not allowed to move"
_TABLES = (".pos", ".for", ".vel", ".cel", ".str")
_SUFFIX = rf"\.(?:pos|for|vel|cel|str|evp){COMPRESSED}"
EVP_COLUMNS = b"nfi time(ps) ekinc T_cell(K) Tion(K) etot enthal econs econt Volume Pressure(GPa)".split()
"""Of .evp, where it does not say; all versions begin with these."""
SAME_ENERGY = 1.1e-8
"""Energies printed with eight decimals and with more agree within this [hartree]."""


class Tables(NamedTuple):
    """What the files hold of one step."""

    positions: F64
    """[bohr], shape (n_atoms, 3)."""
    cell: F64 | None
    """Lattice vectors as rows [bohr], shape (3, 3)."""
    forces: F64 | None
    """[hartree/bohr], shape (n_atoms, 3)."""
    velocities: F64 | None
    """[bohr/aut], shape (n_atoms, 3)."""
    stress: F64 | None
    """With the motion of the nuclei, positive in compression [GPa], shape (3, 3)."""


def companions(source: Input) -> Belonging:
    """The files beside a standard output whose ions move: those of its prefix, else of the only one in the folder."""
    if _HELD in source.head:
        return Belonging()
    prefix = _RESTART.search(source.head)
    if prefix is not None:
        return Belonging(pattern=re.escape(os.fsdecode(prefix[1])) + _SUFFIX)
    return Belonging(pattern=f"(.+){_SUFFIX}", anchor=rf"(.+)\.(?:pos|evp){COMPRESSED}")


class _StepFile:
    """One file of tables, its headings read and its rows not."""

    def __init__(self, source: Input, rows: int) -> None:
        self.source, self.rows = source, rows
        self.places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        """Begin and end of each table, by step, in the order of the file."""
        headings = list(_HEADING.finditer(source.data))
        ends = [following.start() for following in headings[1:]] + [len(source.data)]
        for heading, end in zip(headings, ends, strict=False):  # one end too many where there is no heading
            self.places[int(heading[1])].append((heading.end(), end))
        self.begins_whole = bool(headings) and headings[0].start() == 0

    @property
    def name(self) -> str:
        """Of the file."""
        return self.source.path.name

    def read(self, step: int, which: int) -> F64:
        """A table, shape (rows, 3).

        Raises:
            ParseError: rows that are lost, or no numbers.
        """
        begin, end = self.places[step][which]
        text = self.source.data[begin:end]
        if text.count(b"\n") != self.rows or not text.endswith(b"\n"):
            raise ParseError(f"expected {self.rows} rows of step {step} in {self.name}, found others. It is damaged.")
        try:
            return numbers(text, 3 * self.rows).reshape(-1, 3)
        except ParseError as error:
            raise ParseError(f"{self.name}, step {step}: {error.message}") from None


@dataclass
class Beside:
    """The files beside one standard output."""

    files: dict[str, _StepFile] = field(default_factory=dict)
    """By suffix."""
    energies: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of .evp by step, in the order of the file [hartree]."""
    of_this_run: bool = False
    """Whether positions of standard output were found in them."""
    warnings: list[str] = field(default_factory=list)

    @property
    def steps(self) -> set[int]:
        """Steps that any of the files names."""
        return set(self.energies).union(*(file.places for file in self.files.values()))

    def confirm(self, step: int, positions: F64) -> None:
        """Note whether the positions that standard output prints for a step are in the files."""
        file = self.files.get(".pos")
        for which in range(len(file.places.get(step, [])) if file else 0):
            try:
                self.of_this_run |= file is not None and np.array_equal(file.read(step, which), positions)
            except ParseError:
                continue

    def tables(self, step: int, energy: float) -> Tables:
        """What belongs to the energy [hartree] of a step; a damaged table but the positions costs itself only.

        Raises:
            ParseError: no positions, or those of another run.
        """
        which, count = self._which(step, energy)
        if ".pos" not in self.files:
            raise ParseError(f"expected positions of step {step} in a .pos file, found none beside the output.")
        positions = self._table(".pos", step, which, count)
        cell = self._optional(".cel", step, which, count)
        return Tables(
            positions,
            None if cell is None else cell.T,
            self._optional(".for", step, which, count),
            self._optional(".vel", step, which, count),
            self._optional(".str", step, which, count),
        )

    def _which(self, step: int, energy: float) -> tuple[int, int]:
        """Which table of a step belongs to an energy, and how many there are: restarts append further ones."""
        energies = self.energies.get(step, [])
        count = max(len(energies), *(len(file.places.get(step, [])) for file in self.files.values()), 0)
        if len(energies) == count:
            same = [which for which, one in enumerate(energies) if abs(one - energy) <= SAME_ENERGY]
            if same:
                return same[-1], count
            raise ParseError(
                f"expected step {step} to have the energy {energy:.8f} in .evp, found {energies[-1]:.8f}. "
                "It is of another run; nothing was paired."
            )
        if count != 1 or not self.of_this_run:
            raise ParseError(f"expected step {step} with its energy in .evp, found none. Whose it is cannot be told.")
        return 0, count

    def _table(self, suffix: str, step: int, which: int, count: int) -> F64:
        file = self.files[suffix]
        if len(file.places.get(step, [])) != count:
            raise ParseError(f"expected step {step} in {file.name} {count} times, found it otherwise. It is damaged.")
        return file.read(step, which)

    def _optional(self, suffix: str, step: int, which: int, count: int) -> F64 | None:
        """A table that a frame can do without; what is damaged is said."""
        try:
            return self._table(suffix, step, which, count) if suffix in self.files else None
        except ParseError as error:
            self.warnings.append(error.message)
            return None


def read(source: Input, n_atoms: int) -> Beside:
    """The files beside a standard output, sorted by what they hold."""
    found = Beside()
    for companion in source.companions:
        suffix = PurePath(plain_name(companion.path)).suffix
        if suffix == ".evp":
            _add_energies(found, companion)
            continue
        file = _StepFile(companion, 3 if suffix in (".cel", ".str") else n_atoms)
        found.files[suffix] = file
        if not file.begins_whole:
            found.warnings.append(
                f"{file.name}: expected the heading of a step at its beginning, found something else."
            )
    missing = [suffix for suffix in _TABLES if suffix not in found.files]
    if source.companions and missing:
        found.warnings.append(f"expected {', '.join(missing)} among the files of the steps, found none.")
    return found


def _add_energies(found: Beside, source: Input) -> None:
    """The energies of .evp: one column of rows, which its heading names; runs that are restarted print no heading."""
    columns = EVP_COLUMNS
    for line, row in enumerate(source.data[:].split(b"\n")[:-1], 1):
        fields = row.lstrip(b"#").split()
        if row.startswith(b"#"):
            columns = fields
            continue
        try:
            if b"etot" not in columns or len(fields) not in (len(EVP_COLUMNS), len(columns)):
                raise ParseError("expected as many numbers as columns, found others.")
            step = whole(fields[0].decode("latin-1"))
            if step is None:
                raise ParseError("expected the number of a step, found something else.")
            found.energies[step].append(number(fields[columns.index(b"etot")]))
        except ParseError as error:
            found.warnings.append(f"{source.path.name}:{line}: {error.message}")
