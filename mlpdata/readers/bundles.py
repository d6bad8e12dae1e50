"""Bundles: members of an archive that belong together, given whole in one passage.

A member keeps its bytes in memory or in a nameless file, never in one that has a name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from mlpdata.errors import InputError
from mlpdata.readers.archive import IN_MEMORY, LIMITS, Limits
from mlpdata.readers.members import Entry, Through
from mlpdata.readers.passage import Part
from mlpdata.readers.place import Member, Nameless, Region

K = TypeVar("K", bound=Hashable)
PER_FILE = 256 << 20
"""A nameless file takes members up to this size [bytes]; then there is a new one, and the old one goes with its members."""


def fetch(
    archive: Path, bundles: Mapping[K, Sequence[Entry[Any]]], limits: Limits = LIMITS
) -> Iterator[tuple[K, tuple[Member, ...]]]:
    """The members of bundles, such as the files of one run with their companions, in one passage.

    A bundle comes as soon as the last of its members has passed: in the order of the archive. Each comes once; a member
    that cannot be had says so when it is opened. Members that wait for others are held in memory up to 64 MiB, beyond
    that in nameless files.

    Args:
        archive: the file.
        bundles: the entries of each bundle, of this version of the archive.
        limits: bounds of size.

    Yields:
        The key of a bundle and its members in the order of its entries, each with the others around it.
    """
    waiting = _Waiting(archive, bundles)
    yield from waiting.complete(bundles)
    through = Through(archive, limits)
    try:
        for part in through if waiting.missing else ():
            if part.number in waiting.keys:
                yield from waiting.complete(waiting.arrived(part))
                if not waiting.missing:
                    return
        fault = through.ended.fault or "expected it in the archive, found it gone."
    except InputError as error:
        fault = error.message
    for key in list(waiting.missing):
        yield key, waiting.members(key, f"The archive cannot be read so far: {fault}")


class _Waiting(Generic[K]):
    """Bundles that are not complete, and the members that wait for them."""

    def __init__(self, archive: Path, bundles: Mapping[K, Sequence[Entry[Any]]]) -> None:
        self._archive, self._bundles = archive, bundles
        self.missing = {key: {entry.number for entry in entries} for key, entries in bundles.items()}
        """Numbers of members that have not passed, by bundle."""
        self.keys: dict[int, set[K]] = defaultdict(set)
        """Bundles that ask for a member and are not given yet."""
        for key, numbers in self.missing.items():
            for number in numbers:
                self.keys[number].add(key)
        self._held: dict[int, Member] = {}
        self._room = _Room()

    def arrived(self, part: Part) -> Iterable[K]:
        """Hold a member; the bundles that asked for it."""
        content = self._room.take(part)
        self._held[part.number] = Member(self._archive, part.name, content, part.cut, part.fault)
        for key in self.keys[part.number]:
            self.missing[key].discard(part.number)
        return tuple(self.keys[part.number])

    def complete(self, keys: Iterable[K]) -> Iterator[tuple[K, tuple[Member, ...]]]:
        """Those of some bundles that miss nothing any more; what nobody else waits for is let go."""
        for key in keys:
            if not self.missing.get(key, True):
                del self.missing[key]
                yield key, self.members(key)
                self._let_go(key)

    def members(self, key: K, fault: str = "") -> tuple[Member, ...]:
        """The members of a bundle, with `fault` those that did not come."""
        alone = [self._member(entry, fault) for entry in self._bundles[key]]
        return tuple(replace(one, around=tuple(alone[:i] + alone[i + 1 :])) for i, one in enumerate(alone))

    def _member(self, entry: Entry[Any], fault: str) -> Member:
        held = self._held.get(entry.number)
        if held is None:
            return Member(self._archive, entry.path, b"", fault=fault)
        changed = "expected it as it was, found that the archive has changed. Run the command again."
        fault = held.fault or ("" if len(held.content) == entry.size else changed)
        return replace(held, path=entry.path, fault=fault)

    def _let_go(self, key: K) -> None:
        for number in {entry.number for entry in self._bundles[key]}:
            self.keys[number].discard(key)
            if not self.keys[number]:
                del self.keys[number]
                self._room.free(self._held.pop(number).content)


class _Room:
    """Keeps members in memory while there is room, else in nameless files."""

    def __init__(self) -> None:
        self._in_memory = 0
        self._file: Nameless | None = None

    def take(self, part: Part) -> bytes | Region:
        """The bytes of a member."""
        if self._in_memory + part.size > IN_MEMORY:
            if self._file is None or self._file.size > PER_FILE:
                self._file = Nameless()
            return self._file.add(part.pieces())
        content = b"".join(part.pieces())
        self._in_memory += len(content)
        return content

    def free(self, content: bytes | Region) -> None:
        """Make room again; a file goes with the last member in it."""
        if isinstance(content, bytes):
            self._in_memory -= len(content)
