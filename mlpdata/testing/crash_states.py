"""What a disk may hold after a power cut, worked out from a record of what was written, renamed and synced.

::

    record = recorded_folder(folder, lambda: ingest(folder / "store"))
    for state in record.crash_states(record.end):
        write_tree(state, elsewhere)
        assert verify(elsewhere / "store").ok

A sync of a file makes its bytes durable, a sync of a folder the names in it, nothing else makes anything durable.
Whatever was not synced may be there or not, each name and each file for itself: more than ext4, XFS or btrfs would
lose, and all that POSIX lets them lose. So a sync that is left out shows, whatever file system the test runs on.

References:
    T. S. Pillai et al., All File Systems Are Not Created Equal, OSDI 2014.
"""

from __future__ import annotations

import marshal
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from random import Random
from typing import NamedTuple

from mlpdata.testing.faults import hooked

Node = bytes | dict[str, int]
"""A file's bytes, or the inode numbers of the names in a folder."""
State = dict[str, bytes | None]
"""Paths below the folder with their bytes; None for a folder."""
N_RANDOM = 4
"""Random states of each moment, beside those that are made on purpose."""


class Moment(NamedTuple):
    """The folder as a running program sees it, and the operation that comes next."""

    operation: str
    """Empty at the end."""
    path: str
    """What it is done to, from the folder."""
    synced: int
    """Inode that it syncs; 0 where it is no sync."""
    nodes: dict[int, Node]


class Name(NamedTuple):
    """A name in a folder that is not what it was when the folder was synced last."""

    folder: int
    name: str
    inode: int
    """0 where the name is gone."""


class Record:
    """All moments of an action, in the order of time.

    Args:
        root: inode of the folder.
        moments: the first is before the action, when everything is durable.
    """

    def __init__(self, root: int, moments: list[Moment]) -> None:
        self.root, self.moments = root, moments

    @property
    def end(self) -> int:
        """The last moment: the action is over."""
        return len(self.moments) - 1

    @property
    def syncs(self) -> list[int]:
        """The moments whose operation is a sync."""
        return [number for number, moment in enumerate(self.moments) if moment.synced]

    def crash_states(self, moment: int, part: str, left_out: Set[int] = frozenset()) -> Iterator[State]:
        """What may be there after a power cut at `moment`, the most telling states first.

        Args:
            moment: number of it.
            part: the name in the folder that counts: the rest is scratch, and what is lost of it says nothing.
            left_out: moments whose sync is taken to be missing.
        """
        disk, random = _Disk(self, moment, left_out), Random(moment)  # noqa: S311  states, not secrets
        names = disk.names
        yield disk.state([], _as_synced)
        for blank in (_empty, _zeros, _half, _whole):
            yield disk.state(names, blank)
        within = disk.folders_within(part)
        for one in [one for one in names if one.folder in within]:
            yield disk.state([one], _empty)
            yield disk.state([one], _whole)
            yield disk.state([other for other in names if other is not one], _whole)
        for _ in range(N_RANDOM):
            some = [one for one in names if random.random() < 0.5]
            yield disk.state(some, _any(random))


Blank = Callable[[bytes, bytes], bytes]
"""What is left of a file, from its bytes when it was synced and those when the power went."""


def _as_synced(old: bytes, _: bytes) -> bytes:
    return old


def _whole(_: bytes, new: bytes) -> bytes:
    return new


def _empty(old: bytes, _: bytes) -> bytes:
    return old[:0]


def _zeros(_: bytes, new: bytes) -> bytes:
    return bytes(len(new))


