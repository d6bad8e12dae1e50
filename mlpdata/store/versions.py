"""The versions of a store: the current one, the log, and the one that a tag, the start of an id or a date names."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlpdata import digest
from mlpdata.errors import CorruptError, NotFound
from mlpdata.schema.records import Snapshot
from mlpdata.store import layout, refs
from mlpdata.store.keeper import keeper
from mlpdata.store.snapshot import OpenSnapshot

EMPTY = "empty"
"""What HEAD says before the first commit."""


class Versions:
    """What a store has shown.

    Args:
        path: folder of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def head(self) -> Snapshot | None:
        """The current snapshot; None before the first commit."""
        path = self.path / layout.HEAD
        try:
            name = keeper(path).pointer(path)
        except OSError as error:
            raise CorruptError(f"expected HEAD, found: {error.strerror}. Restore the file.", path=path) from error
        return None if name == said(None) else self.read(refs.named_id(name, path))

    def read(self, snapshot: str) -> Snapshot:
        """The snapshot with the full id `snapshot`."""
        return layout.read_record(Snapshot, layout.snapshot_file(self.path, snapshot), snapshot)

    def log(self) -> Iterator[Snapshot]:
        """The snapshots that led to the current one, newest first."""
        return self.log_of(self.head())

    def log_of(self, head: Snapshot | None) -> Iterator[Snapshot]:
        """A snapshot and those that led to it, newest first."""
        waiting = [] if head is None else [(_backwards(head.time), head.id, head)]
        seen = {entry[1] for entry in waiting} | set(head.lost if head is not None else ())
        while waiting:
            _, _, snapshot = heapq.heappop(waiting)
            yield snapshot
            for parent in snapshot.parents:
                if parent not in seen:
                    seen.add(parent)
                    record = self.read(parent)
                    heapq.heappush(waiting, (_backwards(record.time), parent, record))

    def versions(self) -> Iterator[Snapshot]:
        """Every snapshot that HEAD, a tag or one of their descendants names, once."""
        head = self.head()
        waiting = [*self.tags().values(), *([head.id] if head is not None else [])]
        seen = set(waiting)
        while waiting:
            snapshot = self.read(waiting.pop())
            yield snapshot
            waiting += [one for one in snapshot.parents if one not in seen]
            seen.update(snapshot.parents)

    def snapshot(self, at: str | None = None) -> OpenSnapshot:
        """The current snapshot, or the one that `at` names, opened for reading.

        Args:
            at: a tag, an id, the first 8 or more digits of one, or an ISO date: the last snapshot up to then.

        Raises:
            NotFound: no such snapshot, or none at all yet.
        """
        record = self.head() if at is None else self._named_by(at)
        if record is None:
            raise NotFound("expected a snapshot, found an empty store. `mlpdata ingest` fills it.", path=self.path)
        return OpenSnapshot(self.path, record)

    def tags(self) -> dict[str, str]:
        """Snapshot ids by tag."""
        return refs.read_tags(self.path)

    def _named_by(self, at: str) -> Snapshot:
        tagged = refs.tagged(self.path, at)
        if tagged is not None:
            return self.read(tagged)
        return self._by_prefix(at) or self._by_date(at)

    def _by_prefix(self, at: str) -> Snapshot | None:
        if not (refs.SHORTEST_PREFIX <= len(at) <= 64 and digest.is_hex(at, len(at))):
            return None
        names = keeper(self.path).names(self.path / layout.SNAPSHOTS)
        found = [name.removesuffix(".json") for name in names if name.startswith(at) and name.endswith(".json")]
        if len(found) > 1:
            raise NotFound(
                f"expected one snapshot, found {len(found)} that begin with {at}. Give more digits.", path=self.path
            )
        return self.read(found[0]) if found else None

    def _by_date(self, at: str) -> Snapshot:
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            moment = None
        if moment is None:
            raise NotFound(
                f"expected a tag, at least 8 digits of an id, or a date such as 2026-01-31, found {at!r}. "
                "`mlpdata log` lists the snapshots.",
                path=self.path,
            )
        if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", at):
            moment += timedelta(days=1, microseconds=-1)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        for snapshot in self.log():
            if _moment(snapshot.time) <= moment:
                return snapshot
        raise NotFound(f"expected a snapshot of {at} or before, found none. `mlpdata log` lists them.", path=self.path)


def said(snapshot: Snapshot | None) -> bytes:
    """What HEAD or a tag says of a snapshot; None before the first commit."""
    return f"{EMPTY if snapshot is None else snapshot.id}\n".encode()


def _moment(time: str) -> datetime:
    moment = datetime.fromisoformat(time)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _backwards(time: str) -> float:
    return -_moment(time).timestamp()
