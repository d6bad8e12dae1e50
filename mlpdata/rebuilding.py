"""Rebuilding: read the outputs of a store again with the readers of today, and compare what comes out with what is stored.

Nothing is written. One block of configurations of each output is in memory at a time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlpdata.ahead import Workers, streams
from mlpdata.discover import Output, Progress, find_outputs
from mlpdata.errors import InputError, NotFound, UsageError
from mlpdata.frames import Frames
from mlpdata.intake import cache_of, folder_of_outputs, last_tree
from mlpdata.known import Key, Known, Reading, reading_of
from mlpdata.readers.registry import reader_version
from mlpdata.runs import Event
from mlpdata.said.sayings import Sayings
from mlpdata.scan import cache_at
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.properties import ATOM, CONFIGURATION, PROPERTIES
from mlpdata.search import absolute
from mlpdata.store.commit import Repository
from mlpdata.store.snapshot import OpenSnapshot

State = Literal["same", "numbers", "bytes", "missing", "unreadable"]
"""same: every number as stored; numbers: other ones; bytes: the file changed since; missing: it is not there."""


@dataclass
class Difference:
    """How one property of a calculation differs."""

    name: str
    unit: str
    n_configurations: int = 0
    """How many differ."""
    first: int = 0
    """The first of them, counted from 0 in the calculation."""
    largest: float = 0.0
    """Largest difference of a number [unit]; infinite where only one of the two has it."""

    def __str__(self) -> str:
        by = "is there once only" if np.isinf(self.largest) else f"differs by up to {self.largest:.6g} {self.unit}"
        return f"{self.name} {by} in {self.n_configurations} configurations, first in number {self.first}"


@dataclass
class Rebuilt:
    """A stored calculation beside what its output gives now."""

    path: str
    segment: str
    record: str
    state: State = "missing"
    what: str = "its output is not in the tree"
    """Expected, found; empty where all is the same."""
    differences: list[Difference] = field(default_factory=list)
    reader: str = ""
    """Reader with the version that read it and the one of today, where these differ."""

    def as_json(self) -> dict[str, Any]:
        """The calculation as JSON values."""
        return {**vars(self), "differences": [vars(one) for one in self.differences]}


@dataclass
class RebuildReport:
    """What reading again gave."""

    calculations: list[Rebuilt] = field(default_factory=list)
    n_configurations: int = 0
    """How many were compared and are the same."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all calculations were read again, with the same numbers."""
        return not self.differing

    @property
    def n_calculations(self) -> int:
        """Calculations of the snapshot."""
        return len(self.calculations)

    @property
    def differing(self) -> list[Rebuilt]:
        """Those that are not the same."""
        return [one for one in self.calculations if one.state != "same"]

    @property
    def readers(self) -> list[str]:
        """Calculations that a reader of another version gives the same."""
        return [f"{one.path}: {one.reader}" for one in self.calculations if one.reader and one.state == "same"]

    @property
    def counts(self) -> Counter[str]:
        """How many there are of each state."""
        return Counter(one.state for one in self.calculations)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values; of what is the same, only readers of other versions are named."""
        named = [one for one in self.calculations if one.state != "same" or one.reader]
        return {
            "ok": self.ok,
            "n_calculations": self.n_calculations,
            "n_configurations": self.n_configurations,
            "counts": dict(self.counts),
            "calculations": [one.as_json() for one in named],
            "seconds": self.seconds,
        }


def rebuild(
    store: Path | str, raw: Path | None = None, *, jobs: int = 1, progress: Progress | None = None
) -> RebuildReport:
    """Compare the current snapshot of a store with what its outputs give now.

    Args:
        store: folder of the store.
        raw: the tree of outputs; by default the one that was synced last, else where they were ingested from.
        jobs: reading processes.
        progress: called while the tree is searched, and after each output.

    Raises:
        NotFound: no store, or an empty one.
        UsageError: no such tree.
        CorruptError: what is stored is damaged.
    """
    started = time.perf_counter()
    repository = Repository.open(store)
    if repository.head() is None:
        raise NotFound("expected a snapshot, found an empty store. `mlpdata ingest` fills it.", path=store)
    known = Known(repository)
    comparison = _Comparison(known)
    outputs = comparison.choose(_outputs(Path(store), raw, known, progress))
    with Workers(jobs) as workers:
        for number, (output, events) in enumerate(streams(outputs, workers), 1):
            comparison.read(output, events)
            if progress:
                progress(number, len(outputs), output.name)
    comparison.report.seconds = round(time.perf_counter() - started, 3)
    return comparison.report


def _outputs(store: Path, raw: Path | None, known: Known, progress: Progress | None) -> list[Output]:
    """The outputs that are there now, with what was said of them."""
    root, paths = _places(store, raw, known.visible.values())
    sayings = Sayings(None, None)
    with cache_at(cache_of(store), read_only=True) as cache:
        found = find_outputs(paths, root, sayings, cache=cache, progress=progress)
    return [known.with_earlier_attributes(output) for output in found.outputs]


def _places(store: Path, raw: Path | None, readings: Iterable[Reading]) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and what is to be searched in it.

    Raises:
        UsageError: there is nothing to be searched.
    """
    tree = raw or last_tree(store)
    if tree is not None:
        return tree, [folder_of_outputs(tree)]
    root = absolute(store).parent  # where ingest names files from
    tops = sorted({one.path.partition("/")[0].partition("!")[0] for one in readings})
    paths = [root / top for top in tops if (root / top).exists()]
    if not paths:
        raise UsageError(
            "expected the outputs where they were read from, found none of them. "
            "Name their folder: mlpdata verify --rebuild DIR.",
            path=root,
        )
    return root, paths


