"""Give up what cannot be mended: a new snapshot shows all that is sound, and says what is lost.

Segments, amendments and older snapshots that are damaged are named in the field `lost` of the snapshot and of those that
follow it. What of a segment is sound is stored again, in a segment of its own; each calculation that is lost is retracted
with the reason `damaged: ...`. No file is touched: what the old snapshots can still read of a damaged one, they read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mlpdata.schema.calculation import Calculation
from mlpdata.schema.records import Revision, Snapshot
from mlpdata.store import layout
from mlpdata.store.amendments import Amended, Amendments, Key, effective
from mlpdata.store.commit import Repository, Staged
from mlpdata.store.derive import told_by_tables
from mlpdata.store.index import CalculationIndex, Kept
from mlpdata.store.inventory import Fault, Inventory

DAMAGED = "damaged: "
"""Begins the reason for which what is lost is retracted."""
WHY = "stored again: its segment is damaged"


@dataclass(frozen=True)
class Lost:
    """A calculation that is no longer there."""

    path: str
    """As it was stored; empty where that cannot be told."""
    segment: str
    record: str
    """Digest of its record as stored; empty where that cannot be told."""
    n_configurations: int | None
    """None where that cannot be told."""
    sources: tuple[str, ...]
    """Files to ingest again, relative to the root of their ingest."""

    def as_json(self) -> dict[str, Any]:
        """The loss as JSON values."""
        return {**vars(self), "sources": list(self.sources)}


class Rescued(NamedTuple):
    """What could be read of a damaged segment, in its place in the store though no snapshot names it yet."""

    staged: Staged | None
    saved: Mapping[str, Calculation]
    """By record, as stored."""
    lost: Mapping[str, Calculation]
    """By record, as stored."""
    kept: Sequence[Kept]


class GivenUp(NamedTuple):
    """What came of it."""

    lost: list[Lost]
    notes: list[str]
    """What else is no longer there."""
    snapshot: str
    """The new current snapshot."""


def give_up(inventory: Inventory, faults: Iterable[Fault], rescued: Mapping[str, Rescued]) -> GivenUp:
    """Commit a snapshot that names nothing damaged.

    Args:
        inventory: of the store, its HEAD well.
        faults: what cannot be mended.
        rescued: of the damaged segments that the current snapshot names, those of which anything can be read.

    Raises:
        StoreError: the disk refused; nothing changed.
    """
    head = inventory.head
    if head is None:
        return GivenUp([], [], "")
    return _GivingUp(inventory, head, faults, rescued).commit()


class _GivingUp:
    """One such commit, put together segment by segment."""

    def __init__(
        self, inventory: Inventory, head: Snapshot, faults: Iterable[Fault], rescued: Mapping[str, Rescued]
    ) -> None:
        self.inventory, self.head, self.rescued, self.store = inventory, head, rescued, inventory.store
        self.places: dict[str, list[str]] = {}
        """Damaged files by the segment, amendment or snapshot that they are of."""
        for fault in faults:
            name = inventory.name_of(Path(fault.path))
            if name and name != head.id:
                self.places.setdefault(name, []).append(Path(fault.path).relative_to(self.store).as_posix())
        self.hidden = {(one.segment, one.calculation): one.reason for one in head.retracted}
        amendments = [one for name in head.amendments for one in inventory.amendments.get(name, ())]
        self.present = Amendments(amendments).present
        self.lost: list[Lost] = []
        self.staged: list[Staged] = []
        self.amend: list[Amended] = []
        self.retract: list[tuple[str, str, str]] = []
        self.restore: list[Key] = []

    def commit(self) -> GivenUp:
        notes = [self.note(name) for name in self.places if name not in self.head.segments]
        for name in self.places:
            if name in self.head.segments:
                self.segment(name)
        n = sum(one.n_configurations or 0 for one in self.lost)
        snapshot = Repository.open(self.store).commit(
            staged=self.staged,
            retract=self.retract,
            restore=self.restore,
            amend=self.amend,
            lost=self.places,
            why=WHY,
            message=f"gave up what is damaged: {len(self.lost)} calculations with {n} configurations",
        )
        return GivenUp(self.lost, notes, snapshot.id)

    def note(self, name: str) -> str:
        """What it means that something else than a segment of the current snapshot is damaged."""
        if name in self.head.amendments:
            return f"attributes that amendment {name} gave are as they were before it"
        if layout.snapshot_file(self.store, name).relative_to(self.store).as_posix() in self.places[name]:
            return f"the log ends before snapshot {name}"
        return f"{len(self.inventory.needing(name))} older snapshots do not read whole: {self.places[name][0]}"

    def segment(self, name: str) -> None:
        """Store again what is sound of a segment, and note what is not."""
        rescued, reason = self.rescued.get(name), DAMAGED + ", ".join(sorted(self.places[name]))
        if rescued is None:
            told = told_by_tables(layout.segment_folder(self.store, name))
            gone = [Lost(path, name, record, n or None, (path,)) for record, (path, n) in told.items()]
            self.lose(name, gone or [Lost("", name, "", None, ())], reason)
            return
        sizes = {one.record: one.n_configurations for one in rescued.kept}
        self.lose(name, [_lost(name, record, one, sizes[record]) for record, one in rescued.lost.items()], reason)
        if rescued.staged is not None and rescued.staged.segment is not None:
            self.show_again(name, rescued, rescued.staged, rescued.staged.segment)

    def show_again(self, name: str, rescued: Rescued, staged: Staged, new: str) -> None:
        """The saved calculations in their new segment as they were shown before: hidden, amended or as stored."""
        wanted = {content: record for content, record in staged.wanted.items() if (name, record) not in self.hidden}
        self.staged.append(Staged(new, wanted))
        for record, stored in rescued.saved.items():
            if (name, record) in self.hidden:
                self.retract.append((new, record, self.hidden[name, record]))
            if revision := self.present.get((name, record)):
                self.amend.append(_amended(new, record, stored, revision))

    def lose(self, name: str, gone: Iterable[Lost], reason: str) -> None:
        """Retract what is lost, unless another segment holds it too, hidden because this one showed it."""
        twins = self.twins()
        for one in gone:
            if (name, one.record) in self.hidden:
                continue
            if one.record in twins:
                self.restore.append((twins[one.record], one.record))
                continue
            self.lost.append(one)
            if one.record:
                self.retract.append((name, one.record, reason))

    def twins(self) -> dict[str, str]:
        """Segments of hidden calculations by their record."""
        well = [name for name in self.head.segments if name not in self.places]
        kept = (one for name in well for one in CalculationIndex(self.store, name, self.inventory.segments[name]))
        return {one.record: one.segment for one in kept if (one.segment, one.record) in self.hidden}


def _lost(segment: str, record: str, one: Calculation, n_configurations: int) -> Lost:
    sources = tuple(source.path for source in one.sources if source.role != "companion")
    return Lost(one.path, segment, record, n_configurations, sources)


def _amended(segment: str, record: str, stored: Calculation, revision: Revision) -> Amended:
    return Amended(segment, record, effective(stored, revision), revision.skip)
