"""Inputs: plain or compressed files as one bounded buffer, with their digest and line numbers."""

from __future__ import annotations

import bz2
import lzma
import mmap
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

from mlpdata.digest import sha256, sha256_file
from mlpdata.errors import InputError, LimitExceeded, ParseError
from mlpdata.schema.sidecar import Declared

Buffer = bytes | mmap.mmap
PIECE = 1 << 20
READ = 1 << 16
SIP = 1 << 10
HEAD = 1 << 16
NOTHING_COMES_OUT = (
    "expected compressed data, found none that could be read. The file is cut or damaged; copy it again."
)
SMALL = 1 << 20
"""Plain inputs up to this size are read; to map one costs more than that."""
IN_MEMORY = 64 << 20
"""Decompressed inputs up to this size stay in memory; larger ones go to a nameless file."""


@dataclass(frozen=True)
class Limits:
    """Bounds that protect the machine from hostile or broken input."""

    stored_bytes: int = 64 << 30
    """Size of the file."""
    expanded_bytes: int = 16 << 30
    """Size after decompression."""
    ratio: int = 500
    """Expanded over stored size, asked once more than 64 MiB came out. Outputs of codes reach 50."""
    line_bytes: int = 32 << 20
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
    companions: tuple[Input, ...] = ()
    """Files beside it that hold a part of the same run, as its reader names them."""
    declared: Declared | None = None
    """What the user says of numbers whose file states no units."""
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


@dataclass(frozen=True)
class _Codec:
    """One compression: its first bytes, and how it gives pieces of at most `PIECE` bytes."""

    name: str
    magic: bytes
    pieces: Callable[[IO[bytes]], Iterator[bytes]]


def _gz_pieces(raw: IO[bytes]) -> Iterator[bytes]:
    decoder, chunk = zlib.decompressobj(31), raw.read(READ)
    while chunk:
        yield decoder.decompress(chunk, PIECE)
        while decoder.unconsumed_tail and not decoder.eof:
            yield decoder.decompress(decoder.unconsumed_tail, PIECE)
        rest = decoder.unused_data if decoder.eof else b""
        if decoder.eof and rest.strip(b"\0"):
            decoder, chunk = zlib.decompressobj(31), rest  # gzip files may be concatenated
            continue
        chunk = raw.read(READ)
        if chunk and decoder.eof:
            decoder = zlib.decompressobj(31)
    if not decoder.eof:
        raise EOFError


def _stream_pieces(new: Callable[[], Any]) -> Callable[[IO[bytes]], Iterator[bytes]]:
    """Pieces of a bz2 or xz file; several streams may follow each other."""

    def pieces(raw: IO[bytes]) -> Iterator[bytes]:
        decoder, chunk = new(), raw.read(READ)
        while chunk:
            yield decoder.decompress(chunk, PIECE)
            while not decoder.eof and not decoder.needs_input:
                yield decoder.decompress(b"", PIECE)
            rest = decoder.unused_data if decoder.eof else b""
            chunk = rest if rest.strip(b"\0") else raw.read(READ)
            if chunk and decoder.eof:
                decoder = new()
        if not decoder.eof:
            raise EOFError

    return pieces


def _zst_pieces(raw: IO[bytes]) -> Iterator[bytes]:
    """Fed in small sips, since a decoder of this library cannot be told how much to give: 32 KiB grow from 1 byte."""
    decoder, chunk = zstandard.ZstdDecompressor().decompressobj(), raw.read(SIP)
    while chunk:
        yield decoder.decompress(chunk)
        chunk = decoder.unused_data if decoder.eof and decoder.unused_data else raw.read(SIP)
        if chunk and decoder.eof:
            decoder = zstandard.ZstdDecompressor().decompressobj()
    if not decoder.eof:
        raise EOFError


_CODECS = (
    _Codec("gz", b"\x1f\x8b", _gz_pieces),
    _Codec("bz2", b"BZh", _stream_pieces(bz2.BZ2Decompressor)),
    _Codec("xz", b"\xfd7zXZ\x00", _stream_pieces(lzma.LZMADecompressor)),
    _Codec("zst", b"\x28\xb5\x2f\xfd", _zst_pieces),
)
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, ValueError)
"""What decoders raise where a stream is cut or damaged; what came out before may hold whole frames."""


def _codec(raw: IO[bytes]) -> _Codec | None:
    magic = raw.read(6)
    raw.seek(0)
    return next((codec for codec in _CODECS if magic.startswith(codec.magic)), None)


