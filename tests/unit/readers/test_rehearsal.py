"""Files at which a library in C ends or circles are refused by a process that comes to no harm."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.rehearsal import rehearsed


def source(content: bytes = b"x") -> Input:
    return Input(Path("run.h5"), content, "0" * 64, len(content))


def test_a_reader_gives_what_it_gave() -> None:
    @rehearsed
    def read(source: Input) -> Iterator[int]:
        yield len(source.data)
        yield 2

    assert list(read(source())) == [1, 2]


def test_an_error_of_ours_is_raised_where_the_reader_raises_it() -> None:
    @rehearsed
    def read(_: Input) -> Iterator[int]:
        yield 1
        raise ParseError("expected a frame, found none.")

    items = read(source())
    assert next(items) == 1
    with pytest.raises(ParseError, match="expected a frame"):
        next(items)


def test_a_crash_is_refused() -> None:
    @rehearsed
    def read(_: Input) -> Iterator[int]:
        yield ctypes.string_at(1, 1)[0]

    with pytest.raises(ParseError, match="one that ended it"):
        next(read(source()))


def test_a_circle_is_refused_after_a_second() -> None:
    @rehearsed
    def read(_: Input) -> Iterator[int]:
        while True:
            pass
        yield 1

    started = time.process_time()
    with pytest.raises(ParseError, match="one that ended it"):
        next(read(source()))
    assert time.process_time() - started < 1


def test_memory_without_bound_is_refused() -> None:
    @rehearsed
    def read(_: Input) -> Iterator[int]:
        yield len(bytearray(8 << 30))

    with pytest.raises(ParseError, match="one that ended it"):
        next(read(source()))
