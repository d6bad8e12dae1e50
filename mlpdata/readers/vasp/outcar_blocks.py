"""The blocks of one ionic step of an OUTCAR: energies, stress, cell, positions and forces, moments, charges.

Each function knows one block and where it may stand. Numbers stand in Fortran's fixed columns: where two of them touch
(pitfall V16) they are told apart by the columns, and only if every field then has its point and all its decimals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import ParseError
from mlpdata.readers import fixed_width
from mlpdata.readers.text import number, numbers
from mlpdata.readers.vasp.header import Run
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64

ENERGIES = b"\n  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)"
"""Heading of the final energies; that of a machine-learned force field begins with ML (pitfall V11)."""
FORCES = b"TOTAL-FORCE (eV/Angst)"
LEARNED = b" (ML)"
"""What follows `FORCES` in the heading of a machine-learned force field (pitfall V11)."""
STEP_ENDS = b" LOOP+:"
BASIS = b"\n VOLUME and BASIS-vectors are now"
STRESS = b"\n  FORCE on cell =-STRESS"
"""Heading of the stress; that of a machine-learned force field begins with ML."""
ELECTRONS = b"\n number of electron"
MOMENTS = b"\n magnetization (x)"
FERMI = b"\n E-fermi :"
LATTICE_KINETIC = b"\n  kin. lattice  EKIN_LAT="
BORN = b"\n BORN EFFECTIVE CHARGES ("
ITERATION = b" Iteration "
_ABORTING = b" aborting loop"
_FREE = re.compile(rb"\n  free  energy   TOTEN  =([ \d.*A-Za-z+-]{1,40}?) eV")
_OTHERS = re.compile(
    rb"\n  energy  without entropy=([^\n]{1,40}?)(?: eV[^\n]{1,60}?)?  energy\(sigma->0\) =([^\n]{1,40}?)(?: eV[^\n]{1,60})? *\n"
)
_CELL = re.compile(rb"\n {4,8}direct lattice vectors[^\n]{0,60}\n([^\n]{1,200}\n[^\n]{1,200}\n[^\n]{1,200})\n")
_STRESS = re.compile(rb"\n  in kB([^\n]{1,200})\n")
_COUNTER = re.compile(rb" Iteration {1,12}[\d*]{1,9}\( {0,8}(\d{1,6})\)")
_CHANGE = b"\n total energy-change ("
_MOMENT = re.compile(rb"\n number of electron[^\n]{1,40}magnetization([^\n]{0,80})\n")
_FERMI = re.compile(rb"\n E-fermi :([^\n]{1,40}?) {1,8}XC\(G=0\)")
_TEMPERATURE = re.compile(rb"\n  kin\. lattice  EKIN_LAT=([^\n]{1,40}?)\(temperature([^\n]{1,40}?) K\)")
_RULE = re.compile(rb" *-{20,}[^\n]*\n")

POSITION_DECIMALS, FORCE_DECIMALS, CELL_DECIMALS = 5, 6, 9
_POSITION_WIDTH, _FORCE_WIDTH, _CELL_WIDTH = 13, 14, 13
_GAP = 3
_FIRST_FORCE = 3 * _POSITION_WIDTH + _GAP
ROW = _FIRST_FORCE + 3 * _FORCE_WIDTH
"""Characters of a row of positions and forces."""


def free_energy(text: bytes, begin: int) -> bytes:
    """The free energy that follows the heading at `begin` [eV], as printed; it is what forces derive from (V5).

    With PSTRESS the enthalpy is printed apart, below (pitfall V3).

    Raises:
        ParseError: no such line, or no number in it.
    """
    found = _FREE.search(text, begin, begin + 400)
    if found is None:
        raise ParseError("expected free  energy   TOTEN, found another line. The frame was left out.")
    number(found[1])
    return found[1].strip()


def other_energies(text: bytes, begin: int) -> tuple[float, float]:
    """Energy extrapolated to zero smearing and energy without entropy [eV] below the heading at `begin`.

    Raises:
        ParseError: no such line, or a field that is no number.
    """
    found = _OTHERS.search(text, begin, begin + 800)
    if found is None:
        raise ParseError("expected energy  without entropy, found another line.")
    return number(found[2]), number(found[1])


def cell(text: bytes, begin: int, end: int) -> F64:
    """Lattice vectors printed between `begin` and `end` [angstrom], (3, 3).

    Raises:
        ParseError: none, or a field that is no number.
    """
    found = _CELL.search(text, begin, end)
    if found is None:
        raise ParseError("expected direct lattice vectors, found none. The frame was left out.")
    fields: list[bytes] = []
    for row in found[1].split(b"\n"):
        split = row.split()
        fields += split[:3] if len(split) == 6 else by_column(row[3:42], _CELL_WIDTH)
    return numbers(b" ".join(fields), 9).reshape(3, 3)


def stress(text: bytes, begin: int) -> list[bytes]:
    """Stress in the block that begins at `begin` [kB], positive in compression: XX YY ZZ XY YZ ZX (V18), as printed.

    Raises:
        ParseError: no such row, or a field that is no number.
    """
    found = _STRESS.search(text, begin, begin + 6000)
    if found is None:
        raise ParseError("expected a row in kB, found none.")
    fields = found[1].split()
    if len(fields) != 6:
        row = found[1].rstrip()[2:]
        fields = by_column(row, len(row) // 6) if len(row) % 6 == 0 else fields
    numbers(b" ".join(fields), 6)
    return fields


def by_column(row: bytes, width: int) -> list[bytes]:
    """The fields of a row whose columns touch: each of `width` characters, all with as many decimals (V16).

    Raises:
        ParseError: a field that is not of this form; columns then prove nothing.
    """
    fields = [row[i : i + width] for i in range(0, len(row), width)]
    places = {field.find(b".") for field in fields}
    if len(places) != 1 or not all(re.fullmatch(rb" *-?\d+\.\d+", field) for field in fields):
        raise ParseError(
            f"expected columns of {width} characters, found {row[:60].decode('latin-1')!r}. "
            "Numbers touch and cannot be told apart; the frame was left out."
        )
    return fields


def first_row(text: bytes, heading: int, end: int) -> int:
    """Offset of the first row of a table of positions and forces whose heading is at `heading`.

    Raises:
        ParseError: no rule below the heading.
    """
    below = text.find(b"\n", heading, end) + 1
    rule = _RULE.match(text, below, end) if below else None
    if rule is None:
        raise ParseError("expected a table of positions and forces, found none. The file is cut or damaged.")
    return rule.end()


def tables(text: bytes, starts: Sequence[int], n_atoms: int) -> tuple[F64, F64, NDArray[np.bool_]]:
    """Positions [angstrom] and forces [eV/angstrom], both (n, n_atoms, 3), of the tables whose rows begin at `starts`.

    The third array says which tables are of VASP's layout, to the last character; the numbers of others are arbitrary.
    Only the first six columns are looked at: forces without dispersion may follow (pitfall V16).
    """
    row = text.find(b"\n", starts[0]) + 1 - starts[0]
    n, size = len(starts), n_atoms * row + _GAP
    block = b"".join([text[start : start + size] for start in starts])
    if row <= ROW or len(block) != n * size:
        return np.empty((n, n_atoms, 3)), np.empty((n, n_atoms, 3)), np.zeros(n, bool)
    characters = np.frombuffer(block, np.uint8).reshape(n, size)
    rows = characters[:, : n_atoms * row].reshape(n, n_atoms, row)
    positions, good = _columns(rows[..., : 3 * _POSITION_WIDTH], _POSITION_WIDTH, POSITION_DECIMALS)
    forces, flags = _columns(rows[..., _FIRST_FORCE:ROW], _FORCE_WIDTH, FORCE_DECIMALS)
    good &= flags
    good &= (rows[..., 3 * _POSITION_WIDTH : _FIRST_FORCE] == ord(" ")).all(axis=(1, 2))
    good &= (rows[..., -1] == ord("\n")).all(axis=1) & ((rows == ord("\n")).sum(axis=(1, 2)) == n_atoms)
    good &= ((rows[..., ROW] == ord("\n")) | (rows[..., ROW] == ord(" "))).all(axis=1)
    good &= (characters[:, n_atoms * row :] == np.frombuffer(b" --", np.uint8)).all(axis=1)
    return positions, forces, good


def _columns(rows: fixed_width.U8, width: int, decimals: int) -> tuple[F64, NDArray[np.bool_]]:
    """Numbers of three columns of `width` characters, (n, n_atoms, 3), and which tables are of that layout."""
    fields = rows.reshape(*rows.shape[:-1], 3, width)
    wide = np.full((*fields.shape[:-1], fixed_width.WIDTH), ord("0"), np.uint8)
    wide[..., 0] = ord(" ")
    wide[..., 1 : 9 + decimals] = fields[..., width - decimals - 8 :]
    values, flags = fixed_width.decimals(wide)
    good: NDArray[np.bool_] = np.logical_and.reduce(flags.reshape(len(rows), -1), axis=1)
    return values, good


def table(text: bytes, start: int, n_atoms: int, end: int) -> tuple[F64, F64]:
    """Positions and forces of one table that is not of the common layout, each (n_atoms, 3).

    Raises:
        ParseError: another number of rows, or a field that is no number.
    """
    stop = text.find(b"\n --", start - 1, end)
    rows = text[start:stop].split(b"\n") if stop > start else []
    if len(rows) != n_atoms:
        raise ParseError(f"expected {n_atoms} rows of positions and forces, found {len(rows)}. The frame was left out.")
    values = np.array([numbers(b" ".join(_six(row)), 6) for row in rows])
    return values[:, :3], values[:, 3:]


def _six(row: bytes) -> list[bytes]:
    """The first six fields of a row; by column where numbers touch."""
    fields = row.split()
    if len(fields) in {6, 9}:
        return fields[:6]
    places = by_column(row[: 3 * _POSITION_WIDTH], _POSITION_WIDTH)
    return places + by_column(row[_FIRST_FORCE:ROW], _FORCE_WIDTH)


def scf_converged(text: bytes, last: int, end: int, run: Run) -> int:
    """Whether the electronic loop whose last iteration is at `last` converged (pitfalls V7, V8).

    VASP 6 says so. Before it, EDIFF is said to be reached even where NELM was: then the iterations decide.
    """
    if not run.is_self_consistent or text.find(b" hard stop encountered!", last, end) >= 0:
        return NO
    stop = text.find(_ABORTING, last, end)
    if stop < 0:
        return UNKNOWN
    if text.find(b"EDIFF was not reached", stop, stop + 80) >= 0:
        return NO
    return YES if (run.header.method.code_version or "") >= "6" else _by_iterations(text, last, stop, run)


def _by_iterations(text: bytes, last: int, stop: int, run: Run) -> int:
    """Fewer iterations than NELM: yes. As many, and the last one changed the energy by EDIFF or more: no.

    Iterations of linear response come after the labels and do not count (pitfall V4).
    """
    if run.max_electronic_steps is None:
        return UNKNOWN
    n_iterations = int(_matched(_COUNTER, text, last)[1])
    if n_iterations != run.max_electronic_steps:
        return YES if n_iterations < run.max_electronic_steps else UNKNOWN
    change = text.find(_CHANGE, last, stop)
    if change < 0:
        return UNKNOWN
    printed = text[change + len(_CHANGE) : change + 60].split(b":")[-1].split(b"(")[0]
    return NO if abs(number(printed)) >= run.energy_tolerance else UNKNOWN


def total_magnetization(text: bytes, begin: int) -> float:
    """Spin up minus spin down in the line at `begin` [muB]; NaN where there are three components.

    Raises:
        ParseError: a field that is no number.
    """
    fields = _matched(_MOMENT, text, begin)[1].split()
    return number(fields[0]) if len(fields) == 1 else float("nan")


def moments(text: bytes, begin: int, end: int, n_atoms: int) -> F64 | None:
    """Magnetic moments of the atoms [muB], (n_atoms, 1) or (n_atoms, 3), from the first table on, which is at `begin`.

    Raises:
        ParseError: another number of rows, or a field that is no number.
    """
    headings = [begin, *(text.find(b"\n magnetization (%b)" % axis, begin, end) for axis in (b"y", b"z"))]
    columns = [_last_column(text, place, end, n_atoms) for place in headings if place >= 0]
    return np.stack(columns, axis=1) if len(columns) in {1, 3} else None


def _last_column(text: bytes, heading: int, end: int, n_atoms: int) -> F64:
    """The sums at the ends of the rows of a table of ions."""
    titles = text.find(b"\n# of ion", heading, min(end, heading + 200))
    below = text.find(b"\n", titles + 1, end)
    rule = _RULE.match(text, below + 1, end) if 0 <= titles < below else None
    if rule is None:
        raise ParseError("expected a table of ions, found none.")
    width = len(text[titles:below].split()) - 2
    rows = text[rule.end() : rule.end() + n_atoms * 200].split(b"\n", n_atoms)[:n_atoms]
    values = numbers(b" ".join(rows), n_atoms * width).reshape(n_atoms, width)
    if (values[:, 0] != np.arange(1, n_atoms + 1)).any() or any(len(row.split()) != width for row in rows):
        raise ParseError(f"expected ions 1 to {n_atoms}, found others.")
    return values[:, -1]


def born_charges(text: bytes, begin: int, end: int, n_atoms: int) -> F64:
    """Born charges [e], (n_atoms, 3, 3), of the last table from `begin` on: with local field effects, if there are two.

    Rows are directions of the field, columns of the displacement.

    Raises:
        ParseError: another number of rows, or a field that is no number.
    """
    ions = text.find(b"\n ion ", text.rfind(BORN, begin, end), end)
    rows = text[ions + 1 : ions + 1 + n_atoms * 400].split(b"\n", 4 * n_atoms)[: 4 * n_atoms]
    if ions < 0 or len(rows) != 4 * n_atoms or not all(row.startswith(b" ion ") for row in rows[::4]):
        raise ParseError(f"expected Born charges of {n_atoms} ions, found others.")
    table = numbers(b" ".join(row for i, row in enumerate(rows) if i % 4), 12 * n_atoms).reshape(n_atoms, 3, 4)
    if (table[:, :, 0] != (1, 2, 3)).any():
        raise ParseError("expected three rows of Born charges for each ion, found others.")
    return table[:, :, 1:]


def fermi_energy(text: bytes, begin: int) -> float:
    """Fermi level in the line at `begin` [eV].

    Raises:
        ParseError: no number.
    """
    return number(_matched(_FERMI, text, begin)[1])


def _matched(pattern: re.Pattern[bytes], text: bytes, begin: int) -> re.Match[bytes]:
    """What `pattern` finds at `begin`.

    Raises:
        ParseError: something else is there.
    """
    found = pattern.match(text, begin)
    if found is None:
        line = text[begin : begin + 100].lstrip(b"\n").split(b"\n")[0]
        raise ParseError(f"expected a line as VASP prints it, found {line.decode('latin-1')!r}.")
    return found


def temperature(text: bytes, begin: int) -> float:
    """Temperature of the ions in the line at `begin` [K]; NaN where it holds the motion of the cell too.

    Raises:
        ParseError: no number.
    """
    found = _matched(_TEMPERATURE, text, begin)
    return number(found[2]) if number(found[1]) == 0.0 else float("nan")
