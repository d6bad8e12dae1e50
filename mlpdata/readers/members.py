"""Members: what an archive holds, told in one passage from its beginning to its end.

`bundles.fetch` gives their bytes in a second one. No path of an archive is ever used on a disk.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from mlpdata.errors import InputError
from mlpdata.readers.archive import HEAD, LIMITS, Limits, open_stored
from mlpdata.readers.codecs import codec_by
from mlpdata.readers.passage import Ended, Meter, Part
from mlpdata.readers.place import Belonging, Member
from mlpdata.readers.tar import tar_parts
from mlpdata.readers.zip import zip_parts

T = TypeVar("T")

_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
LONG_HEAD = 1 << 20
"""Stored bytes of a compressed member that give its first 64 KiB: a block of bzip2 gives nothing before it is whole. What
workflow tools write of a job is JSON of no more bytes, which says nothing unless it is whole."""

LONGEST_PATH = 4096
"""Longest path that systems take [characters]."""


def is_archive(name: str) -> bool:
    """Whether a file is an archive by its name."""
    return name.lower().endswith(_ENDINGS)


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A file of an archive, without its bytes."""

    path: str
    """In the archive, `/` between parts, none of them empty, `.` or `..`."""
    number: int
    """Where its bytes are; holds for this version of the archive."""
    size: int
    """[bytes]"""
    mtime: float
    """As the archive states it [s]; a zip keeps no time zone."""
    sha256: str
    """Of the bytes as the archive holds them: of the same file in a folder it is the same."""
    seen: T | None
    """What `look` made of its first bytes; None where they cannot be read."""
    cut: bool = False
    """Whether the archive ends within it."""
    fault: str = ""
    """Why it cannot be read."""
    symlink: bool = False
    """Whether it is another name, by a symbolic link, of a file that has its own entry: read once."""


class PassedOver(NamedTuple):
    """A member that is not read."""

    name: str
    """As the archive has it."""
    reason: str


@dataclass(frozen=True)
class Index(Generic[T]):
    """What an archive holds."""

    entries: Mapping[str, Entry[T]]
    """By path, in the order of the archive."""
    passed_over: tuple[PassedOver, ...] = ()
    fault: str = ""
    """What keeps the archive from being whole; the entries are what came before. Empty where it is whole."""

    def companions(self, path: str, belonging: Belonging) -> list[str]:
        """Paths of the files beside `path` that belong to its run; empty files are as good as none."""
        folder = posixpath.dirname(path)
        names = {*belonging.names, *(self.names_in(folder) if belonging.pattern else ())}
        paths = (posixpath.normpath(posixpath.join(folder, name)) for name in belonging.among(names))
        return [one for one in paths if one in self.entries and self.entries[one].size]

    def names_in(self, folder: str) -> Collection[str]:
        """Names of the files in a folder, and of its folders that hold files; the empty path is the top."""
        return self._folders.get(folder, ())

    @functools.cached_property
    def _folders(self) -> Mapping[str, Collection[str]]:
        """Names of files, and of folders that hold files, by the folder that they are in."""
        names: dict[str, dict[str, None]] = defaultdict(dict)
        for path in self.entries:
            folder, name = posixpath.split(path)
            names[folder][name] = None
        for path in filter(None, list(names)):
            folder, name = posixpath.split(path)
            names[folder][name] = None
        return names


def index(archive: Path, look: Callable[[Member], T], limits: Limits = LIMITS) -> Index[T]:
    """What an archive holds, in one passage; a second one only where a hard link has another name than its file.

    Args:
        archive: the file.
        look: called with the first bytes of each file, as a Member that `open_head` and `recognise_file` take. Must look
            at the name and the bytes only: what lies beside is not known yet.
        limits: bounds of size.

    Raises:
        InputError: no archive, not readable, or a zip without its table of contents.
        LimitExceeded: larger than `limits` allows, stored or expanded, or with more members.
    """
    found = _Indexing(archive, look)
    through = Through(archive, limits)
    for part in through:
        found.take(part)
    if through.ended.doubtful:
        return Index({}, tuple(found.passed_over), through.ended.fault)
    found.follow_symbolic_links()
    found.look_again(limits)
    return Index(found.entries, tuple(found.passed_over), through.ended.fault)


@dataclass
class Through:
    """The members of an archive in order; how it ended is known after the last one.

    Args:
        archive: the file.
        limits: bounds of size.
    """

    archive: Path
    limits: Limits = LIMITS
    ended: Ended = field(default_factory=Ended)

    def __iter__(self) -> Iterator[Part]:
        with open_stored(self.archive, self.limits) as (raw, size):
            begin = raw.read(4)
            raw.seek(0)
            parts = zip_parts if begin in _ZIP else tar_parts
            self.ended = yield from parts(raw, Meter(self.archive, self.limits, size))


