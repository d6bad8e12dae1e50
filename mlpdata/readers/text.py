"""Numbers and blocks of text outputs. Every number of every reader passes `numbers` or `number`.

Exponents may be written with D, as Fortran does (pitfall G7).
"""

from __future__ import annotations

import re

import numpy as np

from mlpdata.errors import ParseError
from mlpdata.units import F64

_NUMERIC = b"0123456789+-.eEdD \t\r\n"
LARGEST = 1e100
"""What no number of a run reaches: products of three remain finite."""
_D_TO_E = bytes.maketrans(b"dD", b"eE")


def number(token: bytes) -> float:
    """One printed number.

    Raises:
        ParseError: stars, NaN, infinity, glued columns, or anything else Fortran prints where a value does not fit.
    """
    try:
        value = float(token) if not token.translate(None, _NUMERIC) else LARGEST
    except ValueError:
        value = LARGEST
    return value if abs(value) < LARGEST else float(numbers(token, 1)[0])  # D for E, or why it is none


def numbers(text: bytes, count: int | None = None) -> F64:
    """The white-space separated numbers of `text`, shape (count,).

    Raises:
        ParseError: a field that is no finite number (stars, NaN, overflow, glued columns), or another count.
    """
    if text.translate(None, _NUMERIC):
        raise ParseError(f"expected a number, found {_odd_field(text)!r}. {STARS if b'*' in text else ODD}")
    fields = text.translate(_D_TO_E).split()
    if count is not None and len(fields) != count:
        raise ParseError(
            f"expected {count} numbers, found {len(fields)}. Columns may have merged or the file may be cut."
        )
    try:
        values = np.array(fields, dtype="S").astype(np.float64) if fields else np.empty(0)
    except ValueError:
        raise ParseError(f"expected a number, found {_odd_field(text)!r}. {ODD}") from None
    small = np.abs(values) < LARGEST  # which NaN is not either
    if not small.all():
        raise ParseError(f"expected a finite number, found {fields[int(np.argmin(small))].decode()!r}. {ODD}")
    return values


def whole(token: str) -> int | None:
    """A count or a setting of a header; None where it is no whole number of at most nine digits: it is unknown."""
    return int(token) if re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", token) else None


STARS = "Fortran prints stars when a value does not fit its field; the frame was left out."
ODD = "The frame was left out."


def _odd_field(text: bytes) -> str:
    """The first field of `text` that is no number, for the message."""
    for token in text.split():
        try:
            float(token.translate(_D_TO_E))
        except ValueError:
            return token[:40].decode("latin-1")
    return next((token[:40].decode("latin-1") for token in text.split() if token.translate(None, _NUMERIC)), "nothing")


def first(pattern: bytes, text: bytes) -> str | None:
    """First group of the first match of `pattern`; None where there is none, or it is blank."""
    match = re.search(pattern, text)
    return match[1].decode("latin-1").strip() or None if match else None


def first_number(pattern: bytes, text: bytes) -> float | None:
    """The number that `pattern` finds; None where there is none, or none that can be read."""
    match = re.search(pattern, text)
    try:
        return number(match[1]) if match else None
    except ParseError:
        return None
