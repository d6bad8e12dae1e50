"""Search: the files below some paths, in folders and in archives, with what is known of each; each comes once."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlpdata.errors import InputError, NotRecognised, UsageError
from mlpdata.layouts import not_entered, origin, passed_over
from mlpdata.reaction_paths import Image, ImagesInArchive
from mlpdata.readers.members import Entry, Index, is_archive
from mlpdata.readers.place import Member, Place, beside
from mlpdata.readers.registry import recognise_file
from mlpdata.scan import Cache, Seen, look, members, seen, sha256_of
from mlpdata.schema.sidecar import SIDECAR
from mlpdata.tree import Entry as FileEntry
from mlpdata.tree import Folder, PassedOver, entry_of, folders

IN_ARCHIVE = "sidecars count beside an archive, not in it"
"""Why the one in an archive says nothing."""


class Companion(NamedTuple):
    """A file that holds a part of a run and is no output of its own."""

    path: Place
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file, and what is known of it."""

    path: Place
    on_disk: str
    """Root-relative name of the file, or of the archive that it is in."""
    folder: Path
    """The folder of that."""
    top: Path
    """Sidecars count from here downwards."""
    tree: str
    """Name of the folder in which templates and maps begin."""
    entry: FileEntry
    """Of the file, or of the archive."""
    seen: Seen
    member: str = ""
    """Path in the archive."""
    companions: tuple[Companion, ...] = ()
    entries: tuple[Entry[Seen], ...] = ()
    """In an archive: where it and its companions are."""
    image: Image | None = None
    """In an archive: its place on a reaction path."""
    is_part: bool = False
    """Whether it is a companion of another file of its folder, or of its archive."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What the workflow tool that ran it says of it."""

    @property
    def name(self) -> str:
        """Root-relative name; a member of an archive follows `!`."""
        return f"{self.on_disk}!{self.member}" if self.member else self.on_disk

    @property
    def size(self) -> int:
        """Stored bytes."""
        return self.entries[0].size if self.entries else self.entry.size


class _Tree(NamedTuple):
    """What the files below one of the given paths share."""

    top: Path
    name: str
    cache: Cache
    passed_over: list[PassedOver]


def files_below(
    path: Path, root: Path, cache: Cache, follow_links: bool, passed_over: list[PassedOver]
) -> Iterator[Sighting]:
    """The files at or below `path`, folder by folder.

    Args:
        path: a folder, or a file that must be an output or an archive.
        root: names are relative to it.
        cache: what was found before.
        follow_links: whether links to folders are followed.
        passed_over: takes what is not looked into.

    Raises:
        UsageError: nothing is there.
    """
    if not path.exists():
        raise UsageError("expected a file or folder, found nothing there.", path=path)
    top, named_from = (root, root) if _inside(path, root) else _tops(path)
    name = _relative(path, named_from)
    if not path.is_dir():
        yield from _named(path, name, _Tree(top, "", cache, passed_over))
        return
    tree = _Tree(top, "" if name == "." else name, cache, passed_over)
    unreadable: list[tuple[Path, InputError]] = []
    for folder in folders(
        path, tree.name, follow_links=follow_links, unreadable=lambda *found: unreadable.append(found)
    ):
        passed_over += folder.passed_over
        yield from _in_folder(folder, tree)
    for place, error in unreadable:
        refused = Seen(error=(error.code, error.message))
        yield Sighting(place, _relative(place, named_from), place.parent, top, tree.name, entry_of(place), refused)


def _named(path: Path, name: str, tree: _Tree) -> Iterator[Sighting]:
    """A file that the user named, or what is in an archive."""
    entry = entry_of(path)
    if is_archive(path.name):
        yield from _in_archive(path, name, entry, tree)
        return
    known = look(path)
    if not known.reader and not known.error:
        try:
            recognise_file(path)
        except NotRecognised as error:
            known = Seen(error=(error.code, error.message))
    yield Sighting(path, name, path.parent, tree.top, tree.name, entry, known, companions=_beside(path, known, {}))


def _in_folder(folder: Folder, tree: _Tree) -> Iterator[Sighting]:
    around = seen(folder, tree.cache)
    tags = origin(folder.name.split("/"), around.keys(), {})
    for known in around.values():
        tags.update(known.tags)
    companions = {name: _beside(folder.path / name, one, around) for name, one in around.items() if one.belonging}
    parts = {one.path.name for some in companions.values() for one in some}
    for entry in folder.entries:
        path, name = folder.path / entry.name, folder.named(entry.name)
        if is_archive(entry.name):
            yield from _in_archive(path, name, entry, tree)
            continue
        yield Sighting(
            path, name, folder.path, tree.top, tree.name, entry, around[entry.name],
            companions=companions.get(entry.name, ()), is_part=entry.name in parts, tags=tags,
        )  # fmt: skip


def _in_archive(path: Path, name: str, entry: FileEntry, tree: _Tree) -> Iterator[Sighting]:
    """What an archive holds; one that cannot be read is an error of its own."""
    try:
        held = members(path, entry, tree.cache)
    except InputError as error:
        yield Sighting(path, name, path.parent, tree.top, tree.name, entry, Seen(error=(error.code, error.message)))
        return
    for left_out in held.passed_over:
        reason = passed_over(posixpath.basename(left_out.name), ()) or left_out.reason
        tree.passed_over.append(PassedOver(f"{name}!{left_out.name}", reason))
    if held.fault:
        fault = f"expected a whole archive, found: {held.fault} What comes before is read."
        yield Sighting(path, name, path.parent, tree.top, tree.name, entry, Seen(error=(InputError.code, fault)))
    shelves = _Shelves(name, held)
    for one in held.entries.values():
        if not one.symlink and shelves.holds(one.path):
            yield _member(path, name, entry, tree, one, shelves)
    tree.passed_over.extend(PassedOver(f"{name}!{one}", reason) for one, reason in shelves.passed_over.items())


