r"""The archive entry at the end of a Gaussian job: the last geometry in the axes of the input, with all its digits.

Where the log prints no input orientation (pitfall G3) it is the only place that has positions for the last forces.
Fields are separated by `\\`, on Windows by `|`, and lines are broken after 70 characters (G11).
"""

from __future__ import annotations

import re

import numpy as np

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Buffer
from mlpdata.readers.gaussian.tables import U8
from mlpdata.readers.text import numbers
from mlpdata.units import F64

_BEGIN = (b"\n 1\\1\\", b"\n 1|1|")
_LONGEST = 16 << 20
_STATE = re.compile(rb"-?\d{1,4},\d{1,4}")
SAME_GEOMETRY = 1e-4
"""Distances of one geometry agree within this, six decimals being printed [angstrom]."""


def positions(data: Buffer, start: int, end: int, atoms: U8, like: F64) -> F64 | None:
    """Positions in the axes of the input [angstrom], shape (n_atoms, 3); None where the entry has none for this geometry.

    Args:
        data: the file.
        start: offset behind which the entry stands.
        end: end of the job.
        atoms: atomic numbers, shape (n_atoms,).
        like: the same geometry in other axes [angstrom], shape (n_atoms, 3).
    """
    begin = max(data.find(first, start, end) for first in _BEGIN)
    if begin < 0:
        return None
    text = data[begin : min(end, begin + _LONGEST)].replace(b"\r", b"").replace(b"\n ", b"").replace(b"|", b"\\")
    fields = (field.split(b"\\") for field in text.split(b"\\\\", 8)[:8])
    rows = next((field[1:] for field in fields if _STATE.fullmatch(field[0]) and len(field) > 1), [])
    parts = [row.split(b",") for row in rows]
    if [ATOMIC_NUMBERS.get(part[0].decode("latin-1")) for part in parts] != atoms.tolist():
        return None
    try:
        found = numbers(b" ".join(token for part in parts for token in part[-3:]), like.size).reshape(-1, 3)
    except ParseError:
        return None  # a Z-matrix, or damage
    return found if np.abs(_distances(found) - _distances(like)).max() < SAME_GEOMETRY else None


def _distances(points: F64) -> F64:
    """From every atom to the centroid and to some of the others: enough to tell geometries apart."""
    chosen = points[np.linspace(0, len(points) - 1, min(len(points), 200)).astype(int)]
    anchors = np.concatenate((points.mean(axis=0, keepdims=True), chosen))
    distances: F64 = np.linalg.norm(points[:, None] - anchors, axis=2)
    return distances