def _path(name: str) -> str:
    """The path of a member without empty parts and `.`.

    Raises:
        InputError: a name that leads out of the archive, or cannot be stored.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or ".." in parts or not parts:
        raise InputError("expected a path inside the archive, found one that leads out of it.")
    if len(name) > LONGEST_PATH:
        raise InputError(f"expected a path of at most {LONGEST_PATH} characters, found a longer one.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError("expected a name in UTF-8, found other bytes.") from None
    return "/".join(parts)


def _readable_path(part: Part) -> str:
    """The path of a member that is to be read.

    Raises:
        InputError: it is not.
    """
    path = _path(part.name)
    if part.kind == "device or pipe":
        raise InputError("expected a file, found a device or pipe.")
    if is_archive(path):
        raise InputError("expected outputs, found an archive inside the archive. Take it out to read it.")
    return path


class _Indexing(Generic[T]):
    """An index while it grows."""

    def __init__(self, archive: Path, look: Callable[[Member], T]) -> None:
        self._archive, self._look = archive, look
        self.entries: dict[str, Entry[T]] = {}
        self.passed_over: list[PassedOver] = []
        self._symbolic: dict[str, str] = {}
        """Path of what a symbolic link names, by its own."""
        self._renamed: dict[int, set[str]] = defaultdict(set)
        """Hard links with a name of their own, by the number of their file."""

    def take(self, part: Part) -> None:
        """Add a member, or say why it is passed over."""
        try:
            path = _readable_path(part)
            target = self._linked(part) if part.kind == "hard link" else None
        except InputError as error:
            self._pass_over(_shown(part.name), error.message)
            return
        if path in self.entries or path in self._symbolic:
            self._pass_over(path, "expected one file of this name, found a later one, which counts.")
            self.entries.pop(path, None)
            self._symbolic.pop(path, None)
        if part.kind == "symbolic link":
            self._symbolic[path] = posixpath.normpath(posixpath.join(posixpath.dirname(path), part.target))
        elif target is None:
            self.entries[path] = self._read(path, part)
        else:
            self.entries[path] = replace(target, path=path)
            if posixpath.basename(path) != posixpath.basename(target.path):
                self._renamed[target.number].add(path)

    def _pass_over(self, name: str, reason: str) -> None:
        self.passed_over.append(PassedOver(name, reason))

    def _read(self, path: str, part: Part) -> Entry[T]:
        digest, head, size = hashlib.sha256(), bytearray(), 0
        for piece in part.pieces():
            digest.update(piece)
            size += len(piece)
            _add_to_head(head, piece, path)
        seen = None if part.fault else self._look(Member(self._archive, path, bytes(head)))
        return Entry(path, part.number, size, part.mtime, digest.hexdigest(), seen, part.cut, part.fault)

    def _linked(self, part: Part) -> Entry[T]:
        """The file that a hard link names.

        Raises:
            InputError: the link leads out of the archive, or to nothing before it.
        """
        target = self.entries.get(_path(part.target))
        if target is None:
            raise InputError("expected a link to a file before it in the archive, found none there.")
        return target

    def follow_symbolic_links(self) -> None:
        """Add the files that symbolic links name; links are followed once."""
        files = dict(self.entries)
        for path, target in self._symbolic.items():
            if target in files:
                self.entries[path] = replace(files[target], path=path, symlink=True)
            else:
                self._pass_over(
                    path, "expected a link to a file in the archive, found one to a folder or to elsewhere."
                )

    def look_again(self, limits: Limits) -> None:
        """Look at files under the other names that hard links give them: readers ask for names, too."""
        for part in Through(self._archive, limits) if self._renamed else ():
            head = bytearray()
            paths = self._renamed.pop(part.number, set())
            for piece in part.pieces() if paths else ():
                _add_to_head(head, piece, *paths)
            for path in paths:
                entry = self.entries.get(path)
                if entry is not None and entry.number == part.number and not entry.fault:
                    seen = self._look(Member(self._archive, path, bytes(head)))
                    self.entries[path] = replace(entry, seen=seen)
            if not self._renamed:
                return


def _add_to_head(head: bytearray, piece: bytes, *paths: str) -> None:
    """Add what is still wanted of the first bytes of a file: more of it where it is compressed, or one JSON value."""
    wanted = LONG_HEAD if codec_by(head or piece) or any(path.endswith(".json") for path in paths) else HEAD
    head += piece[: max(0, wanted - len(head))]


def _shown(name: str) -> str:
    """A name that can be printed, whatever bytes it has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
