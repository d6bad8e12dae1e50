"""Readings: all that came out of one file, frame by frame, and how the reading of a damaged copy differs from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import MlpdataError
from mlpdata.frames import Frames, from_printed
from mlpdata.readers.archive import Input
from mlpdata.readers.place import beside
from mlpdata.readers.registry import Ending, Header, Printed, Reader, Undeclared, Unplaced
from mlpdata.schema.properties import ATOM, CONFIGURATION, PROPERTIES
from mlpdata.schema.sidecar import Declared

Row = dict[str, NDArray[Any]]
"""What is known of one frame, by property; absent ones are not there."""


@dataclass
class Run:
    """One run as a reader gave it."""

    header: Header
    blocks: list[Frames] = field(default_factory=list)
    ending: Ending | None = None

    @cached_property
    def rows(self) -> list[Row]:
        """Its frames, one by one."""
        return [row for block in self.blocks for row in _rows(block)]

    @property
    def reports(self) -> set[object]:
        """What it says went wrong."""
        if self.ending is None:
            return set()
        said: set[object] = {*self.ending.left_out, *self.ending.warnings}
        return said if self.ending.status == "complete" else {*said, (self.ending.status, self.ending.reason)}


@dataclass
class Reading:
    """All that came out of a file."""

    runs: list[Run] = field(default_factory=list)
    error: Exception | None = None
    """What ended it early; what is no MlpdataError is a fault of the reader."""

    @property
    def rows(self) -> list[Row]:
        """The frames of all runs."""
        return [row for run in self.runs for row in run.rows]

    @property
    def reports(self) -> set[object]:
        """What it says went wrong."""
        said = set().union(*(run.reports for run in self.runs))
        return said if self.error is None else {*said, str(self.error)}

    @property
    def is_complete(self) -> bool:
        """Whether every run says that it is."""
        endings = [run.ending for run in self.runs]
        return self.error is None and all(ending is not None and ending.status == "complete" for ending in endings)

    @property
    def is_foreign(self) -> bool:
        """Whether it ended with an exception that is none of ours."""
        return self.error is not None and not isinstance(self.error, MlpdataError)


class Specimen:
    """A file of a reader with its companions, held in memory, so that thousands of damaged copies can be read.

    Args:
        reader: what reads it.
        path: the file; companions are looked for beside it.
        declared: what is said of numbers whose file states no units.
    """

    def __init__(self, reader: Reader, path: Path, declared: Declared | None = None) -> None:
        self.reader, self.declared = reader, declared
        self.path = path
        self._contents = {path: path.read_bytes()}
        belonging = reader.companions(self.source(path, self._contents[path]))
        self._contents |= {one: one.read_bytes() for one in beside(path, belonging)}
        self.whole = self.read()

    @property
    def files(self) -> Mapping[Path, bytes]:
        """The file, then its companions, with what they hold."""
        return self._contents

    def source(self, path: Path, content: bytes) -> Input:
        """A file as readers are given it, without a disk: as if expanded, so that only `data` has what it holds."""
        return Input(path, content, "0" * 64, len(content), "gz", declared=self.declared)

    def read(self, path: Path | None = None, content: bytes | None = b"") -> Reading:
        """Read the file where `path`, it or one of its companions, holds `content`; None: the companion is missing."""
        held = self._contents if path is None else {**self._contents, path: content}
        source = self.source(self.path, held[self.path] or b"")

        def companions() -> tuple[Input, ...]:
            found = [(one, held[one]) for one in beside(self.path, self.reader.companions(source)) if one in held]
            return tuple(self.source(one, text) for one, text in found if text is not None)

        return read(self.reader, source, companions)

    def printed_floats(self) -> Iterator[float]:
        """The numbers of its frames as the file holds them."""
        for item in self.reader.read(self.source(self.path, self._contents[self.path])):
            if isinstance(item, Printed):
                for value in item.arrays.values():
                    yield from np.asarray(getattr(value, "values", value), float).ravel().tolist()


def read(reader: Reader, source: Input, companions: Callable[[], tuple[Input, ...]] = tuple) -> Reading:
    """All that a reader makes of a file and of those that `companions` finds beside it."""
    reading = Reading()
    try:
        source.companions = companions()
        _take_all(reader.read(source), reading)
    except Exception as error:  # noqa: BLE001  which one it is, is the question
        reading.error = error
    return reading


def _take_all(items: Iterable[Header | Printed | Undeclared | Unplaced | Ending], reading: Reading) -> None:
    for item in items:
        if isinstance(item, Header):
            reading.runs.append(Run(item))
        elif isinstance(item, Ending):
            reading.runs[-1].ending = item
        elif isinstance(item, Undeclared):
            reading.runs[-1].blocks.append(Frames(item.n_atoms, item.arrays))
        elif isinstance(item, Printed):
            reading.runs[-1].blocks.append(from_printed(item.n_atoms, item.arrays)[0])


def _rows(block: Frames) -> Iterator[Row]:
    squares = np.concatenate(([0], np.cumsum(block.n_atoms**2)))
    for index in range(len(block)):
        row: Row = {}
        for name, array in block.arrays.items():
            level = PROPERTIES[name].level
            ends = block.atom_start if level == ATOM else squares
            one = array[index : index + 1] if level == CONFIGURATION else array[ends[index] : ends[index + 1]]
            if not _absent(name, one).all():
                row[name] = one
        yield row


def _absent(name: str, array: NDArray[Any]) -> NDArray[np.bool_]:
    absent = PROPERTIES[name].absent
    if name in _ALWAYS_THERE:
        return np.zeros(array.shape, bool)
    found: NDArray[np.bool_] = np.isnan(array) if np.isnan(absent) else array == absent
    return found


_ALWAYS_THERE = {"atomic_numbers", "pbc", "source_index"}
"""Zero is a value of these."""

_OF_LABELS = ("energy_kind", "forces_are", "run_kind")
"""Fields of a header that say what its labels are."""
_OF_THEORY = ("functional", "exact_exchange", "correlation", "state")
"""Fields of a method that name the potential-energy surface."""


@dataclass
class Difference:
    """How the reading of a damaged copy differs from that of the whole file."""

    wrong: list[str] = field(default_factory=list)
    """Numbers that the whole file does not have at that place."""
    lost: list[str] = field(default_factory=list)
    """Frames and labels that it lacks."""
    reported: bool = False
    """Whether it says anything that the whole file does not: an error, a status, a frame left out, a warning."""

    @property
    def silent(self) -> list[str]:
        """What was lost without a word."""
        return [] if self.reported else self.lost


def difference(whole: Reading, copy: Reading, *, open_end: bool = False) -> Difference:
    """Compare frames in their order: each of the copy must be one of the whole file, in all that it still has.

    Args:
        whole: of the file as it was.
        copy: of the damaged copy.
        open_end: whether last frames may be missing without a word.
    """
    found = Difference(reported=bool(copy.reports - whole.reports))
    expected = whole.rows
    place = 0
    for number, row in enumerate(copy.rows):
        match = next((i for i in range(place, len(expected)) if not _disagreeing(row, expected[i])), None)
        if match is None:
            found.wrong.append(f"frame {number}: {_what_is_wrong(row, expected)}")
            continue
        found.lost += [f"frame {skipped}" for skipped in range(place, match)]
        found.lost += [f"{name} of frame {match}" for name in _lacking(row, expected[match])]
        place = match + 1
    if not found.wrong and not open_end:
        found.lost += [f"frame {skipped}" for skipped in range(place, len(expected))]
    found.wrong += _meanings_changed(whole, copy) if not found.reported else []
    return found


def _meanings_changed(whole: Reading, copy: Reading) -> list[str]:
    """What a header says of its labels must not change without a word; the theory may become unknown, no other one."""
    changed = []
    for before, after in zip(whole.runs, copy.runs, strict=False):
        pairs = [(name, getattr(before.header, name), getattr(after.header, name)) for name in _OF_LABELS]
        pairs += [
            (name, getattr(before.header.method, name), getattr(after.header.method, name))
            for name in _OF_THEORY
            if getattr(after.header.method, name) is not None
        ]
        changed += [f"{name} became {now!r}" for name, was, now in pairs if now not in (was, "unknown")]
    return changed


def _disagreeing(row: Row, expected: Row) -> list[str]:
    return [name for name, array in row.items() if not _same(name, array, expected.get(name))]


def _same(name: str, array: NDArray[Any], expected: NDArray[Any] | None) -> bool:
    if expected is None or array.shape != expected.shape:
        return False
    if array.tobytes() == expected.tobytes():
        return True
    return bool((_absent(name, array) | (array == expected)).all())


def _lacking(row: Row, expected: Row) -> Iterator[str]:
    for name, array in expected.items():
        if name not in row or (_absent(name, row[name]) & ~_absent(name, array)).any():
            yield name


def _what_is_wrong(row: Row, expected: Sequence[Row]) -> str:
    """The names that disagree with the frame that is nearest."""
    nearest = min((_disagreeing(row, one) for one in expected), key=len, default=list(row))
    return ", ".join(nearest) or "a frame that comes twice"
