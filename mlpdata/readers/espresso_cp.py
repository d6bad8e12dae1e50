"""Standard output of cp.x: the blocks "Physical Quantities at step" of Car-Parrinello dynamics.

A block, printed every 100 steps and after the last, holds an energy with the positions it belongs to. Of the other
steps there is a row with the energy here, and their positions are in the files of `espresso_cp_files`. Everything is in
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
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from mlpdata import units
from mlpdata.errors import MlpdataError, ParseError
from mlpdata.frames import by_block
from mlpdata.readers import espresso_cp_files
from mlpdata.readers.archive import Input
from mlpdata.readers.espresso_cp_files import Beside
from mlpdata.readers.espresso_names import atomic_number, dispersion_of, functional, run_of
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.readers.text import number, numbers, whole
from mlpdata.schema.calculation import LeftOut, RunKind
from mlpdata.schema.method import Method, Pseudopotential
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64, Quantity

_PROGRAM = re.compile(rb"Program CP +v\.?(\S{1,40})[^\n]{0,80}? starts on *([^\n]{0,60})")
_BLOCK = re.compile(rb"^ \* Physical Quantities at step: +(\S+)", re.M)
_END = re.compile(rb"^ +writing restart file|^   Averaged Physical Quantities|^   MAIN:", re.M)
_CONVERGED = b"MAIN: convergence achieved"
_DONE = b"JOB DONE."
_TITLE = re.compile(rb"^ +nfi +ekinc (?=[^\n]*\betot\b)[^\n]*", re.M)
_ROW = re.compile(rb"^ {1,9}(\S{1,10})((?: +\S{1,30}){10,14}) *\n", re.M)
_MASS = re.compile(rb"^   Species +(\d+) atoms = +(\d{1,9}) mass = +(\S+) \(a\.u\.\)", re.M)
_BLANK = re.compile(rb"[ \t\r]*\n")
_TABLE_ROW = re.compile(rb"   ([A-Z][A-Za-z0-9_-]{0,5}) +(\S[^\n]*)\n")
HEADER_BYTES = 1 << 20
"""Where what holds for the whole run is looked for."""
GPA = units.BOHR**3 / units.HARTREE * 10 / units.EV_PER_ANGSTROM3
"""One GPa in hartree/bohr^3."""
KINETIC_TOLERANCE = 1e-6
"""Rounding of masses in six digits, relative."""
PRESSURE_TOLERANCE = 2e-4
"""Rounding of the printed pressure of the nuclei, and of masses in six digits [GPa]."""


@dataclass
class _Frame:
    """One block in atomic units."""

    step: int
    line: int
    energy: float
    cell: F64
    atomic_numbers: list[int]
    positions: F64
    velocities: F64 | None
    forces: F64 | None
    stress: F64 | None
    """Of the electrons and the lattice of nuclei, without their motion; positive in compression [GPa]."""
    converged: int


@dataclass
class _Account:
    """What was lost, and what a user should know."""

    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


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
    starts = [match.start() for match in _BLOCK.finditer(source.data)]
    header = source.data[found.start() : min([*starts[:1], len(source.data), HEADER_BYTES])]
    account = _Account()
    held = b"Ions are not allowed to move" in header
    masses = _masses(header, source.limits.atoms)
    yield Header(
        method=_method(header, found[1].decode("latin-1")),
        identity=f"cp.x {found[1].decode('latin-1')} {' '.join(found[2].decode('latin-1').split())}",
        run_kind=_run_kind(header, held=held),
        energy_kind="unknown" if b"ensemble" in header.lower() else "total",
    )
    frames = (_whole(source, begin, stop, masses, account, held=held) for begin, stop in _spans(source, starts))
    for block in by_block((len(frame.positions), frame) for frame in frames if frame is not None):
        yield _printed(block)
    yield _ending(source, account, moving=not held)


def _spans(source: Input, starts: list[int]) -> Iterator[tuple[int, int]]:
    """Where each block begins and ends."""
    for begin, limit in itertools.pairwise([*starts, len(source.data)]):
        end = _END.search(source.data, begin, limit)
        yield begin, end.start() if end else limit


def _whole(source: Input, begin: int, stop: int, masses: F64, account: _Account, *, held: bool) -> _Frame | None:
    """The frame of one block; None where it is damaged, which the account says."""
    line = source.line(begin)
    try:
        return _frame(source, begin, stop, line, masses, account, held=held)
    except MlpdataError as error:
        account.left_out.append(LeftOut(line=line, reason=error.message))
        return None


def _frame(source: Input, begin: int, stop: int, line: int, masses: F64, account: _Account, *, held: bool) -> _Frame:
    text = source.data[begin:stop]
    match = _BLOCK.match(text)
    energy = re.search(rb"^ +total energy = +(\S+) Hartree a\.u\.", text, re.M)
    if match is None or energy is None:
        raise ParseError("expected a total energy in the block, found none. The file may be cut.")
    step = whole(match[1].decode("latin-1"))
    if step is None:
        raise ParseError(f"expected the number of the step, found {match[1][:40]!r}. The frame was left out.")
    names, positions = _table(text, b"   ATOMIC_POSITIONS\n")
    if positions is None or len(masses) not in (0, len(names)):
        raise ParseError(f"expected ATOMIC_POSITIONS of all atoms, found {len(names)}. The file may be cut.")
    cell = _cell(text)
    velocities = _optional(text, b"   ATOMIC_VELOCITIES\n", names, line, account)
    converged = UNKNOWN
    if held:
        before = source.data[max(0, begin - 200) : begin]
        converged = YES if _CONVERGED in before else NO
    return _Frame(
        step=step,
        line=line,
        energy=number(energy[1]),
        cell=cell,
        atomic_numbers=[atomic_number(name.decode("latin-1")) for name in names],
        positions=positions,
        velocities=None if held else velocities,
        forces=_forces(text, names),
        stress=_stress(text, cell, velocities, masses, line, account),
        converged=converged,
    )


def _cell(text: bytes) -> F64:
    """Lattice vectors as rows [bohr], shape (3, 3)."""
    at = text.find(b"   CELL_PARAMETERS\n")
    if at < 0:
        raise ParseError("expected CELL_PARAMETERS in the block, found none. The file may be cut.")
    rows = text[at:].split(b"\n", 4)[1:4]
    return numbers(b" ".join(rows), 9).reshape(3, 3)


def _table(text: bytes, heading: bytes) -> tuple[list[bytes], F64 | None]:
    """Names and numbers of the rows below a heading, (n_atoms, 3); None where there is no such table."""
    at = text.find(heading)
    if at < 0:
        return [], None
    names, rows, place = [], [], at + len(heading)
    while row := _TABLE_ROW.match(text, place):
        names.append(row[1])
        rows.append(row[2])
        place = row.end()
    if not _BLANK.match(text, place):
        raise ParseError(f"expected an empty line after {len(rows)} rows, found another. The table is damaged or cut.")
    return names, numbers(b" ".join(rows), 3 * len(rows)).reshape(-1, 3)


def _forces(text: bytes, names: list[bytes]) -> F64 | None:
    """Forces [hartree/bohr], shape (n_atoms, 3); None where the run prints none.

    Raises:
        ParseError: not those of the atoms of the block.
    """
    of, forces = _table(text, b"   Forces acting on atoms (au):\n")
    if forces is not None and of != names:
        raise ParseError(f"expected forces on {len(names)} atoms, found {len(of)} rows. The file may be cut.")
    return forces


def _optional(text: bytes, heading: bytes, names: list[bytes], line: int, account: _Account) -> F64 | None:
    """A table that a frame can do without; what is damaged is said."""
    try:
        of, values = _table(text, heading)
    except ParseError as error:
        account.warnings.append(f"line {line}: velocities left out: {error.message}")
        return None
    if values is not None and of != names:
        account.warnings.append(f"line {line}: velocities left out: {len(of)} rows for {len(names)} atoms.")
        return None
    return values


def _stress(text: bytes, cell: F64, velocities: F64 | None, masses: F64, line: int, account: _Account) -> F64 | None:
    """The stress without the motion of the nuclei, positive in compression [GPa], shape (3, 3)."""
    at = text.find(b"   Total stress (GPa)\n")
    if at < 0:
        return None
    try:
        total = numbers(b" ".join(text[at:].split(b"\n", 4)[1:4]), 9).reshape(3, 3)
    except ParseError as error:
        account.warnings.append(f"line {line}: stress left out: {error.message}")
        return None
    nuclei = re.search(rb"Pressure of Nuclei \(GPa\) +(\S+)", text)
    if velocities is None or nuclei is None or len(masses) != len(velocities):
        account.warnings.append(
            f"line {line}: stress left out: it holds the motion of the nuclei, which is not printed."
        )
        return None
    moving = np.einsum("a,ai,aj->ij", masses, velocities, velocities) / abs(np.linalg.det(cell)) / GPA
    if not abs(np.trace(moving) / 3 - number(nuclei[1])) <= PRESSURE_TOLERANCE:
        account.warnings.append(f"line {line}: stress left out: velocities do not give the pressure of the nuclei.")
        return None
    stress: F64 = total - moving
    return stress


def _printed(block: list[_Frame]) -> Printed:
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


def _masses(header: bytes, most: int) -> F64:
    """Mass of each atom in electron masses, in the order of the tables, shape (n_atoms,).

    Raises:
        ParseError: a mass that is no number, or more than `most` atoms.
    """
    species = [(int(match[2]), number(match[3])) for match in _MASS.finditer(header)]
    if sum(count for count, _ in species) > most:
        raise ParseError(f"expected at most {most} atoms, found more.")
    return np.repeat([mass for _, mass in species], [count for count, _ in species]).astype(np.float64)


def _ending(source: Input, account: _Account, *, moving: bool) -> Ending:
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


READER = Reader("espresso/cp", 1, (), is_espresso_cp, read, run_of, precedence=1)
