"""Vectorised conversion of Fortran's `1X,F16.8` columns: millions of numbers a call, bit for bit as `float` reads them.

A field of 17 characters is eight characters of sign and integer part, a point, eight decimals. Each half is loaded as
one 64-bit word and its eight digits are summed in three multiplications (all lanes of the word at once). A field that
is not of this layout (stars, NaN, glued columns, an exponent) is reported, never guessed.

References:
    The eight-digits-in-a-word sum: D. Lemire, Software: Practice and Experience 51, 1700 (2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlpdata.units import F64

WIDTH = 17
"""Characters of a field."""

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
Flags = NDArray[np.bool_]


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
