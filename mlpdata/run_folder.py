"""Run folder: what lies beside an output and tells how the run ended, read in bounded pieces.

Links are never followed, and of each kind of log the newest counts: older ones speak of earlier attempts.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

PIECE = 1 << 16
"""Bytes that are read of the end of a file [B]; of one of twice the size all are."""
INFLATED = 1 << 22
"""Bytes that a compressed file may hold to be read [B]."""
ENTRIES = 4096
"""Entries of a folder that are looked at."""
EARLIER = 3600.0
"""A log last written so long before the output speaks of an earlier attempt [s]."""

LOGS = (
    "slurm*.out", "slurm*.err", "*.o[0-9]*", "*.e[0-9]*", "*.err", "*.error", "*.lsf", "std*err*", "std*out*",
    "_scheduler-stderr.txt", "_scheduler-stdout.txt", "vasp.out", "log", "nohup.out", "FW_job-*.out",
)  # fmt: skip
"""Kinds of logs: of SLURM, PBS and Grid Engine (`name.o123`), LSF, AiiDA, FireWorks, custodian, and of the shell."""
RESTARTS = (
    "CONTCAR", "WAVECAR", "CHGCAR", "vaspwave.h5", "*.restart", "*RESTART.wfn", "*RESTART.kp", "*.gbw", "*.save", "*.chk",
    "*.gpw", "*checkpoint*",
)  # fmt: skip
"""Files from which the codes restart: VASP, CP2K, ORCA, pw.x (a folder), Gaussian and PySCF, GPAW."""


class Text(NamedTuple):
    """The end of a file, or all of it."""

    name: str
    content: bytes
    whole: bool
    """Whether it begins where the file begins."""

    def line(self, offset: int) -> int:
        """Number of the line at `offset` from 1, or, where the beginning was not read, from the end: the last is -1."""
        if self.whole:
            return self.content.count(b"\n", 0, offset) + 1
        return -(self.content.count(b"\n", offset) + (not self.content.endswith(b"\n")))


class Entry(NamedTuple):
    """A file or folder of a run's folder."""

    name: str
    size: int
    changed: float
    """Time of its last change [s]."""
    is_folder: bool


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run on disk."""

    path: Path
    entries: dict[str, Entry]
    """By name; links and special files are not among them."""

    @classmethod
    def at(cls, path: Path) -> RunFolder:
        """What a folder holds; nothing where it cannot be read."""
        entries = {}
        with contextlib.suppress(OSError), os.scandir(path) as found:
            for one in islice(found, ENTRIES):
                entry = _entry(one)
                if entry is not None:
                    entries[entry.name] = entry
        return cls(path, entries)

    def changed(self, names: Iterable[str] | None = None) -> float | None:
        """Time of the last change of the files `names`, of all by default [s]; None where none is there."""
        chosen = self.entries if names is None else [name for name in names if name in self.entries]
        return max((self.entries[name].changed for name in chosen), default=None)

    def logs(self, own: Collection[str], stem: str = "") -> Iterator[Text]:
        """The newest log of each kind that is not older than the run's output.

        Args:
            own: names of the run's own files, which are no logs.
            stem: where runs share the folder, logs must begin with it to be this run's.
        """
        written = self.changed(own)
        found = [
            one
            for one in self.entries.values()
            if not one.is_folder and one.name not in own and one.name.startswith(stem)
            if written is None or one.changed > written - EARLIER
        ]
        newest = {}
        for kind in LOGS:
            alike = [one for one in found if fnmatchcase(one.name.removesuffix(".gz"), kind)]
            if alike:
                latest = max(alike, key=lambda one: (one.changed, _natural(one.name)))
                newest[latest.name] = latest
        for name in newest:
            text = self.end_of(name)
            if text is not None:
                yield text

    def end_of(self, name: str) -> Text | None:
        """The end of a file; None where it is not there or cannot be read."""
        if name not in self.entries or self.entries[name].is_folder:
            return None
        try:
            with self._open(name) as file:
                if name.endswith(".gz"):
                    return _inflated(name, file)
                size = os.fstat(file.fileno()).st_size
                whole = size <= 2 * PIECE
                file.seek(0 if whole else size - PIECE)
                return Text(name, file.read(2 * PIECE), whole)
        except OSError:
            return None

    def head_of(self, name: str) -> bytes:
        """The first piece of a file; empty where it is not there."""
        try:
            with self._open(name) as file:
                return gzip.GzipFile(fileobj=file).read(PIECE) if name.endswith(".gz") else file.read(PIECE)
        except (OSError, EOFError, zlib.error):
            return b""

    def restarts(self) -> tuple[str, ...]:
        """Files to restart from. VASP leaves an empty CONTCAR when it is killed in its first step: that is none."""
        return tuple(
            name
            for kind in RESTARTS
            for name, one in sorted(self.entries.items())
            if fnmatchcase(name, kind) and (one.is_folder or one.size)
        )

    def corrections(self) -> tuple[Text, list[tuple[str, str]]] | None:
        """The journal of custodian and its corrections, as handler and error; None where there is none that can be read."""
        for name in ("custodian.json", "custodian.json.gz"):
            text = self.end_of(name)
            if text is not None and text.whole:
                return text, _corrections(text.content)
        return None

    def _open(self, name: str) -> BinaryIO:
        """A regular file; a link or a pipe that took its place meanwhile is refused."""
        number = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise OSError("no regular file")
        return os.fdopen(number, "rb")


def _entry(one: os.DirEntry[str]) -> Entry | None:
    """A regular file or a folder; None for links and special files, and for what vanished."""
    try:
        found = one.stat(follow_symlinks=False)
    except OSError:
        return None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return None
    return Entry(one.name, found.st_size, found.st_mtime, stat.S_ISDIR(found.st_mode))


def _inflated(name: str, file: BinaryIO) -> Text:
    """The end of what a compressed file holds, as far as it is whole and not past the bound."""
    unpacked = gzip.GzipFile(fileobj=file)
    content, seen = b"", 0
    with contextlib.suppress(OSError, EOFError, zlib.error):
        while seen < INFLATED and (piece := unpacked.read(PIECE)):
            seen += len(piece)
            content = (content + piece)[-2 * PIECE :]
    return Text(name, content, seen <= 2 * PIECE)


def _corrections(content: bytes) -> list[tuple[str, str]]:
    try:
        runs = json.loads(content)
    except (ValueError, RecursionError):
        return []
    return [
        (_handler(one.get("handler")), str(error))
        for run in _dicts(runs)
        for one in _dicts(run.get("corrections"))
        for error in _list(one.get("errors"))
    ]


def _handler(handler: object) -> str:
    """Name of a handler, which newer versions write as an object."""
    return str(handler.get("@class", "")) if isinstance(handler, dict) else str(handler or "")


def _dicts(values: object) -> list[dict[str, Any]]:
    return [one for one in _list(values) if isinstance(one, dict)]


def _list(values: object) -> list[Any]:
    return values if isinstance(values, list) else []


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts slurm-99.out before slurm-100.out."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]{1,18})", name)]
