"""Atoms that a Gaussian job holds in place: freeze codes of the input's geometry, `X 5 F` of ModRedundant."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_GEOMETRY = re.compile(rb"\n (?:Charge = [^\n]{0,80}\n ?)+((?:[A-Z][A-Za-z]?[^\n]{0,120}\n ?)+)")
_FREEZE = re.compile(
    rb"[A-Z][A-Za-z]?(?:\([^)\s]{1,60}\))?(?: +|,)(-?\d{1,3})(?: +|,)-?\d*\.\d*(?: +|,)-?\d*\.\d*(?: +|,)-?\d*\.\d*"
)
_MODREDUNDANT = re.compile(
    rb"\n The following ModRedundant input section has been read: *\r?\n((?: [^\n]{1,100}\n)+?)(?= *\r?\n|[^ ]|\Z)"
)
_HELD = re.compile(rb"(?m)^ X +(\d{1,7}) +F\b")


def fixed(text: bytes, n_rows: int) -> NDArray[np.int8] | None:
    """1 where the run holds an atom, along x, y, z, shape (n_rows, 3); None where it holds none.

    Args:
        text: from the start of a job to its first geometry.
        n_rows: rows of its coordinates, dummies included.
    """
    held = np.zeros(n_rows, bool)
    if geometry := _GEOMETRY.search(text):
        codes = [_FREEZE.match(line.strip()) for line in geometry[1].splitlines()[:n_rows]]
        for index, match in enumerate(codes):
            held[index] |= match is not None and int(match[1]) < 0
    if section := _MODREDUNDANT.search(text):
        for number in _HELD.findall(section[1]):
            if 0 < int(number) <= n_rows:
                held[int(number) - 1] = True
    return np.repeat(held[:, None], 3, axis=1).astype(np.int8) if held.any() else None
