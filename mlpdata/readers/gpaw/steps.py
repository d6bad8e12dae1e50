"""One step of GPAW's text output: its geometry and the labels below it, as they are printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input, located
from mlpdata.readers.gpaw.tables import TO_SPACES, Mark, elements, is_index, real, table, vectors
from mlpdata.readers.registry import Printed
from mlpdata.readers.text import number, numbers
from mlpdata.schema.properties import ATOM, PROPERTIES, UNKNOWN, YES
from mlpdata.units import F64, Quantity

_UNITS = {
    "forces": ("eV/angstrom", 5), "stress": ("eV/angstrom^3", 6), "dipole": ("e*angstrom", 6),
    "energy_sigma0": ("eV", 6), "fermi_energy": ("eV", None), "band_gap": ("eV", 3), "charge": ("e", None),
    "total_magnetization": ("muB", 6), "magnetic_moments": ("muB", 6), "magnetic_moment_vectors": ("muB", 6),
    "initial_magnetic_moments": ("muB", 4), "initial_magnetic_moment_vectors": ("muB", 4),
    "positions": ("angstrom", 6), "cell": ("angstrom", 6), "energy": ("eV", 6),
}  # fmt: skip
"""Unit and printed decimals of each property."""
_TITLES = re.compile(rb"\r?\n {2,20}[Pp]eriodic[^\n]{0,200}(?=\n)(?:\n +-+\r?(?=\n))?")


@dataclass
class Step:
    """One geometry and the headings that follow it."""

    number: int
    """From 0 in its job."""
    marks: dict[str, Mark]
    """First heading of each kind."""
    charge: float
    """[e], NaN where none is printed before it."""
    followed: bool = False
    """Whether something stands behind its labels, so that no further one can be missing."""


class Frame(NamedTuple):
    """One configuration as printed."""

    atomic_numbers: NDArray[np.uint8]
    positions: F64
    """[angstrom], shape (n_atoms, 3)."""
    pbc: NDArray[np.int8]
    labels: dict[str, F64]
    """Energy, cell and what else is printed, by property, in the units of `_UNITS`."""
    step: Step
    line: int
    """Of the energy."""


def frame(source: Input, step: Step, spin: str | None, warnings: dict[str, None]) -> Frame:
    """The frame of a step.

    Args:
        source: the file.
        step: where its parts stand.
        spin: restricted, unrestricted or noncollinear; where spins are paired moments are zeros that nobody computed.
        warnings: what was dropped of it is added here.

    Raises:
        ParseError: no energy, or geometry, energy or forces that cannot be read.
    """
    marks = step.marks
    _refuse_unfinished(step)
    with located(source, marks["positions"].start):
        fields = table(source, marks["positions"])
        if fields.shape[1] not in (5, 8) or not is_index(fields[:, 0]):
            raise ParseError("expected index, symbol and coordinates of each atom, found other rows.")
        symbols = fields[:, 1]
        atomic_numbers, positions = elements(symbols), real(fields[:, 2:5])
    with located(source, marks.get("cell", marks["positions"]).start):
        pbc, cell = _cell(source, marks.get("cell"))
    labels: dict[str, F64] = {"cell": cell} if pbc.any() else {}  # a molecule's box is no cell (pitfall X4)
    with located(source, marks["energy"].start):
        labels["energy"] = np.array(_number_of(marks["energy"]))
    if "forces" in marks:
        with located(source, marks["forces"].start):
            labels["forces"] = vectors(table(source, marks["forces"], len(symbols)), symbols)
    if "correction" in marks:
        warnings["a van der Waals correction that was added outside of GPAW was not read"] = None
    for name, read in _optional(source, step, spin, fields, periodic=bool(pbc.any())).items():
        try:
            labels[name] = read()
        except ParseError as error:
            line = source.line(marks["energy"].start)
            warnings[f"{name} of the energy at line {line} was not read: {error.message}"] = None
    return Frame(atomic_numbers, positions, pbc, labels, step, source.line(marks["energy"].start))


def _refuse_unfinished(step: Step) -> None:
    """Refuse what has no energy, or may lack labels.

    Raises:
        ParseError: it is not finished.
    """
    if "unconverged" in step.marks:
        raise ParseError("expected a converged SCF, found none. GPAW prints no energy then.")
    if "energy" not in step.marks:
        raise ParseError("expected an energy after the geometry, found none. The run was ended before it.")
    if not step.followed:
        raise ParseError("expected what follows the labels, found the end of the file. The file is cut.")


def _cell(source: Input, mark: Mark | None) -> tuple[NDArray[np.int8], F64]:
    """Periodicity and lattice vectors, of rows `1. axis: yes x y z points spacing` or `yes x y z length angle`."""
    if mark is None:
        raise ParseError("expected a unit cell after the positions, found none. A part of the file is missing.")
    titles = _TITLES.match(source.data, mark.end)
    fields = table(source, mark._replace(end=titles.end()) if titles else mark, 3)
    if fields.shape == (3, 8):
        fields = fields[:, 2:]
    if fields.shape != (3, 6) or not {b"yes", b"no"}.issuperset(fields[:, 0].tolist()):
        raise ParseError("expected yes or no and three numbers for each axis, found other rows.")
    return (fields[:, 0] == b"yes").astype(np.int8), real(fields[:, 1:4])


def _optional(
    source: Input, step: Step, spin: str | None, fields: NDArray[np.bytes_], *, periodic: bool
) -> dict[str, Callable[[], F64]]:
    """How to read each further label that is there; one that fails is dropped."""
    marks, symbols = step.marks, fields[:, 1]
    found: dict[str, Callable[[], F64]] = {}
    for name in ("energy_sigma0", "fermi_energy"):
        if name in marks:
            found[name] = lambda mark=marks[name]: np.array(_number_of(mark))  # type: ignore[misc]
    if "band_gap" in marks:
        none = marks["band_gap"].text.startswith(b"No")
        found["band_gap"] = lambda: np.array(0.0 if none else _number_of(marks["band_gap"]))
    if "stress" in marks:
        found["stress"] = lambda: _square(table(source, marks["stress"], 3))
    if "dipole" in marks and not periodic and step.charge == 0:  # else it depends on the origin
        found["dipole"] = lambda: _bracketed(marks["dipole"])[-3:]
    if spin == "unrestricted" and "total_magnetization" in marks:
        found["total_magnetization"] = lambda: _bracketed(marks["total_magnetization"])[-1]
    if spin in ("unrestricted", "noncollinear"):
        name = _MOMENTS[spin]
        if fields.shape[1] == 8:
            found[f"initial_{name}"] = lambda: _moments(real(fields[:, 5:]), spin)
        if "moments" in marks:
            found[name] = lambda: _moments(vectors(table(source, marks["moments"], len(symbols)), symbols), spin)
    return found


_MOMENTS = {"unrestricted": "magnetic_moments", "noncollinear": "magnetic_moment_vectors"}


def _moments(vectors_of_atoms: F64, spin: str) -> F64:
    """Collinear moments are printed as vectors along z."""
    return vectors_of_atoms if spin == "noncollinear" else vectors_of_atoms[:, 2]


def _number_of(mark: Mark) -> float:
    """The number behind the colon of a line, before its unit."""
    return number(mark.text.partition(b":")[2].partition(b"#")[0].strip().removesuffix(b"eV"))


def _bracketed(mark: Mark) -> F64:
    """The numbers behind the colon of a line, in brackets or not."""
    return numbers(mark.text.partition(b":")[2].partition(b"|e|")[0].translate(TO_SPACES))


def _square(fields: NDArray[np.bytes_]) -> F64:
    if fields.shape != (3, 3):
        raise ParseError(f"expected 3 x 3 numbers, found a table of {fields.shape}.")
    return real(fields)


def printed(frames: Sequence[Frame]) -> Printed:
    """A block of frames that have the same labels."""
    numbers_of_atoms = [len(one.positions) for one in frames]
    charges = np.array([one.step.charge for one in frames])
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.concatenate([one.atomic_numbers for one in frames]),
        "positions": _quantity("positions", np.concatenate([one.positions for one in frames])),
        "pbc": np.stack([one.pbc for one in frames]),
        "charge": _quantity("charge", charges),
        "scf_converged": [YES if "converged" in one.step.marks else UNKNOWN for one in frames],
        "step": [one.step.number for one in frames],
        "source_line": [one.line for one in frames],
    }
    for name in frames[0].labels:
        join = np.concatenate if PROPERTIES[name].level == ATOM else np.stack
        arrays[name] = _quantity(name, join([one.labels[name] for one in frames]))
    return Printed(numbers_of_atoms, arrays)


def _quantity(name: str, values: F64) -> Quantity:
    unit, decimals = _UNITS[name]
    return Quantity(values, unit, decimals)
