"""Tar: a tape, read forwards once, whatever compresses it.

The headers are those of `tarfile`: ustar, GNU long names, extended headers, sparse files. Where tarfile takes the end
of the bytes or a damaged header for the end of the archive, this looks for the end mark.

References:
    POSIX.1-2008, pax, ustar interchange format: the end mark is two blocks of zeros.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from mlpdata.errors import InputError, Unavailable
from mlpdata.readers.codecs import DAMAGED, PIECE, Codec, codec_of
from mlpdata.readers.passage import Ended, Kind, Meter, Part, Passage, sane_time

BLOCK = 512
MOST_HEADER = 1 << 16
"""Bytes of the headers of one member: long names, attributes, the map of a sparse file."""
_MANY_DIGITS = re.compile(rb"\d{256}")
"""Python before 3.11.10 takes quadratic time for them in an extended header (CVE-2024-6232); no name is so long."""
_FAULTS = (tarfile.TarError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What tarfile raises where headers are damaged or lie."""
_COPY = "Copy it again, or wait until it is written."


class _Tape:
    """The expanded bytes of an archive as a file that only goes forward."""

    def __init__(self, raw: IO[bytes], codec: Codec | None, meter: Meter) -> None:
        self._raw, self._meter = raw, meter
        self._pieces = codec.pieces(raw) if codec else None
        self._piece, self._at, self._place = b"", 0, 0
        self._header_left: int | None = None
        self.block = b""
        """What was read last of a header."""
        self.cut = False
        """Whether the compressed stream ended early."""
        self.damaged = False
        """Whether the compressed stream could not be read on."""

    @contextmanager
    def header(self) -> Iterator[None]:
        """While a header is read: it has its bounds."""
        self._header_left = MOST_HEADER
        yield
        self._header_left = None

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        if self._header_left is not None:
            self._header_left -= size
            if self._header_left < 0:
                raise tarfile.ReadError(f"a header of more than {MOST_HEADER} bytes")
        try:
            content = self._expanded(size) if self._pieces else self._raw.read(size)
        except OSError as error:
            raise Unavailable(f"expected a readable file, found: {error}.", path=self._meter.archive) from error
        self._place += len(content)
        if self._header_left is not None:
            if size > BLOCK and _MANY_DIGITS.search(content):
                raise tarfile.ReadError("a header with a number of more than 256 digits")
            self.block = content
        return content

    def seek(self, place: int) -> int:
        """Go forward to a place."""
        if place < self._place:
            raise tarfile.ReadError("a header that leads back")
        if self._pieces is None:
            self._place = self._raw.seek(place)
        while self._place < place and self._skipped(place - self._place):
            pass
        return self._place

    def _skipped(self, size: int) -> int:
        if self._at == len(self._piece):
            self._fill()
        step = min(size, len(self._piece) - self._at)
        self._at += step
        self._place += step
        return step

    def tell(self) -> int:
        """Bytes that have passed."""
        return self._place

    def drain(self) -> None:
        """Read on to the end of a compressed stream, where its checksum is."""
        while self._pieces is not None and self._fill():
            pass

    def _expanded(self, size: int) -> bytes:
        found = self._piece[self._at : self._at + size]
        self._at += len(found)
        if len(found) == size:
            return found
        parts = [found]
        while (size := size - len(parts[-1])) and self._fill():
            parts.append(self._piece[:size])
            self._at = len(parts[-1])
        return b"".join(parts)

    def _fill(self) -> bool:
        """Take the next piece; whether there was one."""
        self._piece, self._at = b"", 0
        assert self._pieces is not None  # asked for where the tape is compressed
        try:
            while not self._piece:
                self._piece = next(self._pieces)
        except StopIteration:
            return False
        except EOFError:
            self.cut = True
            return False
        except DAMAGED:
            self.damaged = True
            return False
        self._meter.give(len(self._piece))
        return True

    def ended(self, fault: str = "") -> Ended:
        """How the archive ended, where there are no more members."""
        marked = not fault and self.block == bytes(BLOCK)
        if marked:
            self.drain()
        if self.damaged:
            words = "expected a whole compressed stream, found a damaged one: any byte before may be wrong."
            return Ended(f"{words} {_COPY}", doubtful=True)
        if self.cut or (not marked and len(self.block) < BLOCK):
            return Ended(f"expected the end mark of the archive, found that it ends at byte {self._place}. {_COPY}")
        if marked:
            return Ended()
        found = fault or "something else"
        return Ended(f"expected the header of a member before byte {self._place}, found {found}. It is damaged.")


def tar_parts(raw: IO[bytes], meter: Meter) -> Passage:
    """The members of a tar in order, folders left out.

    Raises:
        InputError: no tar, or not readable.
        LimitExceeded: more bytes or members than the limits allow.
    """
    tape = _Tape(raw, codec_of(raw), meter)
    try:
        with tape.header():
            tar = tarfile.TarFile(fileobj=cast("IO[bytes]", tape), mode="r", encoding="utf-8", errors="surrogateescape")
    except _FAULTS as error:
        if tape.damaged or tape.cut:
            return tape.ended()
        raise InputError("expected a tar or zip archive, found something else.", path=meter.archive) from error
    while True:
        try:
            with tape.header():
                info = tar.next()
        except _FAULTS as error:
            return tape.ended(str(error))
        if info is None:
            return tape.ended()
        tar.members.clear()  # type: ignore[attr-defined]  # it keeps all of them otherwise
        number = meter.member()
        if not info.isdir():
            yield _part(number, info, tar, tape, meter)


def _part(number: int, info: tarfile.TarInfo, tar: tarfile.TarFile, tape: _Tape, meter: Meter) -> Part:
    def pieces(part: Part) -> Iterator[bytes]:
        return _sparse(part, info, tar, meter) if info.issparse() else _plain(part, info, tape)

    link = info.linkname if info.islnk() or info.issym() else ""
    fault = meter.too_large(info.size)
    if not info.pax_headers.get("size", "0").isdecimal():  # tarfile takes it for 0
        fault = "expected the size of a member, found no number. The archive is damaged."
    return Part(number, info.name, _kind(info), info.size, sane_time(info.mtime), link, fault, source=pieces)


def _kind(info: tarfile.TarInfo) -> Kind:
    if info.isreg():
        return "file"
    return "hard link" if info.islnk() else "symbolic link" if info.issym() else "device or pipe"


def _plain(part: Part, info: tarfile.TarInfo, tape: _Tape) -> Iterator[bytes]:
    tape.seek(info.offset_data)
    left = info.size
    while left:
        piece = tape.read(min(left, PIECE))
        if not piece:
            part.cut = True
            return
        left -= len(piece)
        yield piece


def _sparse(part: Part, info: tarfile.TarInfo, tar: tarfile.TarFile, meter: Meter) -> Iterator[bytes]:
    """The bytes of a file with holes, which the archive leaves out."""
    try:
        file = tar.extractfile(info)
        while file is not None and (piece := file.read(PIECE)):
            meter.give(len(piece))
            yield piece
    except _FAULTS as error:
        part.fault = f"expected a sparse file, found {error}. The archive is cut or damaged."