def _half(_: bytes, new: bytes) -> bytes:
    return new[: len(new) // 2]


def _any(random: Random) -> Blank:
    """For each file another."""

    def left(old: bytes, new: bytes) -> bytes:
        return random.choice(_BLANKS)(old, new)

    return left


_BLANKS: tuple[Blank, ...] = (_as_synced, _whole, _empty, _zeros, _half)


class _Disk:
    """What is durable at a moment, and what may be there besides."""

    def __init__(self, record: Record, moment: int, left_out: Set[int]) -> None:
        self.root = record.root
        self.durable: dict[int, Node] = dict(record.moments[0].nodes)
        self.seen: dict[int, Node] = {}
        for number, (_, _, synced, nodes) in enumerate(record.moments[: moment + 1]):
            self.seen.update(nodes)
            if synced and number < moment and number not in left_out:
                self.durable[synced] = nodes[synced]

    @property
    def names(self) -> list[Name]:
        """The names that are not durable, or gone and not durably so."""
        changed = []
        for inode, node in self.seen.items():
            if isinstance(node, dict):
                before = self._folder(inode)
                changed += [
                    Name(inode, name, node.get(name, 0))
                    for name in sorted(before.keys() | node.keys())
                    if before.get(name, 0) != node.get(name, 0)
                ]
        return changed

    def folders_within(self, part: str) -> set[int]:
        """Folders below `part`, as they were synced or as a running program sees them; and the one that holds it."""
        found: set[int] = set()
        waiting = [self.root]
        while waiting:
            inode = waiting.pop()
            found.add(inode)
            now = self.seen.get(inode)
            for node in (self._folder(inode), now if isinstance(now, dict) else {}):
                below = ((name, child) for name, child in node.items() if inode != self.root or name == part)
                waiting += [
                    child for _, child in below if child not in found and isinstance(self.seen.get(child), dict)
                ]
        return found

    def state(self, names: list[Name], blank: Blank) -> State:
        """The tree with these of the names, and what is left of files as `blank` says."""
        later: dict[int, dict[str, int]] = {}
        for folder, name, inode in names:
            later.setdefault(folder, {})[name] = inode
        return dict(self._below("", self.root, later, blank))

    def _below(
        self, path: str, inode: int, later: Mapping[int, Mapping[str, int]], blank: Blank
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, child in {**self._folder(inode), **later.get(inode, {})}.items():
            place, node = f"{path}{name}", self.seen.get(child)
            if isinstance(node, dict):
                yield place, None
                yield from self._below(f"{place}/", child, later, blank)
            elif node is not None:
                yield place, self._left_of(child, node, blank)

    def _folder(self, inode: int) -> dict[str, int]:
        node = self.durable.get(inode, {})
        return node if isinstance(node, dict) else {}

    def _left_of(self, inode: int, node: bytes, blank: Blank) -> bytes:
        synced = self.durable.get(inode, b"")
        old = synced if isinstance(synced, bytes) else b""
        return node if node == old and inode in self.durable else blank(old, node)


def recorded_folder(folder: Path, action: Callable[[], object], before: Record | None = None) -> Record:
    """The moments of `action` in what lies below `folder`, on a file system that gives no inode number twice: tmpfs.

    Args:
        folder: everything in it counts as durable at first.
        action: carried out.
        before: of an attempt that was killed: what that did not sync is not durable now either.
    """
    moments = _Moments(folder)
    with hooked(moments.add):
        action()
    moments.add("", folder)
    return Record(folder.stat().st_ino, [*(before.moments if before else ()), *moments.list])


def recorded_until_killed(folder: Path, action: Callable[[], object], nth: int) -> Record:
    """The moments of `action` in a forked process that ends before its `nth` durable operation, as if it were killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _record_and_die(_Moments(folder), action, nth, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        moments = marshal.loads(pipe.read())  # noqa: S302  written by our own fork
    os.waitpid(child, 0)
    return Record(folder.stat().st_ino, [Moment(*moment) for moment in moments])


def _record_and_die(moments: _Moments, action: Callable[[], object], nth: int, writing: int) -> None:
    """In the child: never returns."""

    def hook(name: str, path: Path) -> None:
        ends = len(moments.list) + 1 == nth
        moments.add("" if ends else name, path)
        if ends:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(marshal.dumps([tuple(moment) for moment in moments.list]))
            os._exit(0)

    try:
        with hooked(hook):
            action()
    finally:
        os._exit(1)


class _Moments:
    """Grows by one moment at each durable operation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.list: list[Moment] = []
        self._read: dict[int, tuple[tuple[int, int], bytes]] = {}
        """Bytes of files by inode, with the size and the time at which they had them."""
        self._written = folder

    def add(self, name: str, path: Path) -> None:
        if self._written.is_file():
            self._read.pop(self._written.stat().st_ino, None)
        nodes = dict(self._nodes(os.fspath(self.folder)))
        synced = path.stat().st_ino if name == "fsync" else 0
        self.list.append(Moment(name, os.path.relpath(path, self.folder), synced if synced in nodes else 0, nodes))
        self._written = path

    def _nodes(self, folder: str) -> Iterator[tuple[int, Node]]:
        names = {}
        for entry in os.scandir(folder):
            names[entry.name] = inode = entry.inode()
            if entry.is_dir(follow_symlinks=False):
                yield from self._nodes(entry.path)
            else:
                yield inode, self._content(inode, entry)
        yield Path(folder).stat().st_ino, names

    def _content(self, inode: int, entry: os.DirEntry[str]) -> bytes:
        stat = entry.stat(follow_symlinks=False)
        state = stat.st_size, stat.st_mtime_ns
        if inode not in self._read or self._read[inode][0] != state:
            self._read[inode] = state, Path(entry.path).read_bytes()
        return self._read[inode][1]


def write_tree(state: State, folder: Path) -> None:
    """Make a state the only thing in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, content in state.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
