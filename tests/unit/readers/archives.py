"""Archives of a few members, built in memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import zstandard

from mlpdata.readers.bundles import fetch
from mlpdata.readers.members import Entry, Index, index
from mlpdata.readers.place import Member

Item = tuple[str, bytes] | tarfile.TarInfo
Files = Mapping[str, bytes] | Iterable[Item]
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": lambda content: gzip.compress(content, mtime=0),
    ".tgz": lambda content: gzip.compress(content, mtime=0),
    ".tar.bz2": bz2.compress,
    ".tbz": bz2.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
    ".tar.zst": zstandard.ZstdCompressor().compress,
}
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def tar(files: Files, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of files and of whatever else a TarInfo says."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=form) as archive:
        for item in files.items() if isinstance(files, Mapping) else files:
            if isinstance(item, tarfile.TarInfo):
                archive.addfile(item)
            else:
                info = tarfile.TarInfo(item[0])
                info.size, info.mtime = len(item[1]), 1_700_000_000
                archive.addfile(info, io.BytesIO(item[1]))
    return whole.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A link, or whatever else has no bytes."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(files: Mapping[str, bytes], method: str = "deflate") -> bytes:
    """A zip of files."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", METHODS[method]) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 17, 12, 30, 0)), content, METHODS[method])
    return whole.getvalue()


def written(path: Path, content: bytes) -> Path:
    """The file at `path` with `content`."""
    path.write_bytes(content)
    return path


def nothing(_: Member) -> None:
    """What is seen of a member where nobody looks."""


def fetched(archive: Path, found: Index[Any], *paths: str) -> tuple[Member, ...]:
    """The members at some paths as one bundle; all of the archive where none is named."""
    entries: list[Entry[Any]] = [found.entries[path] for path in paths or found.entries]
    ((_, members),) = fetch(archive, {"all": entries})
    return members


def contents(archive: Path) -> dict[str, bytes]:
    """All that an archive gives, by path."""
    found = index(archive, nothing)
    return {one.path: bytes_of(one) for one in fetched(archive, found) if not one.fault}


def bytes_of(member: Member) -> bytes:
    """The bytes of a member, wherever they are."""
    if isinstance(member.content, bytes):
        return member.content
    with member.content.mapped() as mapped:
        return mapped[:]