class _Comparison:
    """Stored calculations beside the outputs that they were read from."""

    def __init__(self, known: Known) -> None:
        assert known.snapshot is not None
        self.known, self.snapshot = known, known.snapshot
        self.report = RebuildReport()
        self.rebuilt = {key: Rebuilt(one.path, *key) for key, one in known.visible.items()}
        self.report.calculations = sorted(self.rebuilt.values(), key=lambda one: one.path)

    def choose(self, outputs: Sequence[Output]) -> list[Output]:
        """The outputs of which the store shows calculations, each once; files that changed are noted."""
        chosen: dict[Key, Output] = {}
        for output in outputs:
            for key in self.known.of_files(output):
                if key not in chosen or self.known.visible[key].sources[0].path == output.name:
                    chosen[key] = output
            for key in self.known.earlier(output):
                self.note_changed(key, output)
        for key, output in chosen.items():
            self.note_changed(key, output)
        return list({output.name: output for output in chosen.values()}.values())

    def note_changed(self, key: Key, output: Output) -> None:
        """Note the first file of a calculation that holds other bytes than when it was read."""
        now = {file.name: file.sha256 for file in output.files}
        held = {*now.values(), *(one.sha256 for file in output.files for one in file.companions)}
        for source in self.known.visible[key].sources:
            if source.sha256 not in held:
                found = now.get(source.path, "another, or none")
                self.rebuilt[key].state = "bytes"
                self.rebuilt[key].what = f"expected sha256 {source.sha256} of {source.path}, found {found}"
                return

    def read(self, output: Output, events: Iterable[Event]) -> None:
        """Compare the runs of one output."""
        order = {file.sha256: number for number, file in enumerate(output.files)}
        runs = {_place(self.known.visible[key], order): key for key in self.known.of_files(output)}
        last = Place(0, 0)
        run = self.run(runs, last)
        try:
            for event in events:
                if isinstance(event, Frames):
                    run.take(event)
                elif isinstance(event, Calculation):
                    last = _place(reading_of(event), order)
                    if runs.get(last) == run.key:
                        self.conclude(run)
                        runs.pop(last, None)
                    run = self.run(runs, last)
        except InputError as error:
            for key in runs.values():
                self.conclude_as(key, "unreadable", str(error))
            return
        for key in runs.values():
            self.conclude_as(key, "numbers", "expected this run in the file, found it no longer")

    def run(self, runs: Mapping[Place, Key], last: Place) -> _Run:
        """What is stored of the run that follows another one; nothing where it is not known which one that is."""
        following = min((place for place in runs if place > last), default=None)
        is_next = following is not None and following in (Place(last.file, last.number + 1), Place(following.file, 1))
        return _Run(self.snapshot, runs[following] if following is not None and is_next else None)

    def conclude(self, run: _Run) -> None:
        """Note how a run that ended compares."""
        if run.key is None:
            return
        found = self.rebuilt[run.key]
        found.differences, found.reader = list(run.differences.values()), self.reader(run.key)
        if run.row != run.n:
            self.conclude_as(run.key, "numbers", f"expected {run.n} configurations, found {run.row}")
        elif run.differences:
            self.conclude_as(run.key, "numbers", "expected the numbers that are stored, found others")
        else:
            self.conclude_as(run.key, "same", "")
            self.report.n_configurations += run.n

    def conclude_as(self, key: Key, state: State, what: str) -> None:
        """Note a state, unless other bytes explain it."""
        if self.rebuilt[key].state != "bytes":
            self.rebuilt[key].state, self.rebuilt[key].what = state, what

    def reader(self, key: Key) -> str:
        """The readers whose version is another than that which read a calculation."""
        sources = self.known.visible[key].sources
        pairs = {(one.reader, one.reader_version, reader_version(one.reader)) for one in sources}
        return ", ".join(f"{name} {before} -> {now}" for name, before, now in sorted(pairs, key=str) if before != now)


