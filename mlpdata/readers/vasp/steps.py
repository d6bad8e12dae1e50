"""Ionic steps of vasprun.xml: many `<calculation>` elements of one window of text become one block of frames.

Two tiers give the same numbers. VASP's own layout (constant width, one row a line) is located by `bytes.find` and
converted by `fixed_width` for all steps of the window at once. A step that is not of that layout is read by lxml, and
every number by `text.numbers`; what fails there is left out with its reason, and costs that step only (pitfall V15).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import MlpdataError, ParseError
from mlpdata.frames import I64
from mlpdata.readers import fixed_width, xml
from mlpdata.readers.text import numbers
from mlpdata.readers.vasp.header import Run
from mlpdata.schema.calculation import LeftOut
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64

_NUMBER = rb"( *-?\d+\.\d{8} )"
_ENERGIES = re.compile(
    rb'<i name="e_fr_energy">%b</i>\s*<i name="e_wo_entrp">%b</i>\s*<i name="e_0_energy">%b</i>' % ((_NUMBER,) * 3)
)
_BASIS, _POSITIONS, _FORCES, _STRESS = (
    b'<varray name="%b" >\n' % name for name in (b"basis", b"positions", b"forces", b"stress")
)
_ROW_END = b" </v>\n"
_SHORTEST_ROW = len("<v>") + 3 * fixed_width.WIDTH + len(_ROW_END)
_DEEPEST_INDENT = 8
NAN = float("nan")


class Step(NamedTuple):
    """Where one `<calculation>` stands in the window, and in the file."""

    begin: int
    """Offset of `<calculation>`."""
    end: int
    """Offset of `</calculation>`."""
    line: int
    """Line of `<calculation>` in the file, from 1."""
    ionic: int
    """Ionic step, from 0."""


class Tables(NamedTuple):
    """Numbers of several steps as printed, one row a step."""

    cells: F64
    """(n, 3, 3) [angstrom]"""
    fractional: F64
    """(n, n_atoms, 3)"""
    forces: F64
    """(n, n_atoms, 3) [eV/angstrom]; NaN where absent."""
    stress: F64
    """(n, 3, 3) [kB], positive in compression; NaN where absent."""
    energies: F64
    """(n, 3) e_fr_energy, e_wo_entrp, e_0_energy of <calculation> [eV]."""

    def take(self, which: NDArray[np.bool_]) -> Tables:
        """Some of the steps."""
        return self if which.all() else Tables(*(array[which] for array in self))


class Loop(NamedTuple):
    """The electronic iterations of one step."""

    n_iterations: int
    energies: tuple[float, float, float]
    """e_fr_energy, e_wo_entrp, e_0_energy of the last [eV]; NaN where not readable."""
    change: float
    """Change of the free energy in the last [eV]; NaN where not readable or not asked for."""


class _Place(NamedTuple):
    """Offsets of the first rows of the tables of one step; -1 where a table is absent."""

    basis: int
    positions: int
    forces: int
    stress: int
    energies: tuple[bytes, ...]


def read_steps(window: bytes, steps: Sequence[Step], run: Run) -> tuple[list[Step], Tables, list[LeftOut]]:
    """The steps of `window` that carry labels, their numbers, and those that were left out."""
    n_atoms = len(run.atomic_numbers)
    tables = _blank(len(steps), n_atoms)
    places = [_locate(window, step, n_atoms) for step in steps]
    regular = np.array([place is not None for place in places])
    if regular.any():
        regular[regular] = _convert(window, [place for place in places if place], tables, regular)
    left_out = []
    keep = np.ones(len(steps), bool)
    for i in map(int, np.flatnonzero(~regular)):
        try:
            _from_tree(window, steps[i], n_atoms, tables, i)
        except MlpdataError as error:
            keep[i] = False
            cost = 0 if isinstance(error, _NoLabelsError) else 1
            left_out.append(LeftOut(line=error.line or steps[i].line, reason=error.message, frames=cost))
    return [step for step, kept in zip(steps, keep, strict=True) if kept], tables.take(keep), left_out


class _NoLabelsError(ParseError):
    """A step of a kind that has no energy and no forces: GW, optics (pitfall V6)."""


def _blank(n: int, n_atoms: int) -> Tables:
    shapes = ((n, 3, 3), (n, n_atoms, 3), (n, n_atoms, 3), (n, 3, 3), (n, 3))
    return Tables(*(np.full(shape, np.nan) for shape in shapes))


def _locate(window: bytes, step: Step, n_atoms: int) -> _Place | None:
    """Where the tables of a step are, or None where it is not laid out as VASP does.

    Each table is looked for right after the one before: a search skips the rows that must be there and is bounded, so
    that a second structure or a response iteration cannot slip in between (pitfalls V4, V14).
    """
    body, slack = n_atoms * _SHORTEST_ROW, n_atoms * _DEEPEST_INDENT + 200
    structure = window.find(b"<structure>\n", step.begin, step.end)
    basis = window.find(_BASIS, structure, structure + 200)
    positions = window.find(_POSITIONS, basis, basis + 1200)
    forces = window.find(_FORCES, positions + body, positions + body + slack)
    if min(structure, basis, positions, forces) < 0:
        return None
    after = forces + body
    stress = window.find(_STRESS, after, after + slack)
    energy = window.find(b"<energy>\n", after, after + slack + 400)
    found = _ENERGIES.search(window, energy, energy + 400) if energy > stress else None
    if found is None or energy > step.end or window.find(b"<scstep>", after, energy) >= 0:
        return None
    if window.find(b"<structure", energy, step.end) >= 0 or window.find(_FORCES, energy, step.end) >= 0:
        return None
    return _Place(
        basis + len(_BASIS),
        positions + len(_POSITIONS),
        forces + len(_FORCES),
        stress + len(_STRESS) if stress >= 0 else -1,
        found.groups(),
    )


def _convert(window: bytes, places: list[_Place], tables: Tables, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill `rows` of `tables` by fixed-width conversion; which of the places were of the layout."""
    n_atoms = tables.fractional.shape[1]
    cells, good = _table(window, [place.basis for place in places], 3)
    fractional, flags = _table(window, [place.positions for place in places], n_atoms)
    good &= flags
    forces, flags = _table(window, [place.forces for place in places], n_atoms)
    good &= flags
    tables.cells[rows], tables.fractional[rows], tables.forces[rows] = cells, fractional, forces
    tables.energies[rows] = numbers(b"".join(b"".join(place.energies) for place in places)).reshape(-1, 3)
    with_stress = np.array([place.stress >= 0 for place in places])
    if with_stress.any():
        stress, flags = _table(window, [place.stress for place in places if place.stress >= 0], 3)
        good[with_stress] &= flags
        tables.stress[np.flatnonzero(rows)[with_stress]] = stress
    return good


