"""Vectorised conversion of Fortran's `1X,F16.8` columns: millions of numbers a call, bit for bit as `float` reads them.

A field of 17 characters is eight characters of sign and integer part, a point, eight decimals. Each half is loaded as
one 64-bit word and its eight digits are summed in three multiplications (all lanes of the word at once). A field that
is not of this layout (stars, NaN, glued columns, an exponent) is reported, never guessed.

References:
    The eight-digits-in-a-word sum: D. Lemire, Software: Practice and Experience 51, 1700 (2021).
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.units import F64

WIDTH = 17
"""Characters of a field."""

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
Flags = NDArray[np.bool_]


@functools.cache
def _every(byte: int) -> np.uint64:
    """A word of eight equal bytes."""
    return np.uint64(int.from_bytes(bytes([byte]) * 8, "little"))


_SHIFT_4, _SHIFT_8, _SHIFT_16, _SHIFT_32 = (np.uint64(n) for n in (4, 8, 16, 32))
_PAIRS, _QUADS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_POINT = np.uint8(ord("."))
_EXACT = np.uint64(1 << 53)


def decimals(fields: U8) -> tuple[F64, Flags]:
    """The numbers in `fields` (..., 17), and which of them are of the layout: both of shape (...).

    A number that is not of the layout has an arbitrary value. Minus zero stays minus zero.
    """
    whole = fields[..., :8].view("<u8")[..., 0].copy()
    fraction = fields[..., 9:].view("<u8")[..., 0].copy()
    whole, negative, good = _signed_digits(whole)
    good &= _all_digits(fraction)
    good &= fields[..., 8] == _POINT
    total = _sum_of_digits(whole) * np.uint64(10**8) + _sum_of_digits(fraction & _every(0x0F))
    good &= total < _EXACT  # beyond it the division would round twice
    values = total.astype(np.float64)
    values /= 1e8
    np.negative(values, out=values, where=negative)
    return values, good


class Columns(NamedTuple):
    """Rows of one layout: a label, then numbers in columns of one width."""

    labels: U8
    """What stands before the numbers, shape (n_rows, width)."""
    numbers: F64
    """Shape (n_rows, n_columns)."""


def columns(text: bytes, n_rows: int, n_columns: int = 3) -> Columns | None:
    """Rows that end in columns of Fortran's `Fw.d`, w and d as in the first of them; None where one is not so.

    Bit for bit as `float` reads them: all digits of a field together are below 2^53, and 10^d is exact.
    """
    first = text[: text.find(b"\n") + 1]
    points = [place for place, byte in enumerate(first) if byte == _POINT][-n_columns:]
    widths = {after - before for before, after in itertools.pairwise(points)}
    if len(points) != n_columns or len(widths) != 1 or len(text) != n_rows * len(first):
        return None
    width, n_decimals = widths.pop(), len(first) - points[-1] - 2
    start = len(first) - 1 - n_columns * width
    n_whole = width - 1 - n_decimals
    if start < 0 or n_whole < 1 or not 1 <= n_decimals <= 16:
        return None
    rows = np.frombuffer(text, np.uint8).reshape(n_rows, -1)
    fields = rows[:, start:-1].reshape(n_rows, n_columns, width)
    values, good = _numbers(fields, n_whole, n_decimals)
    if not good.all() or (rows[:, -1] != ord("\n")).any():
        return None
    return Columns(rows[:, :start], values)


def _numbers(fields: U8, n_whole: int, n_decimals: int) -> tuple[F64, Flags]:
    """The numbers in `fields` (n, columns, width), and which of them are of the layout."""
    shape = fields.shape[:-1]
    kept = min(n_whole, 8)
    before = np.full((*shape, 8), ord(" "), np.uint8)
    before[..., 8 - kept :] = fields[..., n_whole - kept : n_whole]
    after = np.full((*shape, 16), ord("0"), np.uint8)
    after[..., 16 - n_decimals :] = fields[..., n_whole + 1 :]
    whole, negative, good = _signed_digits(before.view("<u8")[..., 0])
    high, low = after.view("<u8")[..., 0], after.view("<u8")[..., 1]
    good &= _all_digits(high) & _all_digits(low) & (fields[..., n_whole] == _POINT)
    good &= (fields[..., : n_whole - kept] == ord(" ")).all(-1)
    fraction = _sum_of_digits(high & _every(0x0F)) * np.uint64(10**8) + _sum_of_digits(low & _every(0x0F))
    whole = _sum_of_digits(whole)
    good &= whole < _EXACT // np.uint64(10**n_decimals)
    values = (whole * np.uint64(10**n_decimals) + fraction).astype(np.float64) / 10.0**n_decimals
    return np.negative(values, out=values, where=negative), good


def _all_digits(word: U64) -> Flags:
    """Whether the eight characters of each word are digits: 0x30 to 0x39."""
    high = _every(0xF0)
    digits: Flags = ((word & high) == _every(0x30)) & (((word + _every(0x06)) & high) == _every(0x30))
    return digits


def _signed_digits(word: U64) -> tuple[U64, Flags, Flags]:
    """Digit values of each word, whether it is negative, and whether it reads spaces, at most one minus, digits."""
    digit = (word & _every(0x10)) >> _SHIFT_4  # 1 in each byte that can be a digit, 0 in spaces and minus
    other = digit ^ _every(0x01)
    mask = other * np.uint64(0xFF)  # all bits of those bytes: they must come first, in the low bytes
    minus = (word >> np.uint64(3)) & other  # bit 3 is set in "-" (0x2D) and not in " " (0x20)
    digits = word & ~mask
    good: Flags = (word & mask) == (mask & _every(0x20)) | (minus * np.uint64(0x0D))
    good &= _all_digits(digits | (mask & _every(0x30)))
    good &= (mask & (mask + np.uint64(1))) == 0
    good &= (minus == 0) | (minus == (mask + np.uint64(1)) >> _SHIFT_8)  # right before the first digit
    good &= digit >> np.uint64(56) == 1  # the character before the point is a digit
    return digits & _every(0x0F), minus != 0, good


def _sum_of_digits(word: U64) -> U64:
    """The number that eight digit values spell, the first in the lowest byte."""
    word = (word * np.uint64(10) + (word >> _SHIFT_8)) & _PAIRS
    word = (word * np.uint64(100) + (word >> _SHIFT_16)) & _QUADS
    total: U64 = (word * np.uint64(10000) + (word >> _SHIFT_32)) & np.uint64(0xFFFFFFFF)
    return total