class Place(NamedTuple):
    """Where a run is among those of an output."""

    file: int
    """Number of its file."""
    number: int
    """In the file, from 1."""


def _place(reading: Reading, order: Mapping[str, int]) -> Place:
    number = reading.path.rpartition("#")[2] if "#" in reading.path else ""
    return Place(order.get(reading.sources[0].sha256, 0), int(number) if number.isdecimal() else 1)


class _Run:
    """What is stored of a run, while its configurations arrive.

    Args:
        snapshot: what is stored.
        key: of the calculation; None where the run is not stored.
    """

    def __init__(self, snapshot: OpenSnapshot, key: Key | None) -> None:
        self.key, self.row, self._mapped = key, 0, snapshot.mapped
        self.differences: dict[str, Difference] = {}
        self.first = self.n = 0
        if key is not None:
            shown, skipped = snapshot.rows_of(*key), snapshot.skipped(*key)
            self.first, self.n = shown.start - skipped, shown.stop - shown.start + skipped

    def take(self, frames: Frames) -> None:
        """Compare configurations with those that are stored in their places."""
        n = min(len(frames), self.n - self.row)
        if n > 0:
            at = self.first + self.row
            stored = self._mapped.frames(np.arange(at, at + n))
            self._compare(frames if n == len(frames) else frames.select(np.arange(n)), stored)
        self.row += len(frames)

    def _compare(self, frames: Frames, stored: Frames) -> None:
        if not np.array_equal(frames.n_atoms, stored.n_atoms):
            self._note("n_atoms", "", frames.n_atoms != stored.n_atoms, np.abs(frames.n_atoms - stored.n_atoms))
            return
        for name, row in PROPERTIES.items():
            if name not in frames and name not in stored:
                continue
            found, expected = (one.get(name).reshape(one.rows(row.level), -1) for one in (frames, stored))
            with np.errstate(invalid="ignore"):
                apart = np.abs(found.astype(np.float64) - expected)
            absent, blank = np.isnan(found), np.isnan(expected)
            apart[absent & blank] = 0
            apart[absent != blank] = np.inf
            if apart.any():
                largest = np.zeros(len(frames))
                np.maximum.at(largest, _owners(frames, row.level), apart.max(axis=1, initial=0))
                self._note(name, row.unit or "", largest > 0, largest)

    def _note(self, name: str, unit: str, different: NDArray[np.bool_], by: NDArray[Any]) -> None:
        """Add to what is known of a property."""
        first = self.row + int(np.argmax(different))
        one = self.differences.setdefault(name, Difference(name, unit, first=first))
        one.n_configurations += int(different.sum())
        one.largest = max(one.largest, float(by.max()))


def _owners(frames: Frames, level: str) -> NDArray[np.int64]:
    """The configuration of each row of an array."""
    lengths = {ATOM: frames.n_atoms, CONFIGURATION: np.ones(len(frames), np.int64)}.get(level, frames.n_atoms**2)
    return np.repeat(np.arange(len(frames)), lengths)
