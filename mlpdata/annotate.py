"""Annotate: say of stored calculations, afterwards, what their files do not say. What was said before stays on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpdata.errors import NotFound, UsageError
from mlpdata.query import ids_of, run_sql
from mlpdata.said.words import field_named, meaning
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.sidecar import Sidecar
from mlpdata.store.amendments import Amended, Key
from mlpdata.store.columns import binary16
from mlpdata.store.commit import Repository
from mlpdata.store.snapshot import OpenSnapshot

ATTRIBUTES = {"kind": "kind", "temperature": "temperature_target", "group": "group", "license": "license",
              "citation": "citation", "system": "system"}  # fmt: skip
"""Attributes of a calculation that can be annotated, by the field of a sidecar that declares them."""
KNOWN = ", ".join([*ATTRIBUTES.values(), "tag.NAME"])
"""All that can be annotated, for messages."""
RULES = ("file", "folder")
"""What `group` means in a sidecar beside names; a run that was read cannot ask for its folder."""

Statements = Mapping[str, Any]
"""Values by field of a sidecar, `tags.NAME` for a tag; None takes back what was declared."""


@dataclass(frozen=True)
class Annotated:
    """One calculation that is shown otherwise now."""

    path: str
    id: str
    changes: Mapping[str, tuple[Any, Any]]
    """Old and new value by field."""


@dataclass
class AnnotateReport:
    """What an annotation named and what it changed."""

    n_calculations: int
    """How many calculations the query named."""
    n_configurations: int
    """How many configurations they have."""
    changed: list[Annotated] = field(default_factory=list)
    """Those of which anything is said that was not said before."""
    dry_run: bool = False
    snapshot: str = ""
    """Id of the snapshot that shows it; the current one where nothing changed."""
    content: str = ""
    """Of that snapshot."""

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        changed = [
            {"path": one.path, "id": one.id, "changes": {name: list(both) for name, both in one.changes.items()}}
            for one in self.changed
        ]
        return {**vars(self), "changed": changed}


def annotate(
    store: str | Path,
    query: str,
    changes: Mapping[str, str | float | None],
    *,
    by: str = "",
    why: str = "",
    whole: bool = False,
    dry_run: bool = False,
) -> AnnotateReport:
    """Change attributes of stored calculations in a new snapshot; no array is written.

    Args:
        store: folder of the store.
        query: a SELECT with the column `calculation_id`, or `id` of configurations.
        changes: by attribute, kind, temperature_target [K], group, license, citation, system, or tag.NAME; an empty
            value takes back what was declared, so that what is stored holds again.
        by: who says so, for the record.
        why: the reason, for the record.
        whole: where the query names some configurations of a calculation, all of them are meant.
        dry_run: work out what would change, and change nothing.

    Raises:
        UsageError: an unknown attribute or value, or a query that names nothing or a part of a calculation.
        LicenseError: no SPDX expression.
        StoreError: the store refuses; nothing was changed.
    """
    said = statements(changes)
    repository = Repository.open(store)
    snapshot = repository.snapshot()
    answer = run_sql(snapshot, query, splits=Path(store).absolute().parent / "splits")
    named = _named(snapshot, answer, whole)
    amended, changed = _amended(snapshot, list(named), said, by)
    report = AnnotateReport(len(named), sum(named.values()), changed, dry_run)
    record = snapshot.record
    if not dry_run:
        values = ", ".join(f"{name}={'' if value is None else value}" for name, value in changes.items())
        message = f"annotated {len(changed)} of {len(named)} calculations: {values}"
        record = repository.commit(amend=amended, by=by, why=why, message=message)
    report.snapshot, report.content = record.id, record.content
    return report


def statements(changes: Mapping[str, str | float | None]) -> Statements:
    """What is said, by field of a sidecar, its values understood.

    Raises:
        UsageError: an unknown attribute or value, or nothing at all.
    """
    if not changes:
        raise UsageError(f"expected something to say, such as kind=aimd, found nothing. Known are {KNOWN}.")
    words = {attribute: name for name, attribute in ATTRIBUTES.items()}
    said: dict[str, Any] = {}
    for attribute, value in changes.items():
        name = words.get(attribute) or (field_named(attribute) if attribute.startswith("tag.") else None)
        if name is None:
            raise UsageError(f"expected one of {KNOWN}, found {attribute!r}.")
        text = "" if value is None else str(value).strip()
        if name == "group" and text in RULES:
            raise UsageError(
                f"group: expected a name, found {text!r}, which is a rule of mlpdata.yaml. Name the group."
            )
        said[name] = meaning(name, text) if text else None
    return said


def _named(snapshot: OpenSnapshot, answer: pa.Table, whole: bool) -> dict[Key, int]:
    """The calculations that a query names, and how many configurations each shows."""
    columns = ["id", "segment", "calculation_id", "calculation_record", "path"]
    shown = snapshot.table("configurations", columns)
    of_runs = "calculation_id" in answer.column_names
    if of_runs:
        shown = _of_runs(shown, answer["calculation_id"])
    if "id" in answer.column_names or not of_runs:
        ids = ids_of(answer)
        snapshot.rows(ids)  # each is there
        named = pc.is_in(shown["id"], binary16(ids))
    else:
        named = pa.array(np.ones(len(shown), bool))
    runs = shown.append_column("named", named).group_by(["segment", "calculation_record", "path"])
    counted = runs.aggregate([("named", "sum"), ("named", "count")]).to_pylist()
    rows = [row for row in counted if row["named_sum"]]
    if not whole:
        _refuse_parts([row for row in rows if row["named_sum"] < row["named_count"]])
    segments = snapshot.state.segments
    return {(segments[row["segment"]], row["calculation_record"]): row["named_count"] for row in rows}


def _of_runs(shown: pa.Table, names: pa.ChunkedArray) -> pa.Table:
    """The configurations of the calculations `names`."""
    if not pa.types.is_string(names.type):
        raise UsageError("expected the column calculation_id to hold ids of calculations, found something else.")
    wanted = names.unique()
    if not len(wanted):
        raise UsageError("expected at least one calculation, found none. No row of the snapshot is as the query asks.")
    missing = wanted.filter(pc.invert(pc.is_in(wanted, shown["calculation_id"].combine_chunks())))
    if len(missing):
        raise NotFound(f"expected a calculation of this snapshot, found no id {missing[0].as_py()}.")
    return shown.filter(pc.is_in(shown["calculation_id"], wanted))


def _refuse_parts(rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        first, others = rows[0], len(rows) - 1
        more = f", and parts of {others} more" if others else ""
        raise UsageError(
            f"expected whole calculations, found {first['named_sum']} of {first['named_count']} configurations of "
            f"{first['path']}{more}. --whole annotates all of the run."
        )


def _amended(
    snapshot: OpenSnapshot, keys: Sequence[Key], said: Statements, by: str
) -> tuple[list[Amended], list[Annotated]]:
    """Those calculations of which something is said that was not said before."""
    present = snapshot.calculations_of(keys)
    stored = snapshot.calculations_of(keys, amended=False)
    amended, changed = [], []
    for key in keys:
        before, after = present[key], annotated(present[key], stored[key], said, by)
        if after != before:
            amended.append(Amended(*key, after, snapshot.skipped(*key)))
            changed.append(Annotated(before.path, before.id, _changes(before, after, said)))
    return amended, changed


def annotated(present: Calculation, stored: Calculation, said: Statements, by: str) -> Calculation:
    """A record with what is said of it; what is taken back is again as stored."""
    who = f"annotated by {by}" if by else "annotated"
    declared, rests_on, tags = dict(present.declared), dict(present.rests_on), dict(present.tags)
    update: dict[str, Any] = {}
    for name, value in said.items():
        text = None if value is None else Sidecar.from_fields({name: value}).declared()[name]
        _put(declared, name, text, stored.declared)
        if name.startswith("tags."):
            _put(tags, name.removeprefix("tags."), value, stored.tags)
        else:
            update[ATTRIBUTES[name]] = getattr(stored, ATTRIBUTES[name]) if value is None else value
        _put(rests_on, _attribute(name), None if value is None else who, stored.rests_on)
    return present.replace(**update, tags=tags, declared=declared, rests_on=rests_on)


def _put(mapping: dict[str, str], name: str, value: str | None, stored: Mapping[str, str]) -> None:
    """Set a name, or put back what is stored under it."""
    value = stored.get(name) if value is None else value
    if value is None:
        mapping.pop(name, None)
    else:
        mapping[name] = value


def _attribute(name: str) -> str:
    """The field of a calculation that a field of a sidecar declares."""
    return ATTRIBUTES.get(name, "tags")


def _changes(before: Calculation, after: Calculation, said: Statements) -> dict[str, tuple[Any, Any]]:
    """Old and new value of what was annotated."""
    attributes = dict.fromkeys(map(_attribute, said))
    return {name: (getattr(before, name), getattr(after, name)) for name in attributes}
