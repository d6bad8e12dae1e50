"""Attribute changes: calculations that came, went, or say other things of themselves in another snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpdata.store.snapshot import OpenSnapshot

ATTRIBUTES = (
    "path", "method_id", "license", "citation", "kind", "group", "system", "temperature_target", "continues", "status",
    "run_kind", "energy_kind", "forces_are", "tags", "sha256", "reader",
)  # fmt: skip
"""What is compared of a calculation; `sha256` and `reader` are those of its first source."""
METHOD = "method_id"
_COLUMNS = [
    "calculation_id",
    "calculation_record",
    "content",
    *(name for name in ATTRIBUTES if name not in ("sha256", "reader")),
]


class Change(NamedTuple):
    """One attribute that calculations have with another value."""

    name: str
    old: Any
    new: Any
    paths: tuple[str, ...]
    """Of the calculations."""

    def as_json(self) -> dict[str, Any]:
        """The change as JSON values."""
        return {"attribute": self.name, "old": self.old, "new": self.new, "calculations": list(self.paths)}


class MethodChange(NamedTuple):
    """A level of theory, or its settings, in place of another."""

    old: str
    """Id."""
    new: str
    settings: Mapping[str, tuple[Any, Any]]
    """Old and new value of what differs."""
    paths: tuple[str, ...]
    """Of the calculations."""

    def as_json(self) -> dict[str, Any]:
        """The change as JSON values."""
        settings = {name: list(both) for name, both in self.settings.items()}
        return {"old": self.old, "new": self.new, "settings": settings, "calculations": list(self.paths)}


@dataclass(frozen=True)
class AttributeChanges:
    """What calculations of two snapshots say of themselves, and which came and went."""

    added: tuple[str, ...] = ()
    """Paths of calculations that the later one alone shows."""
    removed: tuple[str, ...] = ()
    changed: tuple[Change, ...] = ()
    methods: tuple[MethodChange, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The changes as JSON values."""
        return {
            "calculations": {"added": list(self.added), "removed": list(self.removed)},
            "attributes": [one.as_json() for one in self.changed],
            "methods": [one.as_json() for one in self.methods],
        }


def attribute_changes(before: OpenSnapshot, after: OpenSnapshot, related: pa.Table) -> AttributeChanges:
    """Compare the calculations of two snapshots.

    Args:
        before: the earlier one.
        after: the later one.
        related: pairs of ids, columns `old` and `new`, of calculations that have a geometry in common: where one is
            gone and the other has come, the one took the place of the other.
    """
    old, new = (snapshot.table("calculations", _COLUMNS).combine_chunks() for snapshot in (before, after))
    old_ids, new_ids = (side["calculation_id"].combine_chunks() for side in (old, new))
    gone, come = pc.invert(pc.is_in(old_ids, new_ids)), pc.invert(pc.is_in(new_ids, old_ids))
    took = pc.and_(pc.is_in(related["old"], old_ids.filter(gone)), pc.is_in(related["new"], new_ids.filter(come)))
    pairs = pa.table({"old": old_ids, "new": old_ids}).filter(pc.invert(gone))
    pairs = pa.concat_tables([pairs, related.select(["old", "new"]).filter(took)])
    first, second = (
        side.take(pc.index_in(pairs[name].combine_chunks(), ids))
        for side, name, ids in ((old, "old", old_ids), (new, "new", new_ids))
    )
    differ = pc.not_equal(first["content"], second["content"])
    first, second = _comparable(before, first.filter(differ)), _comparable(after, second.filter(differ))
    changes = [change for name in ATTRIBUTES for change in _changes(name, first[name], second[name], second["path"])]
    return AttributeChanges(
        _paths(new, come),
        _paths(old, gone),
        tuple(one for one in changes if one.name != METHOD),
        tuple(_method_changes(before, after, [one for one in changes if one.name == METHOD])),
    )


def _paths(calculations: pa.Table, chosen: pa.BooleanArray) -> tuple[str, ...]:
    return tuple(sorted(calculations["path"].filter(chosen).to_pylist()))


def _comparable(snapshot: OpenSnapshot, calculations: pa.Table) -> pa.Table:
    """Calculations with `ATTRIBUTES` as columns of single values."""
    sources = snapshot.table("sources", ["calculation_record", "source_index", "sha256", "reader", "reader_version"])
    sources = sources.filter(pc.equal(sources["source_index"], 0))
    records = calculations["calculation_record"].combine_chunks()
    sources = sources.take(pc.index_in(records, sources["calculation_record"].combine_chunks()))
    version = pc.cast(sources["reader_version"], pa.string())
    tags = [_as_text(one) for one in calculations["tags"].to_pylist()]
    return (
        calculations.drop_columns(["tags"])
        .append_column("tags", pa.array(tags, pa.string()))
        .append_column("sha256", sources["sha256"])
        .append_column("reader", pc.binary_join_element_wise(sources["reader"], version, " "))
    )


def _as_text(tags: Sequence[tuple[str, str]]) -> str:
    return ",".join(f"{name}={value}" for name, value in tags)


def _changes(name: str, old: pa.ChunkedArray, new: pa.ChunkedArray, paths: pa.ChunkedArray) -> list[Change]:
    """What one attribute was and is, each pair of values once, the commonest first."""
    both = pa.chunked_array([*old.chunks, *new.chunks], old.type).combine_chunks().dictionary_encode("encode")
    values, codes = both.dictionary, np.asarray(both.indices, np.int64)
    was, now = codes[: len(old)], codes[len(old) :]
    differ = np.flatnonzero(was != now)
    pairs = was[differ] * len(values) + now[differ]
    order = np.argsort(pairs, kind="stable")
    starts = np.flatnonzero(np.diff(pairs[order], prepend=-1))
    groups = np.split(differ[order], starts[1:]) if len(starts) else []
    found = [
        Change(name, values[was[some[0]]].as_py(), values[now[some[0]]].as_py(), tuple(paths.take(some).to_pylist()))
        for some in groups
    ]
    return sorted(found, key=lambda one: -len(one.paths))


def _method_changes(before: OpenSnapshot, after: OpenSnapshot, changes: Sequence[Change]) -> Iterator[MethodChange]:
    """The settings that differ, where a method took the place of another."""
    if changes:
        old, new = (_methods(snapshot) for snapshot in (before, after))
        for one in changes:
            mine, others = old[one.old], new[one.new]
            names = [name for name in {**mine, **others} if mine.get(name) != others.get(name)]
            settings = {name: (mine.get(name), others.get(name)) for name in names}
            yield MethodChange(one.old, one.new, settings, one.paths)


def _methods(snapshot: OpenSnapshot) -> dict[str, dict[str, Any]]:
    """The records of the methods by id."""
    table = snapshot.table("methods", ["method_id", "json"])
    return {name: json.loads(text) for name, text in zip(*(one.to_pylist() for one in table.columns), strict=True)}
