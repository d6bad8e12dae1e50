"""Standard output of cp.x: the blocks "Physical Quantities at step" of Car-Parrinello dynamics.

A block, printed every 100 steps and after the last, holds an energy with the positions it belongs to. Of the other
steps there is a row with the energy here, and their positions are in the files of `espresso.cp_files`. Everything is in
Hartree atomic units, the stress in GPa and positive in compression (pitfall Q1), lattice vectors are columns. The
printed stress holds the momentum of the nuclei, which is no label: it is taken off by the printed velocities, and where
"Pressure of Nuclei" or the kinetic energy in the row does not bear that out the stress is left out. While the electrons
are brought to their ground state with the ions held, no block but one that "convergence achieved" closes is a frame
of the Born-Oppenheimer surface.

References:
    CPV/src/print_out.f90 and printout_base.f90 of Quantum ESPRESSO 6 and 7.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mlpdata import units
from mlpdata.errors import MlpdataError, ParseError
from mlpdata.frames import by_block
from mlpdata.readers.archive import Input
from mlpdata.readers.espresso.cp_blocks import BLOCK, GPA, Account, Frame, Masses, frame, without_motion
from mlpdata.readers.espresso.cp_files import Beside, Tables, companions
from mlpdata.readers.espresso.cp_files import read as read_beside
from mlpdata.readers.espresso.names import dispersion_of, functional, run_of
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, whole
from mlpdata.schema.calculation import LeftOut, RunKind
from mlpdata.schema.method import Method, Pseudopotential
from mlpdata.schema.properties import NO, YES
from mlpdata.units import F64, Quantity

_PROGRAM = re.compile(rb"Program CP +v\.?(\S{1,40})[^\n]{0,80}? starts on *([^\n]{0,60})")
_END = re.compile(rb"^ +writing restart file|^   Averaged Physical Quantities|^   MAIN:", re.M)
_CONVERGED = b"MAIN: convergence achieved"
_DONE = b"JOB DONE."
_TITLE = re.compile(rb"^ +nfi +ekinc (?=[^\n]*\betot\b)[^\n]*", re.M)
_ROW = re.compile(rb"^ {1,9}(\S{1,60})((?: +\S{1,60}){10,12}) *\n", re.M)
_FIXED_CELL = b"cell parameters are not allowed to move"
HEADER_BYTES = 1 << 20
"""Where what holds for the whole run is looked for."""
DECIMALS = 8
"""A row whose energy has fewer is no label: cp.x before 5 printed five."""
BLOCKS_COMPARED = 5
"""So many blocks are looked for in the files beside, to tell whether these are of the same run."""


class _Row(NamedTuple):
    """One row of energies: what standard output prints of a step without a block."""

    place: int
    step: int
    energy: float
    """[hartree]"""
    kinetic: float
    """Of the nuclei, and of a cell that moves [hartree]."""


def is_espresso_cp(head: bytes) -> bool:
    """Whether the banner of cp.x stands in `head`."""
    return b"Program CP " in head and _PROGRAM.search(head) is not None


def read(source: Input) -> Iterator[Header | Printed | Ending]:
    """The one run of a file.

    Raises:
        ParseError: no banner.
    """
    found = _PROGRAM.search(source.head)
    if found is None:
        raise ParseError("expected the banner of cp.x, found none.")
    run = _Run(source)
    yield Header(
        method=_method(run.header, found[1].decode("latin-1")),
        identity=f"cp.x {found[1].decode('latin-1')} {' '.join(found[2].decode('latin-1').split())}",
        run_kind=_run_kind(run.header, held=run.held),
        energy_kind="unknown" if b"ensemble" in run.header.lower() else "total",
        basis_fixed_at="first cell" if b"cell parameters dynamics with" in run.header else None,
    )
    for block in by_block((len(one.positions), one) for one in run.frames()):
        yield _printed(block)
    yield _ending(source, run.account, moving=not run.held)


class _Run:
    """One run: its blocks, and its rows with the files beside it."""

    def __init__(self, source: Input) -> None:
        self.source, self.account = source, Account()
        blocks = list(BLOCK.finditer(source.data))
        starts = [block.start() for block in blocks]
        self.blocks = dict(itertools.pairwise([*starts, len(source.data)]))
        """End of each block, by its begin."""
        self.block_steps = {whole(block[1].decode("latin-1")) for block in blocks}
        self.header = source.data[: min([*starts[:1], len(source.data), HEADER_BYTES])]
        self.held = b"Ions are not allowed to move" in self.header
        self.masses = Masses(self.header, source.limits.atoms)
        self.beside = Beside()
        self.example: Frame | None = None
        """The frame of a block: its atoms are those of all rows."""

    def frames(self) -> Iterator[Frame]:
        """The frames in the order of their energies; a damaged one costs itself only."""
        rows = self._rows_beside()
        for place in sorted([*self.blocks, *rows]):
            line = self.source.line(place)
            try:
                yield self._of_row(rows[place], line) if place in rows else self._of_block(place, line, self.account)
            except MlpdataError as error:
                self.account.left_out.append(LeftOut(line=line, reason=error.message))
        self.account.warnings += self.beside.warnings

    def _of_block(self, begin: int, line: int, account: Account) -> Frame:
        end = _END.search(self.source.data, begin, self.blocks[begin])
        text = self.source.data[begin : end.start() if end else self.blocks[begin]]
        found = frame(text, line, self.masses, account)
        if self.held:
            found.velocities = None
            found.converged = YES if _CONVERGED in self.source.data[max(0, begin - 200) : begin] else NO
        return found

    def _rows_beside(self) -> dict[int, _Row]:
        """The rows of the steps that the files beside the output hold, by place."""
        rows = [] if self.held else list(self._rows())
        if rows and not self.source.companions:
            self.account.warnings.append(f"{len(rows)} steps have an energy only: no .pos file lies beside.")
        if not rows or not self.source.companions:
            return {}
        blocks = self._first_blocks()
        self.example = blocks[0] if blocks else None
        self.beside = read_beside(self.source, len(blocks[0].names) if blocks else self.masses.n_atoms)
        for block in blocks:
            self.beside.confirm(block.step, block.positions)
        steps = self.beside.steps
        return {row.place: row for row in rows if row.step in steps}

    def _first_blocks(self) -> list[Frame]:
        """Some blocks that can be read."""
        found = []
        for begin in itertools.islice(self.blocks, BLOCKS_COMPARED):
            with suppress(MlpdataError):
                found.append(self._of_block(begin, 0, Account()))
        return found

    def _rows(self) -> Iterator[_Row]:
        """The rows of steps that have no block; a damaged one is said."""
        title = _TITLE.search(self.source.data)
        if title is None:
            return
        columns = title[0].split()
        for match in _ROW.finditer(self.source.data, title.end()):
            fields, step = match[0].split(), whole(match[1].decode("latin-1"))
            if step is not None and step in self.block_steps:
                continue
            try:
                if step is None or len(fields) != len(columns):
                    raise ParseError("expected the columns of a step, found others.")
                of = dict(zip(columns, fields, strict=True))
                if len(of[b"etot"].partition(b".")[2]) < DECIMALS:
                    raise ParseError(f"expected an energy with {DECIMALS} decimals, found fewer.")
                motion = number(of.get(b"econs", b"0")) - number(of.get(b"enthal", b"0"))
                yield _Row(match.start(), step, number(of[b"etot"]), motion)
            except ParseError as error:
                if self.source.companions:
                    line = self.source.line(match.start())
                    self.account.left_out.append(LeftOut(line=line, reason=error.message))

    def _of_row(self, row: _Row, line: int) -> Frame:
        """The frame of a row and of the tables beside.

        Raises:
            ParseError: a part that is missing, damaged, or of another run.
        """
        example = self.example
        if example is None:
            raise ParseError("expected a block that names the atoms, found none that can be read.")
        tables = self.beside.tables(row.step, row.energy)
        cell = tables.cell
        if cell is None and _FIXED_CELL in self.header:
            cell = example.cell
        if cell is None:
            raise ParseError(f"expected the cell of step {row.step} in a .cel file, found none.")
        return Frame(
            step=row.step,
            line=line,
            energy=row.energy,
            cell=cell,
            names=example.names,
            atomic_numbers=example.atomic_numbers,
            positions=tables.positions,
            velocities=tables.velocities,
            forces=tables.forces,
            stress=self._stress(row, tables, cell, example.names),
        )

    def _stress(self, row: _Row, tables: Tables, cell: F64, names: list[bytes]) -> F64 | None:
        """The stress without the motion of the nuclei, whose kinetic energy the row holds [GPa], shape (3, 3)."""
        if tables.stress is None or tables.velocities is None:
            return None
        pressure = row.kinetic * 2 / 3 / abs(float(np.linalg.det(cell))) / GPA
        stress = without_motion(tables.stress, cell, tables.velocities, self.masses.of(names), pressure)
        if stress is None:
            self.account.warnings.append(
                f"step {row.step}: stress left out: velocities do not give the kinetic energy of the nuclei."
            )
        return stress


def _printed(block: list[Frame]) -> Printed:
    n_atoms = [len(frame.positions) for frame in block]
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.concatenate([frame.atomic_numbers for frame in block]),
        "positions": Quantity(np.concatenate([frame.positions for frame in block]), "bohr"),
        "cell": Quantity(np.array([frame.cell for frame in block]), "bohr", 8),
        "pbc": np.ones((len(block), 3), np.int8),
        "energy": Quantity(np.array([frame.energy for frame in block]), "hartree", 11),
        "scf_converged": [frame.converged for frame in block],
        "step": [frame.step for frame in block],
        "source_line": [frame.line for frame in block],
    }
    for name, unit in (("forces", "hartree/bohr"), ("velocities", "bohr/aut")):
        rows = [getattr(frame, name) for frame in block]
        if any(row is not None for row in rows):
            blank = [np.full((n, 3), np.nan) if row is None else row for n, row in zip(n_atoms, rows, strict=True)]
            arrays[name] = Quantity(np.concatenate(blank), unit)
    if any(frame.stress is not None for frame in block):
        stresses = [np.full((3, 3), np.nan) if frame.stress is None else -frame.stress for frame in block]
        arrays["stress"] = Quantity(np.array(stresses), "GPa", sign=-1)
    return Printed(n_atoms, arrays)


def _ending(source: Input, account: Account, *, moving: bool) -> Ending:
    done = _DONE in source.data[max(0, len(source.data) - 4096) :]
    if moving:
        account.warnings.append("Car-Parrinello dynamics: the electrons follow the ions at a distance, see ekinc.")
    return Ending(
        status="complete" if done else "truncated",
        reason="" if done else "the file ends before JOB DONE.",
        left_out=tuple(account.left_out),
        warnings=tuple(account.warnings),
    )


def _run_kind(header: bytes, *, held: bool) -> RunKind:
    if held:
        return "single_point"
    return "md" if b"Ions dynamics with newton equations" in header else "relax"


def _method(header: bytes, version: str) -> Method:
    """Level of theory and settings from the text before the first block."""
    printed = re.search(rb"Exchange-correlation *= *([^\n(]{1,80})", header)
    name = functional(printed[1].decode("latin-1")) if printed else None
    spin = re.search(rb"(?:Local Spin Density|spin polarized|nspin *= *2)", header, re.I)
    return Method(
        code="quantum-espresso",
        code_version=version,
        functional=name,
        functional_as_printed=" ".join(printed[1].decode("latin-1").split()) if printed else None,
        dispersion=dispersion_of(name),
        basis="plane waves",
        cutoff_energy=_rydberg(rb"Ecutwfc *= *(\S+) Ry", header),
        cutoff_density=_rydberg(rb"Ecutrho *= *(\S+) Ry", header),
        spin="unrestricted" if spin else None,
        pseudopotentials=_pseudopotentials(header),
        settings_as_printed={
            key: float(found[1])
            for key, pattern in (("dt", rb"MD Simulation time step +\D*?(\d\S*)"), ("emass", rb"\(emass\) = +(\d\S*)"))
            if (found := re.search(pattern, header)) is not None and re.fullmatch(rb"\d+\.\d*", found[1])
        },
    )


def _rydberg(pattern: bytes, header: bytes) -> float | None:
    found = re.search(pattern, header)
    try:
        return units.scalar(number(found[1]), "Ry", "energy") if found else None
    except ParseError:
        return None


def _pseudopotentials(header: bytes) -> tuple[Pseudopotential, ...]:
    """Names of the files, without the folders that they lay in."""
    files = re.findall(rb"Reading pseudopotential for specie # +\d+ from file :\s{0,8}(\S{1,400})", header)
    titles = [file.decode("latin-1").rsplit("/", 1)[-1] for file in files]
    elements = [re.match(r"[A-Za-z]{1,2}(?=[._-])", title) for title in titles]
    return tuple(
        Pseudopotential(element=element[0].capitalize() if element else "", title=title)
        for element, title in sorted(zip(elements, titles, strict=True), key=lambda pair: pair[1])
    )


READER = Reader("espresso/cp", 2, (), is_espresso_cp, read, run_of, precedence=1, companions=companions)