def _table(window: bytes, starts: list[int], n_rows: int) -> tuple[F64, NDArray[np.bool_]]:
    """The three columns of `n_rows` rows of `<v>` from each of `starts`, (n, n_rows, 3), and which are of the layout.

    All of it is compared: indentation, tags, line ends, and the closing tag after the last row.
    """
    row_begin = window[starts[0] : window.find(b"<v>", starts[0]) + 3]
    row = len(row_begin) + 3 * fixed_width.WIDTH + len(_ROW_END)
    closing = row_begin[1:-3] + b"</varray>\n"
    length = n_rows * row + len(closing)
    text = b"".join([window[start : start + length] for start in starts])
    if len(row_begin) > _DEEPEST_INDENT + 3 or len(text) != length * len(starts):
        return np.full((len(starts), n_rows, 3), np.nan), np.zeros(len(starts), bool)
    block = np.frombuffer(text, np.uint8).reshape(len(starts), length)
    lines = block[:, : n_rows * row].reshape(len(starts), n_rows, row)
    fields = lines[..., len(row_begin) : -len(_ROW_END)].reshape(len(starts), n_rows, 3, fixed_width.WIDTH)
    values, flags = fixed_width.decimals(fields)
    good = flags.reshape(len(starts), -1).all(axis=1)
    good &= _equal(lines[..., : len(row_begin)], row_begin) & _equal(lines[..., -len(_ROW_END) :], _ROW_END)
    good &= _equal(block[:, n_rows * row :], closing)
    return values, good


def _equal(block: fixed_width.U8, expected: bytes) -> NDArray[np.bool_]:
    """Whether the last axis of `block` reads `expected` throughout, for each entry of the first axis."""
    same: NDArray[np.bool_] = (block == np.frombuffer(expected, np.uint8)).reshape(len(block), -1).all(axis=1)
    return same