class _Shelves:
    """The folders of an archive, and what a walk would say of them.

    Args:
        name: of the archive, root-relative.
        held: what it holds.
    """

    def __init__(self, name: str, held: Index[Seen]) -> None:
        self.held = held
        self.images = ImagesInArchive()
        self.parts: set[str] = set()
        """Paths of the files that are companions of others."""
        self.passed_over: dict[str, str] = {}
        """Files and folders that are not looked into, and why."""
        self._above = name.split("/")[:-1]
        self._marks: dict[str, dict[str, Mapping[str, str]]] = {}
        self._tags: dict[str, Mapping[str, str]] = {}
        self._closed: dict[str, bool] = {}
        for path, one in held.entries.items():
            known = one.seen or Seen()
            self.images.add(path, known.images)
            if known.tags:
                folder, file = posixpath.split(path)
                self._marks.setdefault(folder, {})[file] = known.tags
            if known.belonging:
                self.parts.update(held.companions(path, known.belonging))

    def holds(self, path: str) -> bool:
        """Whether a walk would look at a file; if it would not, the reason is kept."""
        folder, file = posixpath.split(path)
        if folder not in self._closed:
            self._closed[folder] = self._is_closed(folder)
        if self._closed[folder] or file.startswith("."):
            return False
        reason = IN_ARCHIVE if file == SIDECAR else passed_over(file, self.held.names_in(folder))
        if reason:
            self.passed_over[path] = reason
        return not reason

    def _is_closed(self, folder: str) -> bool:
        """Whether a walk would not enter a folder, or one above it."""
        parts = folder.split("/")
        for number, part in enumerate(parts):
            if part.startswith("."):
                return True
            if reason := not_entered(part, self.held.names_in("/".join(parts[:number]))):
                self.passed_over["/".join(parts[: number + 1])] = reason
                return True
        return False

    def tags(self, path: str) -> Mapping[str, str]:
        """What the workflow tool that ran a file says of it."""
        folder = posixpath.dirname(path)
        if folder not in self._tags:
            tags = origin([*self._above, *folder.split("/")], self.held.names_in(folder), {})
            for _, one in sorted(self._marks.get(folder, {}).items()):
                tags.update(one)
            self._tags[folder] = tags
        return self._tags[folder]


def _member(archive: Path, name: str, entry: FileEntry, tree: _Tree, one: Entry[Seen], shelves: _Shelves) -> Sighting:
    """A file in an archive."""
    entries = shelves.held.entries
    known = Seen(error=(InputError.code, one.fault)) if one.fault or one.seen is None else one.seen
    needed = [entries[path] for path in shelves.held.companions(one.path, known.belonging)] if known.belonging else []
    return Sighting(
        Member(archive, one.path, b""),
        name,
        archive.parent,
        tree.top,
        tree.name,
        entry,
        known._replace(sha256=one.sha256),
        one.path,
        tuple(Companion(Member(archive, other.path, b""), other.sha256, other.size) for other in needed),
        (one, *needed),
        shelves.images.of(one.path),
        one.path in shelves.parts,
        shelves.tags(one.path),
    )


def _beside(path: Path, known: Seen, around: Mapping[str, Seen]) -> tuple[Companion, ...]:
    """The companions of a file on disk."""
    return tuple(
        Companion(one, _digest(one, path.parent, around), entry_of(one).size) for one in beside(path, known.belonging)
    )


def _digest(companion: Path, folder: Path, around: Mapping[str, Seen]) -> str:
    """Digest of a file beside another, from memory where it is there."""
    known = around.get(companion.name) if companion.parent == folder else None
    return (known.sha256 if known else "") or sha256_of(companion)


class Once:
    """Tells which files were met before, by another of the given paths or by a link.

    Args:
        several: whether several paths are searched; in one tree no folder is met twice.
    """

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._met: set[tuple[str, str, str]] = set()
        self._inodes: set[tuple[int, int, str]] = set()
        self._links: list[Sighting] = []

    def is_new(self, file: Sighting) -> bool:
        """Whether a file is to be taken now; links wait until it is known whether their file is there itself."""
        if self._several:
            place = (os.path.realpath(file.folder), file.entry.name, file.member)
            if place in self._met:
                return False
            self._met.add(place)
        if file.entry.is_link:
            self._links.append(file)
            return False
        self._inodes.add((file.entry.device, file.entry.inode, file.member))
        return True

    def links(self) -> Iterator[Sighting]:
        """Links to files that were not met themselves, one for each."""
        for file in self._links:
            inode = (file.entry.device, file.entry.inode, file.member)
            if inode not in self._inodes or file.entry.inode < 0:
                self._inodes.add(inode)
                yield file


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _tops(path: Path) -> tuple[Path, Path]:
    """For a path outside the project: the folder where sidecars begin, and the one that names are relative to.

    Names begin with the folder that was named, or that the file is in, so that runs of several folders are told
    apart; home folders keep their names to themselves.
    """
    folder = absolute(path if path.is_dir() else path.parent)
    return folder, folder if folder == Path.home() else folder.parent


def _relative(file: Path, top: Path) -> str:
    """Name of `file` below `top`, the same on every machine, whichever way leads to it."""
    for path, above in ((absolute(file), absolute(top)), (Path(os.path.realpath(file)), top.resolve())):
        if path.is_relative_to(above):
            return path.relative_to(above).as_posix()
    return file.name


def absolute(path: Path) -> Path:
    """`path` from the root, without `..`; links are kept, since they are names that the user chose."""
    return Path(os.path.abspath(path))  # noqa: PTH100  Path.absolute keeps ..
