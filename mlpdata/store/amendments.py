"""Amendments: attributes of stored calculations that were changed later, without writing their arrays again.

A calculation stays named by the digest of its record as stored. A revision holds all that differs from that record, so
the last one alone says what is shown: the effective record.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mlpdata import digest
from mlpdata.errors import NotFound, UsageError
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.noun import from_stored
from mlpdata.schema.records import Amendment, AmendmentHistory, Attributes, Revision, Step
from mlpdata.store import checked, layout
from mlpdata.store.index import CalculationIndex, IdIndex, Ids, Kept
from mlpdata.store.keeper import keeper
from mlpdata.store.segment import read_segment

AMENDABLE = tuple(Attributes.__annotations__)
"""Fields of a calculation that may differ from what is stored; the others are what was read from its files."""
SKIP = "skip"
"""Stands among the fields of a history for the number of configurations hidden."""

Key = tuple[str, str]
"""Segment and digest of the record as stored."""


class Amended(NamedTuple):
    """A stored calculation as it shall be shown."""

    segment: str
    record: str
    """Digest of its record as stored."""
    calculation: Calculation
    """The effective record."""
    skip: int = 0
    """How many of its first configurations are hidden."""


class Revised(NamedTuple):
    """One step of the history of a calculation."""

    amendment: str
    """Id."""
    by: str
    """Who; empty where nobody is named."""
    time: str
    """UTC, ISO 8601."""
    why: str
    field: str
    """An attribute, or `skip`."""
    old: Any
    new: Any


class Amendments:
    """The amendments that a snapshot names.

    Args:
        records: by id, in the order of the snapshot.
    """

    def __init__(self, records: Iterable[tuple[str, Amendment]]) -> None:
        self._records = list(records)
        self.present: dict[Key, Revision] = {
            (revision.segment, revision.calculation): revision
            for _, amendment in self._records
            for revision in amendment.changes
        }
        """The revision that holds for each calculation that has one."""
        self._by_segment: dict[str, dict[str, Revision]] = {}
        for (segment, record), revision in self.present.items():
            self._by_segment.setdefault(segment, {})[record] = revision

    @classmethod
    def read(cls, store: Path, names: Iterable[str]) -> Amendments:
        """The amendments `names` of a store.

        Raises:
            CorruptError: one is missing or not what was written.
        """
        return cls(one for name in names for one in read_amendments(store, name))

    def history_record(self) -> AmendmentHistory:
        """All of them in one record."""
        return AmendmentHistory(steps=tuple(Step(id=name, amendment=one) for name, one in self._records if one.changes))

    def moved(self, segments: Mapping[str, str], hidden: Collection[Key]) -> Amendments:
        """The same for calculations that are now in other segments.

        Args:
            segments: by segment: the one that replaced it.
            hidden: calculations that are not shown. Of copies that came into one segment the one shown counts.
        """
        return Amendments(
            (name, amendment.model_copy(update={"changes": tuple(_moved(amendment.changes, segments, hidden))}))
            for name, amendment in self._records
        )

    def joined(self, other: Amendments) -> Amendments:
        """These, then those of `other` that are not among them."""
        mine = {name for name, _ in self._records}
        return Amendments([*self._records, *(one for one in other._records if one[0] not in mine)])

    def times(self) -> dict[Key, str]:
        """When the revision was made that holds for each calculation that has one."""
        return {
            (revision.segment, revision.calculation): amendment.time
            for _, amendment in self._records
            for revision in amendment.changes
        }

    def without(self, records: Collection[str]) -> Amendments:
        """The same but for those calculations that have one of these records."""
        return Amendments(
            (
                name,
                amendment.model_copy(
                    update={"changes": tuple(c for c in amendment.changes if c.calculation not in records)}
                ),
            )
            for name, amendment in self._records
        )

    def of(self, segment: str) -> dict[str, Revision]:
        """The revisions that hold for the calculations of a segment, by their record as stored."""
        return self._by_segment.get(segment, {})

    def history(self, key: Key, stored: Calculation) -> list[Revised]:
        """What each amendment changed of one calculation, the first one first."""
        steps, before = [], _state(stored, None)
        for name, amendment in self._records:
            for revision in amendment.changes:
                if (revision.segment, revision.calculation) == key:
                    after = _state(stored, revision)
                    steps += [
                        Revised(name, amendment.by, amendment.time, amendment.why, field, before[field], after[field])
                        for field in after
                        if before[field] != after[field]
                    ]
                    before = after
        return steps


def _moved(changes: Iterable[Revision], segments: Mapping[str, str], hidden: Collection[Key]) -> Iterator[Revision]:
    for one in changes:
        if one.segment not in segments:
            yield one
        elif (one.segment, one.calculation) not in hidden:
            yield one.model_copy(update={"segment": segments[one.segment]})


def read_amendments(store: Path, name: str) -> list[tuple[str, Amendment]]:
    """The amendment with the id `name`, or those of a history with that id.

    Raises:
        CorruptError: it is missing, or its bytes are not those that its name says.
        NewerSchema: a newer mlpdata wrote it.
    """
    path = layout.amendment_file(store, name)
    text = layout.read_named(path, name, "an amendment")
    if not text.startswith(b'{"schema_version":') or b'"steps":' not in text[:64]:
        return [(name, from_stored(Amendment, text, str(path)))]
    return [(one.id, one.amendment) for one in from_stored(AmendmentHistory, text, str(path)).steps]


def _state(stored: Calculation, revision: Revision | None) -> dict[str, Any]:
    """All that can be amended of a calculation, as a revision leaves it."""
    shown = effective(stored, revision)
    return {**{name: getattr(shown, name) for name in AMENDABLE}, SKIP: revision.skip if revision else 0}


def effective(stored: Calculation, revision: Revision | None) -> Calculation:
    """The record that is shown of a stored one; a revision's fields were validated when it was read."""
    return stored if revision is None else stored.model_copy(update=dict(revision.fields))


