"""Zip: members that each have a compression and a checksum of their own, listed in a table at the end."""

from __future__ import annotations

import calendar
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, cast

from mlpdata.errors import InputError, LimitExceeded
from mlpdata.readers.passage import Ended, Kind, Meter, Part, Passage, sane_time

MOST_TABLE = 256 << 20
"""Bytes of the table of contents, which is read whole."""
ENTRY = b"PK\x01\x02"
"""Begins each row of that table."""
SIP = 4096
"""Bytes asked for at once: zipfile gives bzip2 and lzma as many stored bytes, of which up to 80 MB can come."""
GULP = {zipfile.ZIP_STORED: 1 << 16, zipfile.ZIP_DEFLATED: 1 << 16}
"""Where no more come than were asked for."""
ENCRYPTED = 0x1
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)
"""What zipfile and the decoders raise where an archive is damaged or lies."""


class _Guarded:
    """The stored bytes, of which no more are read at once than a table of contents has."""

    def __init__(self, raw: IO[bytes], meter: Meter) -> None:
        self._raw, self._meter = raw, meter
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; all that are left where it is negative."""
        content = self._raw.read(MOST_TABLE + 1 if size < 0 else min(size, MOST_TABLE + 1))
        most = self._meter.limits.members
        if len(content) > MOST_TABLE or content.count(ENTRY) > most:
            raise LimitExceeded(f"expected at most {most} members, found more.", path=self._meter.archive)
        return content


def zip_parts(raw: IO[bytes], meter: Meter) -> Passage:
    """The members of a zip in the order of their bytes, folders left out.

    Raises:
        InputError: its table of contents is missing or damaged.
        LimitExceeded: more bytes or members than the limits allow.
    """
    try:
        archive = zipfile.ZipFile(cast("IO[bytes]", _Guarded(raw, meter)))
    except _FAULTS as error:
        raise InputError(
            f"expected the table of contents at the end of a zip, found: {error}. It is cut or damaged; copy it again.",
            path=meter.archive,
        ) from error
    with archive:
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            number = meter.member()
            if not info.filename.endswith("/"):
                yield _part(number, info, archive, meter)
    return Ended()


def _part(number: int, info: zipfile.ZipInfo, archive: zipfile.ZipFile, meter: Meter) -> Part:
    def pieces(part: Part) -> Iterator[bytes]:
        return _pieces(part, info, archive, meter)

    encrypted = "expected a member that can be read, found an encrypted one." if info.flag_bits & ENCRYPTED else ""
    name = info.filename.replace("\\", "/")  # some programs write the separators of their system
    fault = encrypted or meter.too_large(info.file_size)
    part = Part(number, name, _kind(info), info.file_size, _time(info), fault=fault, source=pieces)
    if part.kind == "symbolic link":
        part.target = next(part.pieces(), b"").decode("utf-8", "surrogateescape")
    return part


def _kind(info: zipfile.ZipInfo) -> Kind:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "symbolic link"
    return "file" if kind in {0, stat.S_IFREG} else "device or pipe"


def _time(info: zipfile.ZipInfo) -> float:
    try:
        return sane_time(calendar.timegm((*info.date_time, 0, 0, 0)))
    except ValueError:
        return 0.0


def _pieces(part: Part, info: zipfile.ZipInfo, archive: zipfile.ZipFile, meter: Meter) -> Iterator[bytes]:
    try:
        with archive.open(info) as file:
            while piece := file.read(GULP.get(info.compress_type, SIP)):
                meter.give(len(piece))
                yield piece
    except _FAULTS as error:
        part.fault = f"expected a whole member, found: {error}. The archive is damaged; copy it again."
