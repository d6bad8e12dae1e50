"""Inputs: plain or compressed files, also of archives, as one bounded buffer, with their digest and line numbers."""

from __future__ import annotations

import mmap
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from mlpdata.digest import sha256, sha256_start
from mlpdata.errors import InputError, LimitExceeded, ParseError, Unavailable
from mlpdata.readers.codecs import DAMAGED, PIECE, codec_of
from mlpdata.readers.place import Member, Place, Region
from mlpdata.schema.sidecar import Declared

Buffer = bytes | mmap.mmap
HEAD = 1 << 16
NOTHING_COMES_OUT = (
    "expected compressed data, found none that could be read. The file is cut or damaged; copy it again."
)
EMPTY = "expected an output, found an empty file. The run has not written anything."
CUT_MEANWHILE = "expected it as long as it was, found it shorter. It is being written anew; run the command again."
SMALL = 1 << 20
"""Plain inputs up to this size are read; to map one costs more than that."""
JSON_LINE = 8
"""JSON is often one line: how many times longer than others its lines may be."""
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
    archive_bytes: int = 1 << 40
    """Size of all that an archive gives; each of its members is held to `expanded_bytes`."""
    members: int = 1_000_000
    """Members of one archive."""
    line_bytes: int = 32 << 20
    """Longest line."""
    atoms: int = 10_000_000
    """Atoms of one configuration, as a header announces them."""


LIMITS = Limits()


@dataclass
class Input:
    """One file, opened: `data` can be searched and sliced like bytes, whatever its size or compression."""

    path: Place
    data: Buffer
    sha256: str
    """Of the stored bytes; those of a member of an archive are the ones that the archive holds."""
    stored_bytes: int
    compression: str | None = None
    """gz, bz2, xz, zst, or None."""
    cut: bool = False
    """Whether a compressed stream, or the archive around it, ended early; what came out is in `data`."""
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


@contextmanager
def open_input(path: Place, limits: Limits = LIMITS) -> Iterator[Input]:
    """Open a file, or a member of an archive, for reading, decompressed where its first bytes say so.

    Raises:
        InputError: no such file, a folder, unreadable, or empty.
        LimitExceeded: larger than `limits` allows, stored or expanded, or with a longer line.
    """
    cut = isinstance(path, Member) and path.cut
    with open_stored(path, limits) as (raw, size), ExitStack() as opened:
        with _readable(path):
            codec = codec_of(raw)
            if codec is None:
                data, ends_early = opened.enter_context(_whole(path, raw, size)), False
            else:
                pieces = codec.pieces(raw)
                data, ends_early = opened.enter_context(_expanded(path, pieces, size, limits))
        _refuse_long_lines(path, data, limits)
        with _readable(path):
            digest = _sha256(data) if codec is None else sha256_start(raw, size)
        yield Input(path, data, digest, size, codec.name if codec else None, cut or ends_early, limits)


