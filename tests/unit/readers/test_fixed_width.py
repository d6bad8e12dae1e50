"""Fixed-width conversion against Python's own reading of the same characters."""

from __future__ import annotations

import numpy as np
import pytest

from mlpdata.readers.fixed_width import WIDTH, decimals


def fields(*texts: bytes) -> np.ndarray:
    assert {len(text) for text in texts} == {WIDTH}
    return np.frombuffer(b"".join(texts), np.uint8).reshape(-1, WIDTH)


def test_every_number_is_the_one_that_float_reads_to_the_last_bit() -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=50_000) * 10.0 ** random.integers(-9, 6, 50_000)
    texts = [b"%17.8f" % x for x in (*numbers, 0.0, -0.0, 1e-8, -1e-8, 9999999.0, -9999999.0, 89999999.25)]
    values, good = decimals(fields(*texts))

    assert good.all()
    assert values.tobytes() == np.array([float(text) for text in texts]).tobytes()


def test_a_number_that_would_round_twice_is_left_to_the_slow_way() -> None:
    assert not decimals(fields(b"99999999.99999999"))[1].any()


INTEGERS = [
    "********", "--1", "- 1", "1 1", "-1-", "", "-", "+1", "NaN", "/1", ":", "- 1  1", "\x100 1", "(1", "\xb01", "-1234 6",
    "1\t1", "1-", "-1-2", "E1", "\x00", "1\x00", "$1", ",1", "-\x0d1", "\xad1",
]  # fmt: skip


@pytest.mark.parametrize("text", INTEGERS)
def test_an_integer_part_that_fortran_does_not_print_is_reported(text: str) -> None:
    assert not decimals(fields(text.rjust(8).encode("latin-1") + b".12345678"))[1].any()


@pytest.mark.parametrize(
    "tail", [",12345678", ".1234567 ", ".-2345678", ".1234567:", ".********", " 12345678", ".1E345678"]
)
def test_decimals_that_fortran_does_not_print_are_reported(tail: str) -> None:
    assert not decimals(fields(b"       1" + tail.encode()))[1].any()


def test_any_single_byte_changed_gives_the_number_float_reads_or_a_report() -> None:
    original = b"   -1234.56789012"
    texts = [original[:i] + bytes([byte]) + original[i + 1 :] for i in range(WIDTH) for byte in range(256)]
    values, good = decimals(fields(*texts))

    assert good.any()
    for text, value in zip(np.array(texts, object)[good], values[good], strict=True):
        assert float(text) == value