def revisions(store: Path, amended: Iterable[Amended]) -> list[Revision]:
    """What must be written so that stored calculations are shown as wanted.

    Raises:
        NotFound: there is no such calculation.
        UsageError: something differs that is no attribute, or more configurations are skipped than there are.
    """
    found: list[Revision] = []
    for segment, some in itertools.groupby(sorted(amended, key=lambda one: one.segment), lambda one: one.segment):
        stored = StoredCalculations(store, segment)
        found += [stored.revision(one) for one in some]
    return found


class StoredCalculations:
    """The calculations of one segment as stored, with the ids of their configurations.

    Raises:
        NotFound: no such segment.
        CorruptError: it is damaged.
    """

    def __init__(self, store: Path, segment: str) -> None:
        self.name = segment
        self._folder = layout.segment_folder(store, segment)
        if not (self._folder.is_dir() or keeper(store).fetch(self._folder / layout.SEGMENT_RECORD)):
            raise NotFound(f"expected a segment of this store, found no {segment[:12]}.", path=store)
        self._segment = read_segment(store, segment)
        self._index = CalculationIndex(store, segment, self._segment)

    def __contains__(self, record: str) -> bool:
        return self._index.get(record) is not None

    def revision(self, wanted: Amended) -> Revision:
        """The revision that shows a calculation as wanted."""
        kept, stored = self._stored(wanted.record)
        changed = {name: value for name, value in wanted.calculation if value != getattr(stored, name)}
        if strangers := sorted(set(changed) - set(AMENDABLE)):
            raise UsageError(
                f"expected to amend only {', '.join(AMENDABLE)}, found another {strangers[0]} for {stored.path}."
            )
        if not 0 <= wanted.skip <= kept.n_configurations:
            raise UsageError(
                f"expected to skip at most {kept.n_configurations} configurations of {stored.path}, "
                f"found {wanted.skip}."
            )
        revision = Revision(
            segment=self.name,
            calculation=wanted.record,
            fields=changed,
            skip=wanted.skip,
            content=digest.content_id(kept.content),
        )
        return revision.model_copy(update={"content": self._content(kept, stored, revision)})

    def content(self, revision: Revision) -> str:
        """What a calculation adds to content when it is shown as a revision says."""
        return self._content(*self._stored(revision.calculation), revision)

    def _content(self, kept: Kept, stored: Calculation, revision: Revision) -> str:
        if not revision.fields and not revision.skip:
            return digest.content_id(kept.content)
        rows = self._ids[kept.first_row + revision.skip : kept.first_row + kept.n_configurations]
        return digest.content_id(digest.shown(effective(stored, revision).record, rows))

    def _stored(self, record: str) -> tuple[Kept, Calculation]:
        row = self._index.row_of(record)
        if row is None:
            raise NotFound(
                f"expected a calculation of segment {self.name[:12]}, found no record {record[:12]} there.",
                path=self._folder,
            )
        return self._index.kept(row), from_stored(Calculation, self._json[row], str(self._folder))

    @functools.cached_property
    def _json(self) -> checked.Cells:
        path = self._folder / "calculations.parquet"
        return checked.Cells(path, layout.file_of(self._segment, path.name, path), "json")

    @functools.cached_property
    def _ids(self) -> Ids:
        return IdIndex(self._folder, self._segment).in_order()


