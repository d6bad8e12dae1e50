"""What a Gaussian log prints of a geometry beside energy and forces: atomic charges, dipole, polarizability.

Each is optional: one that cannot be read is dropped with a warning. Vectors are printed in standard orientation and are
kept only where that is the frame of the positions (pitfall G1).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from mlpdata.elements import SYMBOLS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer
from mlpdata.readers.gaussian.frames import Frame, Losses
from mlpdata.readers.gaussian.jobs import INPUT, STANDARD, Mark
from mlpdata.readers.text import number, numbers
from mlpdata.units import F64

Found = dict[str, tuple[F64, str]]
"""Values with their unit, by property of the registry."""

_CHARGE_ROWS = re.compile(rb"((?: +\d{1,7}  ?[A-Z][a-z]?[^\S\n]+[^\n]{1,200}\n)+)")
_NATURAL_ROWS = re.compile(rb"((?: {4,}[A-Z][a-z]? +\d{1,7} [^\n]{1,200}\n)+)")
_DIPOLE = re.compile(rb" +X= *(\S{1,20}) +Y= *(\S{1,20}) +Z= *(\S{1,20}) +Tot=")
_POLARIZABILITY = re.compile(
    rb" Alpha\(0;0\): *\r?\n[^\n]{0,80}\n   iso [^\n]{0,80}\n   aniso [^\n]{0,80}\n"
    + b"".join(rb"   %s +(\S{1,20})[^\n]{0,60}\n" % name for name in (b"xx", b"yx", b"yy", b"zx", b"zy", b"zz"))
)
_LOWER = np.array([[0, 1, 3], [1, 2, 4], [3, 4, 5]])
"""Places of xx, yx, yy, zx, zy, zz in the symmetric tensor."""
_SYMBOLS = np.array(SYMBOLS)
_WINDOW = 1 << 16


def properties(data: Buffer, frame: Frame, ground_scf: bool, charge: float, losses: Losses) -> Found:
    """The optional properties of a frame.

    Args:
        data: the file.
        frame: the frame; only what is printed in its cycle belongs to it.
        ground_scf: whether its energy is that of the SCF, whose density the dipole is of.
        charge: of the molecule; the dipole of an ion depends on the origin.
        losses: where damage is noted.
    """
    marks = frame.plan.cycle.marks
    if {"oniom", "counterpoise"} & set(marks):
        return {}  # populations of parts
    readers: list[tuple[str, Callable[[], Found]]] = [
        ("mulliken", lambda: _mulliken(data, marks["mulliken"], frame)),
        ("hirshfeld", lambda: _hirshfeld(data, marks["hirshfeld"][-1], frame)),
        ("esp", lambda: _esp(data, marks["esp"][0], frame)),
        ("natural", lambda: _natural(data, marks["natural"][0], frame)),
        ("polarizability", lambda: _polarizability(data, marks["polarizability"][-1], frame)),
    ]
    if ground_scf and charge == 0:
        readers.append(("dipole", lambda: _dipole(data, marks["dipole"][-1], frame)))
    found: Found = {}
    for name, read in readers:
        if name in marks:
            try:
                found |= read()
            except ParseError as error:
                losses.warn(f"{name} dropped: {error.message}", marks[name][-1])
    return found


def _text(data: Buffer, mark: Mark) -> tuple[bytes, bytes]:
    """The line of a heading, and what follows it up to the next heading."""
    end = data.find(b"\n", mark.start, mark.end) + 1
    stop = min(mark.end, end + _WINDOW * 16)
    return data[mark.start : end], data[end:stop]


def _atomic(text: bytes, pattern: re.Pattern[bytes], frame: Frame, symbol: int) -> F64:
    """The numbers of a table with a row an atom, shape (n_atoms, n_columns).

    Raises:
        ParseError: not a row for each atom, other atoms, or rows of different length.
    """
    match = pattern.search(text)
    rows = [line.split() for line in match[1].splitlines()] if match else []
    atoms = _SYMBOLS[frame.centers.atoms].tolist()
    if [row[symbol].decode("latin-1") for row in rows] != atoms:
        raise ParseError("expected a row for each atom, found others.")
    widths = {len(row) for row in rows}
    if len(widths) != 1 or max(widths) < 3:
        raise ParseError("expected rows of one length, found others. Columns may have merged.")
    return numbers(b" ".join(token for row in rows for token in row[2:])).reshape(len(rows), -1)


def _mulliken(data: Buffer, marks: list[Mark], frame: Frame) -> Found:
    """`Mulliken charges:`, `Mulliken atomic charges:`, `Mulliken charges and spin densities:`."""
    for mark in marks:
        heading, body = _text(data, mark)
        if b"charges" in heading and b":" in heading and b"summed" not in heading and b"condensed" not in heading:
            values = _atomic(body, _CHARGE_ROWS, frame, 1)
            found: Found = {"charges_mulliken": (values[:, 0], "e")}
            if b"spin densities" in heading and values.shape[1] > 1:
                found["magnetic_moments"] = (values[:, 1], "muB")
            return found
    return {}


def _hirshfeld(data: Buffer, mark: Mark, frame: Frame) -> Found:
    """Charges first and CM5 last in Gaussian 16; spin densities first in Gaussian 09."""
    heading, body = _text(data, mark)
    if b"using IRadAn" not in heading:
        return {}
    values = _atomic(body, _CHARGE_ROWS, frame, 1)
    if heading.startswith(b" Hirshfeld spin densities, charges") and values.shape[1] > 1:
        return {"charges_hirshfeld": (values[:, 1], "e")}
    if b"CM5" not in heading or values.shape[1] != 6:
        return {}
    return {"charges_hirshfeld": (values[:, 0], "e"), "charges_cm5": (values[:, 5], "e")}


def _esp(data: Buffer, mark: Mark, frame: Frame) -> Found:
    heading, body = _text(data, mark)
    if not re.match(rb" ESP charges: *\r?\n", heading):
        return {}
    return {"charges_esp": (_atomic(body, _CHARGE_ROWS, frame, 1)[:, 0], "e")}


def _natural(data: Buffer, mark: Mark, frame: Frame) -> Found:
    """The first summary is of both spins together."""
    return {"charges_natural": (_atomic(_text(data, mark)[1], _NATURAL_ROWS, frame, 0)[:, 0], "e")}


def _dipole(data: Buffer, mark: Mark, frame: Frame) -> Found:
    """The dipole, where the geometry printed last before it is the one of the frame (G1)."""
    latest = frame.plan.cycle.last(INPUT, STANDARD, before=mark.start)
    if latest != frame.plan.geometry or frame.plan.archived_before:
        return {}
    match = _DIPOLE.match(_text(data, mark)[1])
    if match is None:
        raise ParseError("expected three components, found none.")
    return {"dipole": (np.array([number(token) for token in match.groups()]), "debye")}


def _polarizability(data: Buffer, mark: Mark, frame: Frame) -> Found:
    """Gaussian 16's table in input orientation [bohr^3]."""
    if not frame.plan.archived_before and frame.plan.geometry not in frame.plan.cycle.marks.get(INPUT, ()):
        return {}
    match = _POLARIZABILITY.search(_text(data, mark)[1][:_WINDOW])
    if match is None:
        raise ParseError("expected six components, found fewer.")
    return {"polarizability": (np.array([number(token) for token in match.groups()])[_LOWER], "bohr^3")}