@contextmanager
def open_input(path: Path, limits: Limits = LIMITS) -> Iterator[Input]:
    """Open a file for reading, decompressed where its first bytes say so.

    Raises:
        InputError: no such file, a folder, unreadable, or empty.
        LimitExceeded: larger than `limits` allows, stored or expanded, or with a longer line.
    """
    with _opened(path) as (raw, size):
        if size > limits.stored_bytes:
            raise LimitExceeded(f"expected at most {limits.stored_bytes} bytes, found {size}.", path=path)
        codec = _codec(raw)
        if codec is None and size <= SMALL:
            content = raw.read(SMALL)
            _refuse_long_lines(path, content, limits)
            yield Input(path, content, sha256(content), len(content), limits=limits)
        elif codec is None:
            with _mapped(raw) as mapped:
                _refuse_long_lines(path, mapped, limits)
                yield Input(path, mapped, sha256_file(path), size, limits=limits)
        else:
            with _expanded(path, codec.pieces(raw), size, limits) as (expanded, cut):
                _refuse_long_lines(path, expanded, limits)
                yield Input(path, expanded, sha256_file(path), size, codec.name, cut, limits)


def _refuse_long_lines(path: Path, data: Buffer, limits: Limits) -> None:
    """A text without a line end for so long is none that a code wrote; asked before anything reads it whole.

    Raises:
        LimitExceeded: a line longer than `limits` allows, wherever it stands in a text.
    """
    if b"\0" in data[:HEAD]:
        return  # binary formats have no lines
    for begin in range(0, len(data) - limits.line_bytes + 1, limits.line_bytes):
        if data.find(b"\n", begin, begin + limits.line_bytes) < 0:
            raise LimitExceeded(
                f"expected lines of at most {limits.line_bytes} bytes, found a longer one. No code writes such lines.",
                path=path,
            )


@contextmanager
def open_head(path: Path) -> Iterator[Input]:
    """Open the first 64 KiB of a file only, for recognition; its digest is not worked out.

    Raises:
        InputError: no such file, a folder, unreadable, or empty.
    """
    with _opened(path) as (raw, size):
        codec = _codec(raw)
        head = bytearray()
        with suppress(*_DAMAGED):
            for piece in iter([raw.read(HEAD)]) if codec is None else codec.pieces(raw):
                head += piece
                if len(head) >= HEAD:
                    break
        if not head:
            raise InputError(NOTHING_COMES_OUT, path=path)
        yield Input(path, bytes(head[:HEAD]), "", size, codec.name if codec else None)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    try:
        if path.is_dir():
            raise InputError("expected a file, found a folder.", path=path)
        size = path.stat().st_size
        if not path.is_file():
            raise InputError("expected a regular file, found a device, pipe or socket.", path=path)
        if size == 0:
            raise InputError("expected an output, found an empty file. The run has not written anything.", path=path)
        raw = path.open("rb")
    except OSError as error:
        raise InputError(f"expected a readable file, found: {error.strerror or error}.", path=path) from error
    with raw:
        yield raw, size


@contextmanager
def _mapped(file: IO[bytes]) -> Iterator[mmap.mmap]:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


@contextmanager
def _expanded(path: Path, pieces: Iterator[bytes], stored: int, limits: Limits) -> Iterator[tuple[Buffer, bool]]:
    """Decompress into memory, or into a nameless file once it is large, stopping at the limits."""
    bound = min(limits.expanded_bytes, max(IN_MEMORY, limits.ratio * stored))
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as out:
        total, cut = 0, False
        while total <= bound:
            try:
                piece = next(pieces, None)
            except _DAMAGED:
                cut = True
                break
            if piece is None:
                break
            total += len(piece)
            out.write(piece)
        if total > bound:
            raise LimitExceeded(
                f"expected at most {bound} bytes after decompression, found more. "
                "No output of a code shrinks so much; this looks like a decompression bomb.",
                path=path,
            )
        if total == 0:
            raise InputError(NOTHING_COMES_OUT, path=path)
        out.seek(0)
        if total <= IN_MEMORY:
            yield out.read(), cut
        else:
            with _mapped(out) as mapped:
                yield mapped, cut


@contextmanager
def located(source: Input, offset: int) -> Iterator[None]:
    """Give the line at `offset` to a ParseError that does not know its own."""
    try:
        yield
    except ParseError as error:
        error.line = error.line or source.line(offset)
        raise