@contextmanager
def _readable(path: Place) -> Iterator[None]:
    """While a file is read: what the system says against it is an error of that file alone.

    Raises:
        Unavailable: it says something.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(f"expected a readable file, found: {error.strerror or error}.", path=str(path)) from error


@contextmanager
def _whole(path: Place, raw: IO[bytes], size: int) -> Iterator[Buffer]:
    """The first `size` bytes of what is not compressed, and no others: the digest is of these, while a run still writes.

    Raises:
        Unavailable: there are fewer.
    """
    if isinstance(path, Member):
        yield raw if isinstance(raw, mmap.mmap) else raw.read()
    elif size <= SMALL:
        content = raw.read(size)
        if len(content) < size:
            raise Unavailable(CUT_MEANWHILE, path=str(path))
        yield content
    else:
        with _mapped(path, raw, size) as mapped:
            yield mapped


def _sha256(data: Buffer) -> str:
    """Digest of what is not compressed."""
    with memoryview(data) as view:
        return sha256(view)


def _refuse_long_lines(path: Place, data: Buffer, limits: Limits) -> None:
    """A text without a line end for so long is none that a code wrote; asked before anything reads it whole.

    Raises:
        LimitExceeded: a line longer than `limits` allows, wherever it stands in a text.
    """
    if b"\0" in data[:HEAD]:
        return  # binary formats have no lines
    bound = limits.line_bytes * (JSON_LINE if data[:1] in (b"{", b"[") else 1)
    for begin in range(0, len(data) - bound + 1, bound):
        if data.find(b"\n", begin, begin + bound) < 0:
            raise LimitExceeded(
                f"expected lines of at most {bound} bytes, found a longer one. No code writes such lines.",
                path=str(path),
            )


@contextmanager
def open_head(path: Place) -> Iterator[Input]:
    """Open the first 64 KiB of a file or a member only, for recognition; its digest is not worked out.

    Raises:
        InputError: no such file, a folder, unreadable, or empty.
    """
    with open_stored(path) as (raw, size):
        head = bytearray()
        with _readable(path):
            codec = codec_of(raw)
            if codec is None:
                head += raw.read(HEAD)
            else:
                with suppress(*DAMAGED):
                    for piece in codec.pieces(raw):
                        head += piece
                        if len(head) >= HEAD:
                            break
        if not head:
            raise InputError(NOTHING_COMES_OUT, path=str(path))
        yield Input(path, bytes(head[:HEAD]), "", size, codec.name if codec else None)


@contextmanager
def open_stored(path: Place, limits: Limits = LIMITS) -> Iterator[tuple[IO[bytes], int]]:
    """The stored bytes of a file or a member as a file, and how many they are.

    Raises:
        InputError: no such file, a folder, unreadable, or empty.
        LimitExceeded: larger than `limits` allows.
    """
    with _readable(path):
        raw, size = (_opened_member(path), len(path.content)) if isinstance(path, Member) else _opened_file(path)
    with raw:
        if size > limits.stored_bytes:
            raise LimitExceeded(f"expected at most {limits.stored_bytes} bytes, found {size}.", path=str(path))
        yield raw, size


def _opened_file(path: Path) -> tuple[IO[bytes], int]:
    found = path.stat()  # before it is opened: to open a pipe waits for its other end
    if stat.S_ISDIR(found.st_mode):
        raise InputError("expected a file, found a folder.", path=path)
    if not stat.S_ISREG(found.st_mode):
        raise InputError("expected a regular file, found a device, pipe or socket.", path=path)
    raw = path.open("rb")
    size = os.fstat(raw.fileno()).st_size
    if size == 0:
        raw.close()
        raise InputError(EMPTY, path=path)
    return raw, size


def _opened_member(member: Member) -> IO[bytes]:
    if member.fault:
        raise InputError(member.fault, path=str(member))
    if not len(member.content):
        raise InputError(EMPTY, path=str(member))
    if isinstance(member.content, Region):
        return cast("IO[bytes]", member.content.mapped())  # a mapping reads and seeks like a file
    return BytesIO(member.content)


@contextmanager
def _mapped(path: Place, file: IO[bytes], size: int) -> Iterator[mmap.mmap]:
    try:
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except ValueError:
        raise Unavailable(CUT_MEANWHILE, path=str(path)) from None
    with mapped:
        yield mapped


@contextmanager
def _expanded(path: Place, pieces: Iterator[bytes], stored: int, limits: Limits) -> Iterator[tuple[Buffer, bool]]:
    """Decompress into memory, or into a nameless file once it is large, stopping at the limits."""
    bound = min(limits.expanded_bytes, max(IN_MEMORY, limits.ratio * stored))
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as out:
        total, cut = 0, False
        while total <= bound:
            try:
                piece = next(pieces, None)
            except DAMAGED:
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
                path=str(path),
            )
        if total == 0:
            raise InputError(NOTHING_COMES_OUT, path=str(path))
        out.seek(0)
        if total <= IN_MEMORY:
            yield out.read(), cut
        else:
            with _mapped(path, cast("IO[bytes]", out), total) as mapped:
                yield mapped, cut


@contextmanager
def located(source: Input, offset: int) -> Iterator[None]:
    """Give the line at `offset` to a ParseError that does not know its own."""
    try:
        yield
    except ParseError as error:
        error.line = error.line or source.line(offset)
        raise
