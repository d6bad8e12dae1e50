"""Merging: bring what another store holds into this one, and work out how the runs of both hang together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlpdata.known import Known
from mlpdata.relating import BY, WHY, amendments
from mlpdata.store.commit import Repository
from mlpdata.store.merge import merge as merge_histories


@dataclass
class MergeReport:
    """What a merge brought."""

    n_brought: int = 0
    """Calculations that are shown and were not before."""
    n_hidden: int = 0
    """Calculations that were shown and are no longer, as the other side says."""
    amended: int = 0
    """Calculations whose group, kind or chain is another beside what was brought."""
    conflicts: list[str] = field(default_factory=list)
    """What both sides changed, and which side counts."""
    kept_tags: list[str] = field(default_factory=list)
    """Tags that stand for other snapshots there; here they stay as they are."""
    n_configurations: int = 0
    """What the store shows afterwards."""
    snapshot: str = ""
    content: str = ""

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return dict(vars(self))


def merge(store: str | Path, other: str | Path) -> MergeReport:
    """Bring the history of the store `other` into `store`, which is made if there is none.

    Raises:
        NotFound: no store at `other`.
        CorruptError: something in the other store is damaged; nothing changed.
        StoreError: the store refuses; nothing changed.
    """
    theirs, repository = Repository.open(other), Repository.open_or_create(store)
    done = merge_histories(repository, theirs)
    report = MergeReport(len(done.brought), len(done.hidden), 0, done.conflicts, done.kept_tags)
    snapshot = done.snapshot
    if snapshot is not None and len(snapshot.parents) > 1:
        known, brought = Known(repository), set(done.brought)
        known.restored = [key for key in known.visible if key[1] in brought]
        amended = amendments(repository, (), known, ())
        snapshot = repository.commit(amend=amended, by=BY, why=WHY, message="related what was merged")
        report.amended = len(amended)
    if snapshot is not None:
        report.snapshot, report.content = snapshot.id, snapshot.content
        report.n_configurations = snapshot.n_configurations
    return report
