"""What a snapshot shows, in segments that are there.

Compaction puts the calculations of many segments into one, and the old ones may be removed. A snapshot that names an
old one is read through the segment that replaced it, which has a table of what it stands for.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mlpdata.errors import CorruptError, NotFound
from mlpdata.schema.records import Retraction, Snapshot
from mlpdata.store import checked, layout
from mlpdata.store.amendments import Amendments, Key
from mlpdata.store.index import CalculationIndex
from mlpdata.store.keeper import keeper
from mlpdata.store.segment import read_segment

NOT_SHOWN = "not of this snapshot"
"""Why a calculation is hidden that came into a segment from others than those that a snapshot names."""


class State:
    """The segments in which a snapshot is read, and what it hides of them.

    Args:
        store: folder of the store.
        snapshot: the snapshot.
        whole: refuse one of which a part was deleted for good; else that part is left out.

    Raises:
        CorruptError: a segment is missing, and none replaced it.
        NotFound: something that the snapshot shows was deleted for good.
    """

    def __init__(self, store: Path, snapshot: Snapshot, *, whole: bool = True) -> None:
        self._store, self._snapshot, self._whole = store, snapshot, whole
        missing = [name for name in snapshot.segments if not is_there(store, name)]
        self._moved = stand_ins(store, missing)
        """By segment that is no longer there: the one that replaced it."""
        for name in missing:
            if name not in self._moved:
                raise CorruptError(
                    "expected a segment, found neither it nor one that replaced it. Restore it.",
                    path=keeper(store).address(layout.segment_folder(store, name) / layout.SEGMENT_RECORD),
                )
        self.segments = tuple(dict.fromkeys(self._moved.get(name, name) for name in snapshot.segments))
        """Ids of the segments that are read."""
        self.hidden: dict[Key, Retraction] = {
            (one.segment, one.calculation): one for one in snapshot.retracted if one.segment not in self._moved
        }
        """What is hidden of them, and why."""
        for segment in dict.fromkeys(self._moved.values()):
            self.hidden |= self._hidden_in(segment)

    @functools.cached_property
    def amendments(self) -> Amendments:
        """The amendments that hold, by the segments that are read."""
        return self.placed(Amendments.read(self._store, self._snapshot.amendments))

    def placed(self, amendments: Amendments) -> Amendments:
        """The amendments of the snapshot by the segments that are read."""
        if not self._moved:
            return amendments
        return amendments.moved(self._moved, {(one.segment, one.calculation) for one in self._snapshot.retracted})

    def _hidden_in(self, segment: str) -> Iterator[tuple[Key, Retraction]]:
        """What is hidden of a segment that stands for others: all that these did not have, and what was hidden of them."""
        reasons = {(one.segment, one.calculation): one.reason for one in self._snapshot.retracted}
        why: dict[str, str] = {}
        shown: set[str] = set()
        purged: set[str] = set()
        for origin, record, gone in _origins(self._store, segment):
            if self._moved.get(origin) == segment:
                reason = reasons.get((origin, record))
                if reason is not None:
                    why[record] = reason
                else:
                    (shown if gone is None else purged).add(record)
        lost = purged - shown
        if lost and self._whole:
            raise NotFound(
                f"expected all that snapshot {self._snapshot.id[:12]} shows, found that {len(lost)} of its calculations "
                "were purged. Later snapshots can be read.",
                path=self._store,
            )
        index = CalculationIndex(self._store, segment, read_segment(self._store, segment))
        for one in index:
            if one.record not in shown:
                reason = why.get(one.record, NOT_SHOWN)
                yield (segment, one.record), Retraction(segment=segment, calculation=one.record, reason=reason)


def is_there(store: Path, segment: str) -> bool:
    """Whether a segment has a folder, here or where the store is kept."""
    folder = layout.segment_folder(store, segment)
    return folder.is_dir() or keeper(store).fetch(folder / layout.SEGMENT_RECORD)


def stand_ins(store: Path, names: Collection[str], among: Collection[str] | None = None) -> dict[str, str]:
    """For each of these segments that was replaced, one that replaced it.

    Args:
        store: folder of the store.
        names: segments, which may be gone.
        among: segments that count; all by default.
    """
    found: dict[str, str] = {}
    for segment, table in replacing(store) if names else ():
        if among is None or segment in among:
            found |= dict.fromkeys(set(pc.unique(table["segment"]).to_pylist()).intersection(names), segment)
    return found


def replacing(store: Path) -> Iterator[tuple[str, pa.Table]]:
    """The segments that stand for others, with the tables of what they stand for."""
    folder = store / layout.SEGMENTS
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (path / f"{layout.REPLACED}.parquet").exists():
            yield path.name, _replaced(store, path.name)


def _origins(store: Path, segment: str) -> list[tuple[str, str, str | None]]:
    """Segment, record and, if it was deleted for good, the reason, of each calculation that a segment stands for."""
    table = _replaced(store, segment)
    return list(zip(*(table[name].to_pylist() for name in ("segment", "calculation_record", "purged")), strict=True))


def _replaced(store: Path, segment: str) -> pa.Table:
    path = layout.segment_folder(store, segment) / f"{layout.REPLACED}.parquet"
    return checked.read_table(path, layout.file_of(read_segment(store, segment), path.name, path))
