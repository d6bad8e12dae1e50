"""Stage calculations as the files of a segment; and read a segment's record back.

Configurations wait in memory until they are many, and then go into the files of the future segment; of a calculation
that is abandoned, what is there already is cut off again. Nothing of a segment depends on time or place: the same calculations give the same id.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlpdata import digest, durable
from mlpdata.errors import StoreError, UsageError
from mlpdata.frames import Frames, concatenate
from mlpdata.schema.calculation import Calculation
from mlpdata.store import layout, tables
from mlpdata.store.arrays import ArrayWriter, file_record
from mlpdata.store.columns import frame_columns, shortest_distances
from mlpdata.store.index import calculation_index, id_index
from mlpdata.store.layout import Segment
from mlpdata.store.tables import Stored
from mlpdata.units import F64

PENDING_CONFIGURATIONS, PENDING_ATOMS = 4096, 65_536
"""Bounds of what waits in memory to be written."""

Ids = NDArray[np.uint8]


class _Block(NamedTuple):
    """Frames with what cannot wait: their ids, and distances, which may refuse a cell."""

    frames: Frames
    calculation: int
    """Number of the calculation in the segment."""
    ids: Ids
    min_distance: F64


class _Waiting:
    """Blocks that are to be written together: an array and a column cost the same for one configuration and for many."""

    def __init__(self) -> None:
        self.blocks: list[_Block] = []
        self.n_configurations = self._n_atoms = 0

    def add(self, blocks: Iterable[_Block]) -> None:
        for block in blocks:
            self.blocks.append(block)
            self.n_configurations += len(block.frames)
            self._n_atoms += len(block.frames.atomic_numbers)

    @property
    def are_many(self) -> bool:
        return self.n_configurations >= PENDING_CONFIGURATIONS or self._n_atoms >= PENDING_ATOMS


class _Spill(NamedTuple):
    """Columns that were worked out and put on disk."""

    path: Path
    calculation: NDArray[np.int64]
    """Number of the calculation of each row."""


class _Lengths(NamedTuple):
    """How far the arrays have grown."""

    n_configurations: int
    n_atoms: int
    pairs: dict[str, int]


class _Begun(NamedTuple):
    """The calculation begun: its first row, its blocks that wait, and how long the arrays were before the others."""

    first_row: int
    ids: list[Ids]
    waiting: _Waiting
    before: _Lengths | None = None
    """None while all of its blocks wait."""


class Writer:
    """Stages the calculations of one commit in a folder of its own.

    Use: `begin`, `append` as often as there are blocks, then `end` with the record, or `abandon`.

    Args:
        staging: folder for all stagings; must exist.
        stored: whether a calculation (by what it adds to content) is stored already and need not be written again.
    """

    def __init__(self, staging: Path, stored: Callable[[int], bool]) -> None:
        self.folder = staging / secrets.token_hex(8)
        for folder in (self.folder, self.folder / "segment", self.folder / "spill"):
            durable.make_scratch(folder)
        self._arrays = ArrayWriter(self.folder / "segment" / layout.ARRAYS)
        self._lock = durable.mark_alive(self.folder)
        self._is_stored = stored
        self._stored: list[Stored] = []
        self._ids: list[Ids] = []
        self.wanted: dict[int, str] = {}
        """What the commit shall show: what each calculation adds to content, and its record."""
        self._records: dict[str, int] = {}
        self._waiting = _Waiting()
        self._spills: list[_Spill] = []
        self._begun: _Begun | None = None
        self._failure: StoreError | None = None
        self._finished: tuple[Segment, Path] | None = None

    def begin(self) -> None:
        """A calculation follows."""
        if self._begun is not None:
            raise UsageError("expected end() or abandon() before begin(), found a calculation that is not finished.")
        self._begun = _Begun(self._arrays.n_configurations + self._waiting.n_configurations, [], _Waiting())

    def append(self, frames: Frames) -> None:
        """Add configurations to the calculation begun.

        Raises:
            InputError: a cell in which no shortest distance can be found.
            StoreError: the disk refused; nothing more can be staged.
        """
        begun = self._current()
        block = _Block(frames, len(self._stored), frames.ids(), shortest_distances(frames))
        begun.ids.append(block.ids)
        begun.waiting.add([block])
        if begun.waiting.are_many:
            with self._remembering_failure():
                self._write_begun(begun)

    def _write_begun(self, begun: _Begun) -> None:
        """Write what waits of the calculation begun, after all that comes before it."""
        self._write_waiting()
        arrays = self._arrays
        before = begun.before or _Lengths(arrays.n_configurations, arrays.n_atoms, arrays.pairs)
        self._begun = begun._replace(waiting=_Waiting(), before=before)
        self._write(begun.waiting.blocks)

    def end(self, calculation: Calculation) -> None:
        """The calculation begun is whole, and this is its record.

        Raises:
            UsageError: the same record was ended before with other configurations.
            StoreError: the disk refused.
        """
        begun = self._current()
        ids = np.concatenate([np.empty((0, digest.ID_BYTES), np.uint8), *begun.ids])
        json = digest.canonical_json(calculation.as_json())
        record = digest.sha256(json)
        content = digest.shown(record, ids)
        if self._records.setdefault(record, content) != content:
            raise UsageError(f"expected one set of configurations for a record, found two for {calculation.path}.")
        known = content in self.wanted or self._is_stored(content)
        self.wanted[content] = record
        if known:
            self.abandon()
            return
        self._stored.append(Stored(calculation, json, record, begun.first_row, len(ids), content))
        self._ids.append(ids)
        self._begun = None
        self._waiting.add(begun.waiting.blocks)
        if self._waiting.are_many:
            with self._remembering_failure():
                self._write_waiting()

    def abandon(self) -> None:
        """Forget the calculation begun."""
        begun, number = self._current(), len(self._stored)
        self._begun = None
        if self._failure is None and begun.before is not None:
            self._arrays.cut(*begun.before)
        self._spills = [spill for spill in self._spills if number not in spill.calculation]

    def finish(self) -> tuple[Segment, Path] | None:
        """Complete the files and sync them: the segment's record and its folder. None where nothing is to be stored.

        Raises:
            StoreError: the disk refused, now or at an earlier step.
        """
        if self._failure is not None:
            raise self._failure
        if self._begun is not None:
            raise UsageError("expected end() or abandon() before the commit, found a calculation that is not finished.")
        if not self._stored or self._finished:
            return self._finished
        with self._remembering_failure():
            self._finished = self._complete(self.folder / "segment")
        return self._finished

    def _complete(self, folder: Path) -> tuple[Segment, Path]:
        self._write_tables(folder)
        durable.stage(folder / layout.IDS, id_index(np.concatenate(self._ids)))
        calculations = [(one.content, one.record, one.first_row, one.n_configurations) for one in self._stored]
        durable.stage(folder / layout.CALCULATIONS, calculation_index(calculations))
        names = (*(f"{name}.parquet" for name in layout.TABLES), layout.IDS, layout.CALCULATIONS)
        segment = Segment(
            n_calculations=len(self._stored),
            content=digest.content_id(sum(one.content for one in self._stored)),
            arrays=self._arrays.finish(),
            files={name: file_record(folder / name) for name in names},
        )
        durable.stage(folder / layout.SEGMENT_RECORD, digest.canonical_json(segment.as_json()))
        durable.sync_tree(folder)
        return segment, folder

    @contextmanager
    def _remembering_failure(self) -> Iterator[None]:
        """After the disk refused once, files may be half written or half synced: nothing of them is ever committed."""
        try:
            yield
        except StoreError as error:
            self._failure = error
            raise

    def discard(self) -> None:
        """Remove the staging folder, whatever is in it."""
        self._arrays.close()
        if self.folder.exists():
            durable.remove_tree(self.folder)
        os.close(self._lock)

    def _current(self) -> _Begun:
        if self._begun is None:
            raise UsageError("expected begin() first, found no calculation begun.")
        return self._begun

    def _write_waiting(self) -> None:
        if self._waiting.blocks:
            self._write(self._waiting.blocks)
        self._waiting = _Waiting()

    def _write(self, blocks: list[_Block]) -> None:
        """Append `blocks` to the arrays; work out their columns and put them on disk."""
        frames, row = concatenate([block.frames for block in blocks]), self._arrays.n_configurations
        self._arrays.append(frames)
        columns = frame_columns(
            frames,
            np.concatenate([block.ids for block in blocks]),
            np.concatenate([block.min_distance for block in blocks]),
        )
        columns["row"] = pa.array(np.arange(row, row + len(frames)))
        path = self.folder / "spill" / f"{len(self._spills):08d}-{secrets.token_hex(4)}.arrow"
        tables.spill(path, columns)
        sizes = [len(block.frames) for block in blocks]
        self._spills.append(_Spill(path, np.repeat([block.calculation for block in blocks], sizes)))

    def _write_tables(self, folder: Path) -> None:
        self._write_waiting()
        spilled = tables.read_spills([spill.path for spill in self._spills])
        owner = np.concatenate([np.empty(0, np.int64), *(spill.calculation for spill in self._spills)])
        calculations = tables.calculations_table(self._stored)
        batches = {
            "configurations": tables.configuration_batches(spilled, owner, calculations),
            "calculations": iter([calculations]),
            "methods": iter([tables.methods_table(self._stored, calculations)]),
            "sources": iter([tables.sources_table(self._stored, calculations)]),
        }
        for name in layout.TABLES:
            tables.write_table(folder / f"{name}.parquet", batches[name], tables.COLUMNS[name])


def read_segment(store: Path, segment: str) -> Segment:
    """The record of a segment.

    Raises:
        CorruptError: it is missing, or its bytes are not those that its name says.
        NewerSchema: a newer mlpdata wrote it.
    """
    path = layout.segment_folder(store, segment) / layout.SEGMENT_RECORD
    return layout.read_record(Segment, path, segment)
