"""Places: where a file lies, in a folder or in an archive, and which files beside it belong to its run.

A reader says by names alone what belongs to a run, from the name and the first 64 KiB of an output. So the rule can be
kept while the files beside the output come and go, and be asked of an archive whose names are not all known yet.
"""

from __future__ import annotations

import mmap
import os
import re
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar, final

COMPRESSED = r"(?:\.(?:gz|bz2|xz|zst))?"
"""End of a pattern of names that a compression may decorate."""
ABOVE = "../"
"""Begins a name in the folder above."""


class Nameless:
    """A file without a name, which grows and is gone with the last that refers to it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed below
        weakref.finalize(self, self._file.close)
        self.size = 0
        """[bytes]"""

    def add(self, pieces: Iterable[bytes]) -> bytes | Region:
        """Write further bytes."""
        start = self._file.seek(self.size + -self.size % mmap.ALLOCATIONGRANULARITY)
        self.size = start
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
            self.size += len(piece)
        return Region(self, start, self.size - start) if self.size > start else b""

    def fileno(self) -> int:
        """The descriptor."""
        return self._file.fileno()


@dataclass(frozen=True)
class Region:
    """Bytes in a nameless file; sent to another process they are plain bytes."""

    file: Nameless
    offset: int
    """A multiple of the page size, from which the file can be mapped."""
    size: int
    """At least 1."""

    def mapped(self) -> mmap.mmap:
        """The bytes as a mapping, which also reads and seeks like a file."""
        return mmap.mmap(self.file.fileno(), self.size, access=mmap.ACCESS_READ, offset=self.offset)

    def __len__(self) -> int:
        return self.size

    def __reduce__(self) -> tuple[Any, ...]:
        with self.mapped() as mapped:
            return bytes, (mapped[:],)


@final
@dataclass(frozen=True)
class Member:
    """A file in an archive with its bytes; it stands where a Path stands for a file on disk, in any process."""

    archive: Path
    path: str
    """In the archive, `/` between parts, none of them `..`. Never a path on disk. Empty for the archive itself."""
    content: bytes | Region = field(repr=False, compare=False)
    """The bytes as the archive holds them, or their beginning, where only that was asked for."""
    cut: bool = field(default=False, compare=False)
    """Whether the archive ends within it; `content` is what there is."""
    fault: str = field(default="", compare=False)
    """Why it cannot be read: to open it raises an InputError that says so."""
    around: tuple[Member, ...] = field(default=(), repr=False, compare=False)
    """The members that travel with it, among them its companions; these have nothing around them."""

    def __str__(self) -> str:
        return f"{self.archive}!{self.path}" if self.path else str(self.archive)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


Place = Path | Member
P = TypeVar("P", Path, Member, Path | Member)


def folder_name(place: Place) -> str:
    """Name of the folder that a file is in; empty at the top of an archive."""
    if isinstance(place, Path):
        return place.absolute().parent.name
    return PurePosixPath(place.path).parent.name


class Belonging(NamedTuple):
    """Which files beside an output hold a part of its run and are no outputs of their own, told by their names."""

    names: tuple[str, ...] = ()
    """Whole names; `../` begins one in the folder above."""
    pattern: str = ""
    """Regular expression of further whole names in the same folder. Empty: none."""
    anchor: str = ""
    """Regular expression whose first group is the stem of a name; empty: stems do not matter. Where the names that match
    it have more than one stem, it cannot be told whose files these are: none that matches `pattern` belongs. Else
    those whose first group is that stem."""

    def __bool__(self) -> bool:
        return bool(self.names or self.pattern)

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that belong, sorted."""
        names = set(names)
        return sorted({*names.intersection(self.names), *self._matching(names)})

    def _matching(self, names: Iterable[str]) -> Iterator[str]:
        if not self.pattern:
            return
        matches = [found for name in names if (found := re.fullmatch(self.pattern, name))]
        if not self.anchor:
            yield from (found[0] for found in matches)
            return
        stems = {found[1] for name in names if (found := re.fullmatch(self.anchor, name))}
        yield from (found[0] for found in matches if stems == {found[1]})


def beside(place: P, belonging: Belonging) -> tuple[P, ...]:
    """The files beside `place` that belong to its run, in order of name; empty files are as good as none."""
    if isinstance(place, Path):
        return _on_disk(place, belonging)
    around = dict(_near(place))
    return tuple(around[name] for name in belonging.among(around))


def _on_disk(place: Path, belonging: Belonging) -> tuple[Path, ...]:
    names = set(belonging.names)
    with suppress(OSError):
        if belonging.pattern:
            names.update(os.listdir(place.parent))  # noqa: PTH208  names only
    return tuple(path for name in belonging.among(names) if _holds_bytes(path := _named(place, name)))


def _named(place: Path, name: str) -> Path:
    if name.startswith(ABOVE):
        return place.absolute().parent.parent / name.removeprefix(ABOVE)
    return place.with_name(name)


def _holds_bytes(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _near(place: Member) -> Iterator[tuple[str, Member]]:
    """The members in the folder of `place` and in the one above, by their names from there; empty ones left out."""
    folder = PurePosixPath(place.path).parent
    for other in place.around:
        holder = PurePosixPath(other.path).parent
        if len(other.content) or other.fault:
            if holder == folder:
                yield other.name, other
            elif holder == folder.parent:
                yield ABOVE + other.name, other
