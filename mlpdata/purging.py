"""Purging: delete calculations for good, as where a license was withdrawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlpdata.errors import NotFound, UsageError
from mlpdata.known import Known
from mlpdata.retract import Which, meant
from mlpdata.store.commit import Repository
from mlpdata.store.upkeep import purge as purge_records


@dataclass
class PurgeReport:
    """What was deleted, or would be."""

    paths: list[str]
    """Of the calculations."""
    n_configurations: int = 0
    """Shown before, and no longer."""
    unreadable: list[str] = field(default_factory=list)
    """Snapshots that show something of it and no longer read."""
    dry_run: bool = False
    snapshot: str = ""
    content: str = ""

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


def purge(store: str | Path, which: Which, reason: str, *, dry_run: bool = False) -> PurgeReport:
    """Delete calculations, shown or hidden, from every file of a store.

    Args:
        store: folder of the store.
        which: what is meant.
        reason: why, for the record.
        dry_run: say what would be deleted, and delete nothing.

    Raises:
        UsageError: no reason, or not one thing meant.
        NotFound: no such calculation.
        CorruptError: something beside them is damaged; nothing was deleted.
        StoreError: the store refuses.
    """
    if sum(one is not None for one in which) != 1:
        raise UsageError("expected a calculation, a source, --code-version or --sql, found none or several.")
    if not reason.strip():
        raise UsageError("expected a reason, found none. Give one by --reason: it stays on record.")
    repository = Repository.open(store)
    known, snapshot = Known(repository), repository.snapshot()
    found = meant(snapshot, {**known.visible, **known.hidden}, which)
    if not found:
        raise NotFound("expected calculations of the store, found none that are meant.", path=snapshot.store)
    report = PurgeReport(sorted({one.path for one in found.values()}), dry_run=dry_run)
    report.n_configurations = sum(snapshot.n_shown(*key) for key in found if key in known.visible)
    record = snapshot.record
    if not dry_run:
        done = purge_records(repository, {record: reason for _, record in found})
        report.unreadable, record = done.unreadable, repository.read(done.snapshot)
    report.snapshot, report.content = record.id, record.content
    return report
