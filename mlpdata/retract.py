"""Retract: hide calculations by hand, with a reason, from this snapshot on; earlier ones still show them.

A retraction is a tombstone: nothing is deleted, no ingest takes the same bytes again, and only `undo` lifts it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlpdata.digest import is_hex
from mlpdata.errors import NotFound, UsageError
from mlpdata.known import Key, Known, Reading
from mlpdata.query import run_sql
from mlpdata.relating import BY, WHY, amendments
from mlpdata.schema.method import Method
from mlpdata.schema.records import Snapshot
from mlpdata.store.commit import Repository
from mlpdata.store.snapshot import OpenSnapshot

SOMEBODY = "a user"
"""Who retracts where nobody is named: a tombstone by hand has a name."""
SHORTEST_PREFIX = 8
"""Digits of an id or a digest."""


class Which(NamedTuple):
    """What is meant; one of the three."""

    what: str | None = None
    """Path of a calculation or a source, or the start of a calculation's id or of a source's sha256."""
    code_version: str | None = None
    """A code and its version as the output states it, such as `vasp 6.3.0`."""
    query: str | None = None
    """A SELECT of calculation_id."""


class Tombstone(NamedTuple):
    """A calculation that a user retracted."""

    path: str
    calculation: str
    """Id."""
    n_configurations: int
    reason: str
    by: str
    time: str


@dataclass
class RetractReport:
    """What was hidden, or is shown again."""

    paths: list[str] = field(default_factory=list)
    """Of the calculations."""
    n_configurations: int = 0
    """How many configurations they have."""
    undo: bool = False
    dry_run: bool = False
    amended: int = 0
    """Calculations whose group, kind or chain is another without them."""
    snapshot: str = ""
    content: str = ""

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


def retract(
    store: str | Path, which: Which, reason: str, *, by: str = "", undo: bool = False, dry_run: bool = False
) -> RetractReport:
    """Hide calculations in a new snapshot, or show again what a user hid.

    Args:
        store: folder of the store.
        which: what is meant.
        reason: why, for the record.
        by: who, for the record.
        undo: show again.
        dry_run: work out what would be hidden, and change nothing.

    Raises:
        UsageError: no reason, not one thing meant, or a run of which the store shows another reading meanwhile.
        NotFound: no such calculation.
        StoreError: the store refuses; nothing was changed.
    """
    _refuse_unclear(which, reason, undo=undo)
    repository = Repository.open(store)
    known = Known(repository)
    snapshot = repository.snapshot()
    chosen = _chosen(snapshot, known, which, undo=undo)
    if undo:
        _refuse_rivals(known, chosen)
    report = RetractReport([one.path for one in chosen.values()], undo=undo, dry_run=dry_run)
    report.n_configurations = sum(snapshot.n_shown(*key) for key in chosen)
    record = snapshot.record
    if not dry_run:
        record, report.amended = _commit(repository, known, list(chosen), reason, by or SOMEBODY, undo=undo)
    report.snapshot, report.content = record.id, record.content
    return report


def tombstones(snapshot: OpenSnapshot) -> list[Tombstone]:
    """What users retracted of a store, in order of time and path."""
    by_hand = {(one.segment, one.calculation): one for one in snapshot.record.retracted if one.by_hand}
    found = [
        Tombstone(one.path, one.id, snapshot.n_shown(*key), by_hand[key].reason, by_hand[key].by, by_hand[key].time)
        for key, one in snapshot.calculations_of(by_hand).items()
    ]
    return sorted(found, key=lambda one: (one.time, one.path))


def _refuse_unclear(which: Which, reason: str, *, undo: bool) -> None:
    if sum(one is not None for one in which) != 1:
        raise UsageError("expected a calculation, a source, --code-version or --sql, found none or several.")
    if not (undo or reason.strip()):
        raise UsageError("expected a reason, found none. Give one by --reason: it stays on record.")
    if undo and which.query is not None:
        raise UsageError(
            "expected WHAT or --code-version with --undo, found --sql. SQL does not see what is retracted."
        )


def _chosen(snapshot: OpenSnapshot, known: Known, which: Which, *, undo: bool) -> dict[Key, Reading]:
    """The calculations that are meant, of those that are shown, or of those that a user hid."""
    hidden = {key: known.hidden[key] for key in known.retracted}
    there, elsewhere = (hidden, known.visible) if undo else (known.visible, hidden)
    found = meant(snapshot, there, which)
    if not found:
        other = "shown" if undo else "retracted already"
        state = f"only what is {other}" if meant(snapshot, elsewhere, which) else "none"
        listed = (
            "`mlpdata retract` lists what is retracted" if undo else 'Try: mlpdata sql "SELECT path FROM calculations"'
        )
        wanted = which.what or which.code_version or "the query"
        raise NotFound(f"expected calculations that {wanted!r} names, found {state}. {listed}.", path=snapshot.store)
    return found


def meant(snapshot: OpenSnapshot, readings: Mapping[Key, Reading], which: Which) -> dict[Key, Reading]:
    """Those of some calculations that are meant."""
    if which.what is not None:
        return named(readings, which.what)
    if which.code_version is not None:
        calculations = snapshot.calculations_of(readings)
        return {key: readings[key] for key, one in calculations.items() if _is_version(one.method, which.code_version)}
    return _answered(snapshot, readings, which.query or "")


def named(readings: Mapping[Key, Reading], what: str) -> dict[Key, Reading]:
    """Those with this path or source, or else those whose id or source's digest starts so.

    Raises:
        UsageError: several ids or digests start so.
    """
    found = {
        key: one for key, one in readings.items() if what == one.path or what in {file.path for file in one.sources}
    }
    if found or not (SHORTEST_PREFIX <= len(what) <= 64 and is_hex(what, len(what))):
        return found
    names: dict[str, set[Key]] = {}
    for key, one in readings.items():
        for name in (one.id, *(file.sha256 for file in one.sources)):
            if name.startswith(what):
                names.setdefault(name, set()).add(key)
    if len(names) > 1:
        raise UsageError(f"expected one id or digest that starts with {what}, found {len(names)}. Give more digits.")
    return {key: readings[key] for keys in names.values() for key in keys}


def _is_version(method: Method, wanted: str) -> bool:
    stated = f"{method.code} {method.code_version or ''}"
    return stated.split() == wanted.split() or stated.lower().split() == wanted.lower().split()


def _answered(snapshot: OpenSnapshot, readings: Mapping[Key, Reading], query: str) -> dict[Key, Reading]:
    """Those whose ids a query names.

    Raises:
        UsageError: a query without the column calculation_id.
    """
    answer = run_sql(snapshot, query, splits=snapshot.store.absolute().parent / "splits")
    if "calculation_id" not in answer.column_names:
        found = ", ".join(answer.column_names)
        raise UsageError(f"expected the column calculation_id, found {found}. Begin by SELECT calculation_id.")
    ids = set(answer["calculation_id"].to_pylist())
    return {key: one for key, one in readings.items() if one.id in ids}


def _refuse_rivals(known: Known, keys: Collection[Key]) -> None:
    """A run is shown once: what was read of it from other bytes since then must go before."""
    for key in keys:
        for rival in known.rivals(key):
            raise UsageError(
                f"expected no reading of {known.hidden[key].path}, found one of other bytes, which took its place. "
                f"Retract that first: mlpdata retract {rival.id[:12]}."
            )


def _commit(
    repository: Repository, known: Known, keys: list[Key], reason: str, user: str, *, undo: bool
) -> tuple[Snapshot, int]:
    """Hide or show, and work out anew how what is shown hangs together; the snapshot, and how many that changed."""
    hide = [] if undo else [(*key, reason) for key in keys]
    known.restored = keys if undo else []
    verb = "shown again" if undo else "retracted"
    message = f"{len(keys)} calculations {verb}" + (f": {reason}" if reason else "")
    n_amended = 0
    while True:
        head = repository.head()
        amended = amendments(repository, (), known, hide, user)
        snapshot = repository.commit(
            retract=hide, restore=known.restored, user=user, amend=amended, by=BY, why=WHY, message=message
        )
        n_amended += len(amended)
        if snapshot == head or (head is not None and snapshot.parents == (head.id,)):
            return snapshot, n_amended  # else another writer came between: what it brought may be related, too
