"""Inputs: plain or compressed files as one bounded buffer, with their digest and line numbers."""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

from mlpdata.digest import sha256_file
from mlpdata.errors import InputError, LimitExceeded

Buffer = bytes | mmap.mmap
PIECE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds that protect the machine from hostile or broken input."""

    stored_bytes: int = 64 << 30
    """Size of the file."""
    expanded_bytes: int = 16 << 30
    """Size after decompression."""
    ratio: int = 500
    """Expanded over stored size, asked once more than 64 MiB came out. Outputs of codes reach 50."""
    line_bytes: int = 64 << 20
    """Longest line."""
    atoms: int = 10_000_000
    """Atoms of one configuration, as a header announces them."""


LIMITS = Limits()


@dataclass
class Input:
    """One file, opened: `data` can be searched and sliced like bytes, whatever its size or compression."""

    path: Path
    data: Buffer
    sha256: str
    """Of the stored bytes."""
    stored_bytes: int
    compression: str | None = None
    """gz, bz2, xz, zst, or None."""
    cut: bool = False
    """Whether a compressed stream ended early; what came out is in `data`."""
    limits: Limits = LIMITS
    _line: tuple[int, int] = field(default=(0, 1), repr=False)

    @property
    def head(self) -> bytes:
        """The first 64 KiB, for recognition."""
        return self.data[: 1 << 16]

    def line(self, offset: int) -> int:
        """Number of the line that holds the byte at `offset`, counted from 1; cheap when offsets grow."""
        start, number = self._line if offset >= self._line[0] else (0, 1)
        for begin in range(start, offset, PIECE):
            number += self.data[begin : min(begin + PIECE, offset)].count(b"\n")
        self._line = (offset, number)
        return number


_MAGIC: tuple[tuple[str, bytes, Callable[[IO[bytes]], Any]], ...] = (
    ("gz", b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
    ("bz2", b"BZh", bz2.BZ2File),
    ("xz", b"\xfd7zXZ\x00", lzma.LZMAFile),
    ("zst", b"\x28\xb5\x2f\xfd", lambda raw: zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)),
)


@contextmanager
def open_input(path: Path, limits: Limits = LIMITS) -> Iterator[Input]:
    """Open a file for reading, decompressed where its first bytes say so.

    Raises:
        InputError: no such file, a folder, unreadable, or empty.
        LimitExceeded: larger than `limits` allows, stored or expanded.
    """
    try:
        if path.is_dir():
            raise InputError("expected a file, found a folder.", path=path)
        size = path.stat().st_size
        if size == 0:
            raise InputError("expected an output, found an empty file. The run has not written anything.", path=path)
        if size > limits.stored_bytes:
            raise LimitExceeded(f"expected at most {limits.stored_bytes} bytes, found {size}.", path=path)
        digest = sha256_file(path)
        with path.open("rb") as raw:
            magic = raw.read(6)
            raw.seek(0)
            for name, start, opener in _MAGIC:
                if magic.startswith(start):
                    with _expanded(path, opener(raw), size, limits) as (data, cut):
                        yield Input(path, data, digest, size, name, cut, limits)
                    return
            with _mapped(raw) as mapped:
                yield Input(path, mapped, digest, size, limits=limits)
    except OSError as error:
        raise InputError(f"expected a readable file, found: {error.strerror or error}.", path=path) from error


@contextmanager
def _mapped(file: IO[bytes]) -> Iterator[mmap.mmap]:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


@contextmanager
def _expanded(path: Path, stream: IO[bytes], stored: int, limits: Limits) -> Iterator[tuple[Buffer, bool]]:
    """Decompress into memory, or into a nameless file once it is large, stopping at the limits."""
    with tempfile.SpooledTemporaryFile(max_size=64 << 20) as out:
        total, cut = 0, False
        try:
            while piece := stream.read(PIECE):
                total += len(piece)
                bound = min(limits.expanded_bytes, max(64 << 20, limits.ratio * stored))
                if total > bound:
                    raise LimitExceeded(
                        f"expected at most {bound} bytes after decompression, found more. "
                        "No output of a code shrinks so much; this looks like a decompression bomb.",
                        path=path,
                    )
                out.write(piece)
        except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError):
            cut = True  # the stream is damaged or ends early: what came out may hold whole frames
        if total == 0:
            raise InputError("expected compressed data, found none that could be read.", path=path)
        out.seek(0)
        if total <= 64 << 20:
            yield out.read(), cut
        else:
            with _mapped(out) as mapped:
                yield mapped, cut
