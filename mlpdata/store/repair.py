"""Repair a store: from a second copy, from files of the same content, or from what the rest of it says.

Every file is proven by the sha256 that names it or that its segment records, before it takes the place of the damaged
one by rename. What cannot be mended is left as it is, or given up where that is asked for: see `giving_up`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlpdata import digest, durable
from mlpdata.errors import CorruptError, NotFound, UsageError
from mlpdata.store import derive, layout
from mlpdata.store.commit import Repository
from mlpdata.store.giving_up import Lost, Rescued, give_up
from mlpdata.store.inventory import Fault, Inventory, files_of
from mlpdata.store.layout import FileRecord
from mlpdata.store.mending import Mended, Mender, mender, nearest
from mlpdata.store.salvage import salvaged
from mlpdata.store.verify import Progress, verify

COPY, BIT, NEAREST = "the copy", "one bit that was flipped", "the only snapshot of nearly that name"
LAST, CHOSEN, REST = (
    "the only snapshot that no other follows",
    "the snapshot that was chosen",
    "the rest of the segment",
)
"""Where bytes may come from."""


@dataclass
class RepairReport:
    """What became of what was damaged."""

    mended: list[Mended] = field(default_factory=list)
    """Files that are again as they were written."""
    aside: list[str] = field(default_factory=list)
    """Damaged files and strangers, where they lie now."""
    faults: list[Fault] = field(default_factory=list)
    """What is still damaged."""
    lost: list[Lost] = field(default_factory=list)
    """Calculations that were given up."""
    notes: list[str] = field(default_factory=list)
    """What else was given up."""
    snapshot: str = ""
    """The new current snapshot, where something was given up."""

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            **vars(self),
            "mended": [vars(one) for one in self.mended],
            "faults": [one.as_json() for one in self.faults],
            "lost": [one.as_json() for one in self.lost],
        }


def repair(
    path: Path | str,
    copy: Path | str | None = None,
    *,
    drop: bool = False,
    head: str = "",
    progress: Progress | None = None,
) -> RepairReport:
    """Mend what is damaged in the store at `path`.

    Args:
        path: folder of the store.
        copy: folder of a second copy of it, older or newer.
        drop: give up what cannot be mended: a new snapshot shows the rest.
        head: the beginning of the id of the snapshot that HEAD shall name, where HEAD is damaged and several could be.
        progress: called before each file that is read.

    Raises:
        NotFound: there is no store, or no such copy or snapshot.
        UsageError: HEAD is damaged and `head` does not tell which snapshot it named.
        StoreError: the disk refused; nothing is worse than it was.
    """
    store, other = Path(path), Path(copy) if copy is not None else None
    if other is not None and not other.is_dir():
        raise NotFound("expected a second copy of the store, found no such folder.", path=other)
    Inventory(store)  # says where there is no store
    durable.refuse_network(store)
    with mender(store) as hand:
        return _Repair(store, other, hand, drop=drop, head=head, progress=progress).run()


class _Repair:
    """One repair."""

    def __init__(
        self, store: Path, copy: Path | None, hand: Mender, *, drop: bool, head: str, progress: Progress | None
    ) -> None:
        self.store, self.copy, self.hand = store, copy, hand
        self.drop, self.head, self.progress = drop, head, progress
        self.rescued: dict[str, Rescued] = {}
        self.notes: list[str] = []

    def run(self) -> RepairReport:
        inventory = self.records()
        found = verify(self.store, progress=self.progress)
        left = self.files(inventory, [*found.faults, *found.lost])
        report = RepairReport(self.hand.mended, self.hand.aside, _unknown(inventory, left), notes=self.notes)
        if self.drop and report.faults:
            report.lost, notes, report.snapshot = give_up(inventory, report.faults, self.rescued)
            report.notes += notes
            report.faults = _unknown(Inventory(self.store), report.faults)
        return report

    def records(self) -> Inventory:
        """Mend snapshots, amendments and records of segments, whichever these name in turn; then HEAD and the tags."""
        tried: set[str] = set()
        while True:
            inventory = Inventory(self.store)
            paths = [fault.path for fault in inventory.faults if fault.path not in tried]
            tried.update(paths)
            if not [path for path in paths if self.record(inventory, Path(path))]:
                break
        self.tags(inventory)
        if inventory.head is None and inventory.faults:
            self.current(inventory)
        elif self.head:
            raise UsageError("expected HEAD to be damaged where --head is given, found it well.", path=self.store)
        return Inventory(self.store)

    def record(self, inventory: Inventory, path: Path) -> bool:
        """Mend a record that is named by its sha256; whether that could be done."""
        name = inventory.name_of(path)
        if not name:
            return False
        if self.copy is not None and self.hand.put(path, self.copy / path.relative_to(self.store), name, COPY):
            return True
        whole = derive.one_bit_back(_content(path), name)
        if whole is not None:
            return self.hand.put(path, whole, name, BIT)
        if path.name == layout.SEGMENT_RECORD:
            whole = derive.segment_record(path.parent, name)
        return whole is not None and self.hand.put(path, whole, name, REST)

    def tags(self, inventory: Inventory) -> None:
        """Mend tags that name no snapshot that is there."""
        folder = self.store / layout.REFS
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.endswith(".tmp") or inventory.tags.get(path.name) in inventory.snapshots:
                continue
            there = nearest(inventory.snapshots, _text(path))
            copied = _text(self.copy / layout.REFS / path.name) if self.copy is not None else ""
            if there is not None:
                self.hand.put_name(path, there, NEAREST)
            elif copied in inventory.snapshots:
                self.hand.put_name(path, copied, COPY)
            elif self.drop:
                self.hand.take_away(path)

    def current(self, inventory: Inventory) -> None:
        """Mend HEAD.

        Raises:
            UsageError: it could have named several snapshots.
        """
        path = self.store / layout.HEAD
        ends = {one.id: one for one in inventory.ends()}
        said, copied = _text(path), _text(self.copy / layout.HEAD) if self.copy is not None else ""
        if digest.is_hex(said) and nearest(ends, said) is None and (self.head or self.drop):
            self.notes.append(f"snapshot {said}, which HEAD named, is lost")
        if self.head:
            self.hand.put_name(path, self.chosen(inventory), CHOSEN)
        elif (there := nearest(ends, said)) is not None:
            self.hand.put_name(path, there, NEAREST)
        elif digest.is_hex(said) and not self.drop:
            return  # the snapshot that it names is damaged: nothing is wrong with HEAD
        elif copied in ends:
            self.hand.put_name(path, copied, COPY)
        elif len(ends) == 1:
            self.hand.put_name(path, next(iter(ends)), LAST)
        else:
            found = "; ".join(
                f"{one.id[:12]} of {one.time}, {one.n_configurations} configurations" for one in ends.values()
            )
            raise UsageError(
                f"expected one snapshot that no other follows, found {len(ends)}: {found or 'none'}. "
                "Name the one that HEAD held by --head.",
                path=path,
            )

    def chosen(self, inventory: Inventory) -> str:
        """The snapshot that the user names.

        Raises:
            NotFound: none, or several.
        """
        found = [name for name in inventory.snapshots if name.startswith(self.head)]
        if len(found) != 1:
            raise NotFound(f"expected one snapshot that begins with {self.head}, found {len(found)}.", path=self.store)
        return found[0]

    def files(self, inventory: Inventory, faults: Sequence[Fault]) -> list[Fault]:
        """Mend the files of segments; the faults that stay."""
        places: dict[str, set[str]] = {}
        strangers: set[str] = set()
        for fault in faults:
            name = inventory.name_of(Path(fault.path))
            if name in inventory.segments:
                folder = layout.segment_folder(self.store, name)
                place = Path(fault.path).relative_to(folder).as_posix()
                if place in files_of(inventory.segments[name]):
                    places.setdefault(name, set()).add(place)
                elif place not in (layout.SEGMENT_RECORD, "."):
                    strangers.add(fault.path)
        for path in sorted(strangers):
            self.hand.take_away(Path(path))
        mended = {*strangers, *(path for name, some in places.items() for path in self.segment(inventory, name, some))}
        return [fault for fault in faults if fault.path not in mended]

    def segment(self, inventory: Inventory, name: str, places: set[str]) -> set[str]:
        """Mend damaged files of a segment; the paths of those that could be mended."""
        folder, records = layout.segment_folder(self.store, name), files_of(inventory.segments[name])
        mended = {place for place in places if self.elsewhere(inventory, folder / place, records[place])}
        if places - mended:
            mended |= self.rest(inventory, name, places - mended)
        return {str(folder / place) for place in mended}

    def elsewhere(self, inventory: Inventory, path: Path, record: FileRecord) -> bool:
        """Mend a file from the copy, from a file of the same content in another segment, or by setting a bit back."""
        if self.copy is not None and self.hand.put(path, self.copy / path.relative_to(self.store), record.sha256, COPY):
            return True
        whole = derive.one_bit_back(_content(path), record.sha256)
        if whole is not None:
            return self.hand.put(path, whole, record.sha256, BIT)
        return any(
            self.hand.put(path, twin, record.sha256, str(twin.relative_to(self.store)))
            for twin in _twins(inventory, record)
            if twin != path and twin.is_file() and twin.stat().st_size == record.bytes
        )

    def rest(self, inventory: Inventory, name: str, places: set[str]) -> set[str]:
        """Mend files of a segment by storing what can be read of it once more; what is to be given up keeps the result."""
        segment, folder, mended = inventory.segments[name], layout.segment_folder(self.store, name), set()
        staging = self.hand.scratch.parent
        try:
            with salvaged(self.store, name, segment, places, staging) as found:
                finished = found.writer.finish()
                if finished is not None:
                    staged, new = finished
                    for place in sorted(places):
                        same = files_of(staged).get(place) == files_of(segment)[place]
                        if same and self.hand.put(folder / place, new / place, files_of(segment)[place].sha256, REST):
                            mended.add(place)
                shown = inventory.head is not None and name in inventory.head.segments
                if self.drop and shown and places - mended:
                    placed = Repository(self.store).adopt(found.writer)
                    self.rescued[name] = Rescued(placed, found.saved, found.lost, found.kept)
        except CorruptError:
            return mended
        return mended


def _unknown(inventory: Inventory, faults: Sequence[Fault]) -> list[Fault]:
    """The faults of what was not given up."""
    return [fault for fault in faults if not inventory.known(fault)]


def _twins(inventory: Inventory, record: FileRecord) -> Iterator[Path]:
    """Where files of this content should lie."""
    for name, segment in inventory.segments.items():
        for place, other in files_of(segment).items():
            if other.sha256 == record.sha256:
                yield layout.segment_folder(inventory.store, name) / place


def _content(path: Path) -> bytes:
    """The bytes of a damaged file that is small enough to try each bit; none of a larger one or a missing one."""
    return path.read_bytes() if path.is_file() and path.stat().st_size * 8 <= derive.MOST_BITS else b""


def _text(path: Path) -> str:
    """What HEAD or a tag says, without the end of its line; empty where it cannot be read."""
    try:
        return path.read_bytes().decode("ascii", "replace").removesuffix("\n")
    except OSError:
        return ""