def _from_tree(window: bytes, step: Step, n_atoms: int, tables: Tables, i: int) -> None:
    """Fill row `i` of `tables` by way of lxml.

    Raises:
        ParseError: no labels, or a number or table that is damaged.
    """
    text = window[step.begin : step.end + len(b"</calculation>")]
    if text.count(b"<calculation>") > 1:
        raise ParseError("expected one ionic step, found another begun inside it. Two runs write into one file (V14).")
    try:
        root = xml.parse(text, line=step.line)
    except ParseError:
        root = xml.parse(text, line=step.line, recover=True)
    tables.energies[i] = _energies(root, step.line)
    tables.cells[i] = _tree_table(root, "structure/crystal/varray[@name='basis']", 3, step.line)
    tables.fractional[i] = _tree_table(root, "structure/varray[@name='positions']", n_atoms, step.line)
    if root.find("varray[@name='forces']") is not None:
        tables.forces[i] = _tree_table(root, "varray[@name='forces']", n_atoms, step.line)
    if root.find("varray[@name='stress']") is not None:
        tables.stress[i] = _tree_table(root, "varray[@name='stress']", 3, step.line)


def _energies(root: xml.Element, line: int) -> F64:
    """The three energies of a step; e_fr_energy must be readable, the others are absent where they are not."""
    group = root.find("energy")
    if group is None:
        if root.find("structure") is None and root.find("varray[@name='forces']") is None:
            raise _NoLabelsError(
                "expected energy and forces, found none. Response, GW and optics steps have no labels."
            )
        raise ParseError("expected <energy> of the ionic step, found none. The frame was left out.")
    free, *others = (group.findall(f"i[@name='{name}']") for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy"))
    if len(free) != 1:
        raise ParseError(f"expected one e_fr_energy, found {len(free)}. The frame was left out.", line=line)
    values = [_number(free[0], line)]
    for found in others:
        try:
            values.append(_number(found[0], line) if len(found) == 1 else NAN)
        except ParseError:
            values.append(NAN)
    return np.array(values)


def _line_of(element: xml.Element, line: int) -> int:
    """Line of the file on which `element` stands, where its step begins on `line`."""
    within = element.sourceline
    return line + within - 1 if isinstance(within, int) else line


def _number(element: xml.Element, line: int) -> float:
    try:
        return float(numbers((element.text or "").encode(), 1)[0])
    except ParseError as error:
        error.line = _line_of(element, line)
        raise


def _tree_table(root: xml.Element, path: str, n_rows: int, line: int) -> F64:
    """A table of three columns.

    Raises:
        ParseError: none or several, another number of rows, a field that is no number.
    """
    found = root.findall(path)
    if len(found) != 1:
        raise ParseError(f"expected one {path}, found {len(found)}. The frame was left out.", line=line)
    rows = found[0].findall("v")
    if len(rows) != n_rows:
        raise ParseError(
            f"expected {n_rows} rows of {found[0].get('name')}, found {len(rows)}. The frame was left out.",
            line=_line_of(found[0], line),
        )
    table = np.empty((n_rows, 3))
    for i, row in enumerate(rows):
        try:
            table[i] = numbers((row.text or "").encode(), 3)
        except ParseError as error:
            error.line = _line_of(row, line)
            raise
    return table


def electronic_loop(window: bytes, step: Step, max_iterations: int | None) -> Loop:
    """Number, last energies and last change of the electronic iterations of a step."""
    end = window.find(b"<structure", step.begin, step.end)
    end = step.end if end < 0 else end
    n = window.count(b"<scstep>", step.begin, end)
    last = window.rfind(b"<scstep>", step.begin, end) if n else -1
    energies = _scstep_energies(window, last, end) if n else (NAN, NAN, NAN)
    change = NAN
    if n > 1 and n == max_iterations:
        before = window.rfind(b"<scstep>", step.begin, last)
        change = energies[0] - _scstep_energies(window, before, last)[0]
    return Loop(n, energies, change)


def _scstep_energies(window: bytes, begin: int, end: int) -> tuple[float, float, float]:
    found = _ENERGIES.search(window, begin, end)
    if found is None:
        return NAN, NAN, NAN
    free, no_entropy, sigma0 = found.groups()
    return float(free), float(no_entropy), float(sigma0)


def scf_converged(loops: Sequence[Loop], run: Run) -> NDArray[np.int8]:
    """Whether each step's electronic loop converged, by its own iterations (pitfalls V7 to V10).

    Fewer iterations than NELM: yes. As many, and the energy still changed by EDIFF or more: no. Else unknown.
    """
    flags = np.full(len(loops), UNKNOWN, np.int8)
    if not run.is_self_consistent:
        flags[:] = NO
    elif not run.is_response and run.max_electronic_steps is not None:
        n: I64 = np.array([loop.n_iterations for loop in loops], np.int64)
        change = np.abs([loop.change for loop in loops])
        flags[(n > 0) & (n < run.max_electronic_steps)] = YES
        flags[(n == run.max_electronic_steps) & (change >= run.energy_tolerance)] = NO
    return flags
