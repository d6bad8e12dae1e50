"""Files, plain and compressed, as one bounded buffer."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from mlpdata.errors import InputError, LimitExceeded
from mlpdata.readers.archive import Limits, open_input

TEXT = b"".join(b"line %d\n" % i for i in range(20_000))
COMPRESSORS: list[tuple[str | None, Callable[[bytes], bytes]]] = [
    (None, bytes),
    ("gz", gzip.compress),
    ("bz2", bz2.compress),
    ("xz", lzma.compress),
    ("zst", zstandard.ZstdCompressor().compress),
]


@pytest.mark.parametrize(("name", "compress"), COMPRESSORS)
def test_a_file_is_the_same_whatever_its_compression(
    tmp_path: Path, name: str | None, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "any name"
    stored = compress(TEXT)
    path.write_bytes(stored)
    with open_input(path) as source:
        assert source.data[:] == TEXT
        assert (source.compression, source.cut, source.stored_bytes) == (name, False, len(stored))
        assert source.sha256 == hashlib.sha256(stored).hexdigest()
        assert source.head == TEXT[: 1 << 16]


@pytest.mark.parametrize(("name", "compress"), COMPRESSORS[1:4])
def test_a_stream_that_ends_early_gives_what_came_out_and_says_so(
    tmp_path: Path, name: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "cut"
    text = TEXT * 10  # bzip2 gives nothing before a block of 900 kB is whole
    stored = compress(text)
    path.write_bytes(stored[: len(stored) * 9 // 10])
    with open_input(path) as source:
        assert source.cut
        assert 0 < len(source.data) < len(text)
        assert text.startswith(source.data[:])


def test_lines_are_counted_from_one_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    with open_input(path) as source:
        for number in (1, 2, 19_000, 7, 20_000):
            assert source.line(TEXT.index(b"line %d\n" % (number - 1))) == number


def test_a_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(80 << 20)))
    with pytest.raises(LimitExceeded, match="bomb"), open_input(path):
        pass
    with pytest.raises(LimitExceeded), open_input(path, Limits(expanded_bytes=1000)):
        pass


def test_a_large_expansion_goes_to_a_file_and_reads_the_same(tmp_path: Path) -> None:
    text = TEXT * 350
    path = tmp_path / "large.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(text))
    with open_input(path, Limits(ratio=1 << 20)) as source:
        assert len(source.data) == len(text) > 64 << 20
        assert source.data[-8:] == text[-8:]


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "header.gz").write_bytes(b"\x1f\x8b")
    for name, found in (
        (".", "folder"),
        ("absent", "No such file"),
        ("empty", "empty file"),
        ("header.gz", "none that"),
    ):
        with pytest.raises(InputError, match=found) as caught, open_input(tmp_path / name):
            pass
        assert caught.value.path == str(tmp_path / name)
    with pytest.raises(LimitExceeded), open_input(Path(__file__), Limits(stored_bytes=10)):
        pass


def test_an_error_of_the_one_who_reads_is_not_the_file_s(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    with pytest.raises(OSError, match="disk is full"), open_input(path):
        raise OSError("the disk is full")
