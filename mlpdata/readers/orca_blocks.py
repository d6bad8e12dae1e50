"""The blocks of an ORCA output: coordinates, final energy, gradient, and which of them belong together.

Between one set of coordinates and the next there is at most one frame (pitfalls O5, O9). Tables are sliced and
converted whole. What cannot be paired for certain raises ParseError, with the reason.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.elements import ATOMIC_NUMBERS, SYMBOLS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.text import number, numbers
from mlpdata.schema.properties import NO, UNKNOWN, YES
from mlpdata.units import F64

_RULE = rb"(?:[ \t]*(?:-{5,}|NO +LB[^\n]*)?\r?\n)*+"
_INDEXED_TABLE = re.compile(_RULE + rb"((?:[ \t]*\d[^\n]*\n)*+)")
_LABELLED_TABLE = re.compile(_RULE + rb"((?:[ \t]*(?:[A-Z][A-Za-z]?[:>]?|-)[ \t][^\n]*\n)*+)")
_AFTER_TABLE = re.compile(rb"[ \t\r]*\n|\Z|[*>-]")  # a blank line, a rule, or a footnote on ECPs

# what stands before the three numbers of a row: index, label, nuclear charge; empty where a table has none
_BOHR_ROW = re.compile(rb"(?m)^[ \t]*(\d+) +(\S+(?: :)?) +(-?\d+\.\d+)[*#]? +-?\d+ +\d+\.\d+ ")
_ANGSTROM_ROW = re.compile(rb"(?m)^[ \t]*()(\S+(?: :)?)()[ \t]")
_GRADIENT_ROW = re.compile(rb"(?m)^[ \t]*(\d+) +(\S+(?: :)?)() *: ")
_MP2_GRADIENT_ROW = re.compile(rb"(?m)^[ \t]*(\d+)()() *: ")
_FINAL = re.compile(rb"FINAL SINGLE POINT ENERGY +(?![(])(\S+) *+(?:\(([^)]*)\))?\s*+$")
_INPUT_XYZ = re.compile(r"\*\s*xyz\s+-?\d+\s+\d+", re.IGNORECASE)

_COORDINATES = (("bohr", _INDEXED_TABLE, _BOHR_ROW), ("angstrom", _LABELLED_TABLE, _ANGSTROM_ROW))
_SYMBOLS = np.array(SYMBOLS)
_DUMMIES = {"-", "DA", "X", "Xx", "XX"}

SAME_ENERGY = 2e-9
"""Energies printed with nine decimals agree within this [hartree]."""


Leads = tuple[tuple[bytes, bytes, bytes], ...]
"""Row number, label and nuclear charge of each row of a table; empty where the table has none."""


class Mark(NamedTuple):
    """A heading that was found."""

    start: int
    """Offset of its first character."""
    text: bytes
    """The heading; its whole line where values stand in it."""

    @property
    def end(self) -> int:
        """Offset of the first character after it."""
        return self.start + len(self.text)


@dataclass
class Cycle:
    """What stands between one set of coordinates and the next: at most one frame."""

    step: int
    marks: dict[str, list[Mark]] = field(default_factory=dict)
    """Headings by kind, in order."""

    @property
    def start(self) -> int:
        """Offset where it begins."""
        return min(marks[0].start for marks in self.marks.values())

    def last(self, name: str) -> Mark | None:
        """The last heading of a kind."""
        return self.marks[name][-1] if name in self.marks else None


class Geometry(NamedTuple):
    """A table of coordinates without the rows that are no atoms: ghosts, dummies, charges, capping potentials (O10)."""

    atomic_numbers: NDArray[np.uint8]
    """Shape (n_atoms,)."""
    positions: F64
    """[`unit`], shape (n_atoms, 3)."""
    unit: str
    """bohr or angstrom."""
    is_atom: NDArray[np.bool_]
    """Which rows of the table are atoms, shape (n_rows,)."""
    external: frozenset[str]
    """What else stands in the table and acts on the electrons."""


@contextmanager
def located(source: Input, offset: int) -> Iterator[None]:
    """Give the line at `offset` to a ParseError that does not know its own."""
    try:
        yield
    except ParseError as error:
        error.line = error.line or source.line(offset)
        raise


def geometry(source: Input, cycle: Cycle, input_lines: Iterable[str]) -> Geometry:
    """The coordinates of a cycle: the table in bohr, which resolves twice as much or more, else that in angstrom.

    With neither (printlevel mini, O7) the first cycle has the coordinates of the input, if they stand in it.

    Raises:
        ParseError: no table, or one that is cut or holds something else than numbers.
    """
    for unit, table, row in _COORDINATES:
        if mark := cycle.last(unit):
            with located(source, mark.start):
                leads, positions = _table(source, mark, table, row)
                atomic_numbers, is_atom, external = _atoms(leads)
            return Geometry(atomic_numbers, positions[is_atom], unit, is_atom, external)
    if cycle.step == 0:
        return _input_geometry(input_lines)
    raise ParseError("expected coordinates before this energy, found none.")


def _table(source: Input, mark: Mark, body: re.Pattern[bytes], row: re.Pattern[bytes]) -> tuple[Leads, F64]:
    """What stands before the numbers of each row, and the numbers, shape (n, 3), of the table after a heading."""
    match = body.match(source.data, mark.end)
    assert match is not None  # both parts of the pattern may be empty
    text = match[1]
    if not text or not _AFTER_TABLE.match(source.data, match.end()):
        raise ParseError("expected a table of numbers that ends at a blank line, found one that is damaged or cut.")
    parts = row.split(text)  # what is before the first row, then three fields and the numbers of each row
    values = numbers(b" ".join(parts[::4]), 3 * text.count(b"\n")).reshape(-1, 3)
    return tuple(zip(parts[1::4], parts[2::4], parts[3::4], strict=True)), values


@functools.lru_cache(maxsize=16)  # the same for every step of a run
def _labels(leads: Leads) -> NDArray[np.str_]:
    """The label of each row; row numbers must be consecutive, as they are where no line is lost.

    Raises:
        ParseError: a line is lost.
    """
    index, labels, _ = zip(*leads, strict=True)
    if index[0] and not (np.diff(numbers(b" ".join(index))) == 1).all():
        raise ParseError("expected rows with consecutive numbers, found others. The table is damaged.")
    return np.char.replace(np.array(labels, "U"), " ", "")


@functools.lru_cache(maxsize=16)
def _atoms(leads: Leads) -> tuple[NDArray[np.uint8], NDArray[np.bool_], frozenset[str]]:
    """Atomic numbers of the atoms among the rows, which rows they are, and what else acts on the electrons.

    `H:` or a nuclear charge of zero is a ghost, `Mg>` a capping potential, `Q` a charge, `-` a dummy.
    """
    labels = _labels(leads)
    external = {name for kind in np.unique(labels).tolist() if (name := _external(kind))}
    atomic_numbers = np.array([ATOMIC_NUMBERS.get(label, 0) for label in labels.tolist()], np.uint8)
    ghost = np.array([bool(charge) and float(charge) == 0 for _, _, charge in leads])
    if (ghost & (atomic_numbers > 0)).any():
        external.add("ghost functions")
    is_atom = (atomic_numbers > 0) & ~ghost
    if not is_atom.any():
        raise ParseError("expected at least one atom in the coordinates, found none.")
    return atomic_numbers[is_atom], is_atom, frozenset(external)


def _external(kind: str) -> str | None:
    """What rows of a kind that is no element are, where they act on the electrons.

    Raises:
        ParseError: an unknown kind.
    """
    if kind == "Q" or kind.endswith(">"):
        return "point charges"
    if kind.endswith(":"):
        return "ghost functions"
    if kind not in ATOMIC_NUMBERS and kind not in _DUMMIES:
        raise ParseError(f"expected a chemical symbol, found {kind!r}.")
    return None


def _input_geometry(lines: Iterable[str]) -> Geometry:
    """The Cartesian coordinates of the echoed input [angstrom]."""
    text = "\n".join(lines)
    start = _INPUT_XYZ.search(text)
    if start is None or re.search(r"\bbohrs?\b", text, re.IGNORECASE):
        raise ParseError("expected coordinates before this energy, found none.")
    rows = [line.encode().split() for line in text[start.end() :].split("*", 1)[0].strip().splitlines()]
    if not rows or any(len(row) != 4 for row in rows):
        raise ParseError("expected a symbol and three numbers a line in the input, found something else.")
    positions = numbers(b" ".join(token for row in rows for token in row[1:])).reshape(-1, 3)
    atomic_numbers, is_atom, external = _atoms(tuple((b"", row[0], b"") for row in rows))
    return Geometry(atomic_numbers, positions[is_atom], "angstrom", is_atom, external)


def converged(cycle: Cycle) -> int:
    """Whether the wave function of a cycle converged; one of several SCFs that did not is enough for no (O4)."""
    final = cycle.last("energy")
    if "unconverged" in cycle.marks or (final and b"not fully converged" in final.text):
        return NO
    return YES if "converged" in cycle.marks else UNKNOWN


def energy(cycle: Cycle, state: str | None) -> float:
    """The final energy of a cycle [hartree]: of the excited `state` whose gradient is followed, else the ground state's.

    FINAL SINGLE POINT ENERGY is that of the excited root also where only excitation energies were asked for (O3).
    There the excitation is taken off: what the calculation of excited states started from, with the corrections
    that FINAL SINGLE POINT ENERGY has beside it.

    Raises:
        ParseError: no final energy, several that differ, one of a part of the system, or of another state.
    """
    finals = {_final(mark.text) for mark in cycle.marks.get("energy", ())}
    if not finals:
        raise ParseError("expected FINAL SINGLE POINT ENERGY for these coordinates, found none. The run ended before.")
    if len(finals) > 1:
        raise ParseError(f"expected one final energy for these coordinates, found {len(finals)}.")
    (final,) = finals
    if state is not None:
        if excited_state(cycle) != state:
            raise ParseError(
                f"expected the energy of {state}, found that of {excited_state(cycle) or 'the ground state'}."
            )
        return final
    if "excited" in cycle.marks:
        return _ground_state(cycle, final)
    return _reference(cycle, final) if "root" in cycle.marks else final


def _final(line: bytes) -> float:
    """The number of a line FINAL SINGLE POINT ENERGY."""
    match = _FINAL.match(line)
    if match is None:
        raise ParseError("expected FINAL SINGLE POINT ENERGY of the whole system, found that of a part.")
    if match[2] and b"not fully converged" not in match[2]:
        raise ParseError(f"expected FINAL SINGLE POINT ENERGY, found it marked as {match[2].decode('latin-1')!r}.")
    return number(match[1])


def _value(mark: Mark | None, what: str) -> float:
    """The number after the last sign of a line: `E(TOT) ... -380.5`, `E(SCF) = -382.0 Eh`, `IROOT=  1:  0.2 au`."""
    match = re.match(rb".*(?::|=|\.\.\.) *+(\S+)", mark.text) if mark else None
    if match is None:
        raise ParseError(f"expected {what}, found none.")
    return number(match[1])


def _ground_state(cycle: Cycle, final: float) -> float:
    """The energy without the excitation; that of a double hybrid has its perturbative part, which E(SCF) lacks."""
    total = _value(cycle.last("excited_total"), "the total energy of the excited state")
    correction = final - total
    mark = cycle.last("dispersion")
    dispersion = number(mark.text.split()[-1]) if mark else 0.0
    if abs(correction) > SAME_ENERGY and abs(correction - dispersion) > SAME_ENERGY:
        raise ParseError("expected the final energy to be the excited state's with dispersion, found another.")
    ground = cycle.last("mp2_total") or cycle.last("scf_part")
    return _value(ground, "the energy of the ground state") + correction


def _reference(cycle: Cycle, final: float) -> float:
    """The coupled-cluster energy that an EOM calculation starts from: ORCA 6 calls it final, ORCA 5 adds a root."""
    reference = _value(cycle.last("cc_total"), "the coupled-cluster energy that the roots start from")
    if abs(final - reference) < 1e-8:
        return final
    roots = [reference + _value(mark, "a root") for mark in cycle.marks["root"]]
    if not any(abs(final - root) < 2e-6 for root in roots):  # roots are printed with six decimals
        raise ParseError("expected the final energy to be of the reference or of a root, found another.")
    return reference


def excited_state(cycle: Cycle) -> str | None:
    """`root 1`, `triplet root 1`: the state that the final energy of a cycle is of, None where it is the ground state."""
    mark = cycle.last("excited")
    if mark is None:
        return None
    name = re.search(rb"Eh *\(([^)]*)\)", mark.text)
    return " ".join(name[1].decode("latin-1").lower().split()) if name else "unnamed"


def has_gradient(cycle: Cycle) -> bool:
    """Whether a gradient is printed in a cycle."""
    return "gradient" in cycle.marks or "mp2_gradient" in cycle.marks


def gradient(source: Input, cycle: Cycle, atoms: Geometry) -> F64 | None:
    """The gradient of the energy of a cycle [hartree/bohr], shape (n_atoms, 3); None where there is none.

    Raises:
        ParseError: a damaged table, several gradients, or one that is not of the final energy (O6).
    """
    mark = _gradient_mark(cycle)
    if mark is None:
        return None
    with located(source, mark.start):
        of_mp2 = mark.text.startswith(b"The final MP2")
        leads, values = _table(source, mark, _INDEXED_TABLE, _MP2_GRADIENT_ROW if of_mp2 else _GRADIENT_ROW)
        labels = _labels(leads)
        if len(values) == len(atoms.is_atom):
            values, labels = values[atoms.is_atom], labels[atoms.is_atom]
        if len(values) != len(atoms.positions):
            raise ParseError(f"expected a gradient on {len(atoms.positions)} atoms, found {len(values)} rows.")
        if not of_mp2 and not (labels == _SYMBOLS[atoms.atomic_numbers]).all():
            raise ParseError("expected the gradient on the atoms in their order, found other atoms.")
    return values


def _gradient_mark(cycle: Cycle) -> Mark | None:
    """The heading of the gradient that belongs to the final energy of a cycle.

    Numerical gradients come after those of displaced geometries; they are trusted only in the first cycle of a step.
    """
    analytic = [mark for mark in cycle.marks.get("gradient", ()) if b"NUMERICAL" not in mark.text]
    numerical = [mark for mark in cycle.marks.get("gradient", ()) if b"NUMERICAL" in mark.text]
    of_mp2 = cycle.marks.get("mp2_gradient", [])
    if numerical:
        analytic = of_mp2 = []
        if cycle.step > 0 and "cycle" not in cycle.marks:
            raise ParseError("expected a numerical gradient after its own geometry, found others in between.")
    candidates = [*analytic, *numerical, *of_mp2]
    if len(candidates) > 1:
        raise ParseError(f"expected one gradient for these coordinates, found {len(candidates)}.")
    beyond_scf = {"mp2_total", "cc_total", "excited"} & set(cycle.marks)
    if analytic and beyond_scf and "scf_gradient" in cycle.marks:
        raise ParseError("expected the gradient of the final energy, found that of the SCF energy.")
    return candidates[0] if candidates else None