Column = Callable[[Any, Revision], Any]
"""The effective value of a column, from the stored one."""


def _attribute(name: str) -> Column:
    return lambda old, revision: revision.fields.get(name, old)


def _tags(old: Any, revision: Revision) -> Any:
    return sorted(revision.fields["tags"].items()) if "tags" in revision.fields else old


def _config_type(old: Any, revision: Revision) -> Any:
    return revision.fields["tags"].get("config_type") if "tags" in revision.fields else old


def _json(old: Any, revision: Revision) -> Any:
    return digest.canonical_json({**json.loads(old), **revision.fields}).decode() if revision.fields else old


_OF_RUN = ("kind", "temperature_target", "group", "system", "license")
SHARED: dict[str, Column] = {
    **{name: _attribute(name) for name in _OF_RUN},
    "tags": _tags,
    "config_type": _config_type,
}
"""Columns that an amendment changes in the tables of calculations and of configurations alike."""
COLUMNS: dict[str, Column] = {
    **SHARED,
    "citation": _attribute("citation"),
    "continues": _attribute("continues"),
    "first_row": lambda old, revision: old + revision.skip,
    "n_configurations": lambda old, revision: old - revision.skip,
    "content": lambda _, revision: revision.content,
    "json": _json,
}
"""Columns that an amendment changes in the table of calculations."""


def effective_calculations(stored: pa.Table, revised: Mapping[str, Revision]) -> pa.Table:
    """The table of calculations, or columns of it with `calculation_record`, as revisions show it."""
    records = stored["calculation_record"].to_pylist()
    rows = [(row, revised[record]) for row, record in enumerate(records) if record in revised]
    for name in COLUMNS if rows else ():
        number = stored.schema.get_field_index(name)
        if number >= 0:
            field, values = stored.schema.field(number), stored[name].to_pylist()
            for row, revision in rows:
                values[row] = COLUMNS[name](values[row], revision)
            stored = stored.set_column(number, field, pa.array(values, field.type))
    return stored


def effective_configurations(stored: pa.Table, calculations: pa.Table) -> pa.Table:
    """The table of configurations with what each shares with its calculation as the effective table says it.

    Args:
        stored: as it was written.
        calculations: the effective table of all calculations of the segment.
    """
    owner = pc.index_in(stored["calculation_record"], calculations["calculation_record"].combine_chunks())
    for name in SHARED:
        number = stored.schema.get_field_index(name)
        if number >= 0:
            stored = stored.set_column(number, stored.schema.field(number), calculations[name].take(owner))
    return stored
