"""Tree: walk a tree of folders, one folder at a time; what is passed over is named with its reason.

A file is read once, whatever links lead to it. Links to folders are followed only where that is asked, and then once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlpdata.errors import InputError, Unavailable
from mlpdata.ignored import IGNORE, Ignore
from mlpdata.layouts import not_entered, of_a_store, passed_over
from mlpdata.schema.sidecar import SIDECAR

Unreadable = Callable[[Path, InputError], None]
"""Called with a folder that cannot be read, and why."""


class Entry(NamedTuple):
    """A file of a folder. Where size, time and inode are what they were, so is the content."""

    name: str
    size: int
    mtime_ns: int
    inode: int
    device: int
    is_link: bool = False
    """Whether it is a symbolic link: the rest is of the file that it leads to."""


class PassedOver(NamedTuple):
    """A file or folder that is not read, and why."""

    name: str
    """Root-relative."""
    reason: str


@dataclass
class Folder:
    """One folder and what lies in it."""

    path: Path
    name: str
    """Root-relative; empty for the root itself."""
    entries: list[Entry] = field(default_factory=list)
    """Files in order of name, without hidden ones and those passed over."""
    passed_over: list[PassedOver] = field(default_factory=list)

    def named(self, name: str) -> str:
        """Root-relative name of what is called `name` in here."""
        return f"{self.name}/{name}" if self.name else name


def folders(
    root: Path, name: str = "", *, follow_links: bool = False, unreadable: Unreadable | None = None
) -> Iterator[Folder]:
    """The folders at and below `root` in order of name, each once.

    Args:
        root: the folder to begin with.
        name: what names begin with.
        follow_links: whether links to folders are followed; each folder is visited once all the same.
        unreadable: called with what cannot be read; by default that is raised.

    Raises:
        InputError: a folder that cannot be read, where `unreadable` is not given.
        UsageError: a file of patterns that cannot be understood.
    """
    walk = _Walk(follow_links, unreadable or _raise)
    yield from walk.below(root, name, Ignore())


def not_readable(error: OSError) -> Unavailable:
    """What to say of a file or folder that the system does not give out."""
    return Unavailable(f"expected to read it, found: {error.strerror}. Check its permissions and the disk.")


def _raise(path: Path, error: InputError) -> None:
    raise error.at(path)


class _Walk:
    """One walk, which remembers where it was."""

    def __init__(self, follow_links: bool, unreadable: Unreadable) -> None:
        self.follow_links, self.unreadable = follow_links, unreadable
        self._visited: set[tuple[int, int]] = set()

    def below(self, path: Path, name: str, above: Ignore) -> Iterator[Folder]:
        """`path` and the folders below it, depth first without recursion: trees may be deep."""
        waiting = [(path, name, above)]
        while waiting:
            here, named, inherited = waiting.pop()
            folder, ignore, subfolders = self._read(here, named, inherited)
            if folder is None:
                continue
            yield folder
            waiting += [(here / one, folder.named(one), ignore) for one in reversed(subfolders)]

    def _read(self, path: Path, name: str, above: Ignore) -> tuple[Folder | None, Ignore, list[str]]:
        """A folder, its patterns, and the names of its subfolders; no folder where it cannot be read or was read."""
        try:
            state = path.stat()
            with os.scandir(path) as listing:
                found = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable(path, not_readable(error))
            return None, above, []
        if (state.st_dev, state.st_ino) in self._visited:
            return None, above, []
        self._visited.add((state.st_dev, state.st_ino))
        names = {entry.name for entry in found}
        if reason := of_a_store(names):
            return Folder(path, name, passed_over=[PassedOver(name or ".", reason)]), above, []
        ignore = (Ignore.read(path) if IGNORE in names else Ignore(path.name)).over(above)
        folder, subfolders = Folder(path, name), list[str]()
        for entry in found:
            if entry.name.startswith(".") or entry.name == SIDECAR:
                continue
            reason = self._reason(entry, ignore, names)
            if reason:
                folder.passed_over.append(PassedOver(folder.named(entry.name), reason))
            elif _is_folder(entry):
                subfolders.append(entry.name)
            else:
                folder.entries.append(_entry(entry))
        return folder, ignore, subfolders

    def _reason(self, entry: os.DirEntry[str], ignore: Ignore, names: set[str]) -> str | None:
        """Why a file or folder is passed over."""
        is_folder = _is_folder(entry)
        if reason := ignore.reason(entry.name, is_folder=is_folder):
            return reason
        if not is_folder:
            return passed_over(entry.name, names)
        if reason := not_entered(entry.name, names):
            return reason
        if entry.is_symlink() and not self.follow_links:
            return "a link to a folder; name it itself, or use --follow-links"
        return None


def _is_folder(found: os.DirEntry[str]) -> bool:
    """Whether it is a folder; links that run in a circle are none."""
    try:
        return found.is_dir()
    except OSError:
        return False


def _entry(found: os.DirEntry[str]) -> Entry:
    """A file of a listing."""
    try:
        return _described(found.name, found.stat(), found.is_symlink())
    except OSError:
        return Entry(found.name, -1, -1, -1, -1)


def entry_of(path: Path) -> Entry:
    """A file as the system describes it; what cannot be described shows when it is opened."""
    try:
        return _described(path.name, path.stat(), path.is_symlink())
    except OSError:
        return Entry(path.name, -1, -1, -1, -1)


def _described(name: str, state: os.stat_result, is_link: bool) -> Entry:
    return Entry(name, state.st_size, state.st_mtime_ns, state.st_ino, state.st_dev, is_link)
