"""The one parser of printed numbers."""

from __future__ import annotations

import pytest

from mlpdata.errors import ParseError
from mlpdata.readers.text import number, numbers


def test_numbers_are_read_as_fortran_prints_them() -> None:
    assert numbers(b" 1.5 -2 +3.0E-2\n4D+01\t-0.75d0 .5 6. ").tolist() == [1.5, -2.0, 0.03, 40.0, -0.75, 0.5, 6.0]
    assert numbers(b" \n").shape == (0,)
    assert number(b" -28.43873965 ") == -28.43873965


ODD = [
    b"********", b"NaN", b"nan", b"inf", b"-Infinity", b"1E400", b"-1e308", b"219.870882556-1030.493229556", b"1.2.3", b"0x10", b"1_000",
    b"1,5", b"--1", b"1e", b"-", b".", b"\xb2", b"1\x00", b"1 *",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_finite_number_is_refused_and_shown(odd: bytes) -> None:
    for text in (odd, b" 1.0 " + odd + b" 2.0"):
        with pytest.raises(ParseError, match="expected"):
            numbers(text)


def test_stars_are_explained() -> None:
    with pytest.raises(ParseError, match=r"found '\*\*\*\*'.*stars"):
        numbers(b"1.0 **** 2.0")


def test_another_count_is_refused() -> None:
    with pytest.raises(ParseError, match="expected 3 numbers, found 2"):
        numbers(b"1.0 2.0", 3)
    with pytest.raises(ParseError, match="expected 1 numbers, found 0"):
        number(b"  ")
