"""Provenance: from a result back to file and line, and from a source forward to all that rests on it.

Links are ids: a checkpoint names its view, a view its split, both name the content that a snapshot showed, and of each
configuration the snapshot knows file and line. A link that leads nowhere is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpdata.derived import Derived, Ids, derived_of, is_derived, read_derived
from mlpdata.digest import ID_BYTES, is_hex, sha256_file
from mlpdata.errors import NotFound, UsageError
from mlpdata.known import Key, Reading, reading_of
from mlpdata.query import run_sql
from mlpdata.retract import SHORTEST_PREFIX, named
from mlpdata.schema.records import Snapshot
from mlpdata.store.columns import binary16
from mlpdata.store.commit import Repository
from mlpdata.store.snapshot import OpenSnapshot
from mlpdata.store.state import State

LEARNED = ("train", "valid")
"""Parts of a view that a checkpoint depends on."""
LINKS = {"model": "checkpoint", "view": "view", "split": "split"}
"""What the links of a thing lead to, the nearest first."""
_COLUMNS = ["id", "calculation_record", "calculation_id", "path", "source_index", "source_line"]


class Link(NamedTuple):
    """One step of a chain."""

    what: str
    """checkpoint, view, split, snapshot, calculation, configuration."""
    name: str
    """Path, or when it was committed."""
    id: str
    note: str = ""


class Origin(NamedTuple):
    """Where configurations of one calculation were read."""

    calculation: str
    """Path."""
    calculation_id: str
    n_configurations: int
    source: str
    """Root-relative path of the file."""
    first_line: int | None
    """Line of the first of them."""
    last_line: int | None
    sha256: str
    """Of the file."""
    reader: str
    reader_version: int


@dataclass
class Trace:
    """The way back."""

    links: list[Link] = field(default_factory=list)
    """From the result to the calculation."""
    origins: list[Origin] = field(default_factory=list)
    """By path and line."""
    broken: list[str] = field(default_factory=list)
    """Links that lead nowhere, in words."""

    def as_json(self) -> dict[str, Any]:
        """The trace as JSON values."""
        rows = {name: [one._asdict() for one in getattr(self, name)] for name in ("links", "origins")}
        return {**rows, "broken": self.broken}


class Touched(NamedTuple):
    """Something that rests on configurations."""

    what: str
    path: str
    id: str
    parts: Mapping[str, int]
    """How many of them by part; of a checkpoint those it learned from."""


@dataclass
class Forward:
    """The way forward."""

    calculations: list[str]
    """Paths of those that are meant, hidden ones included."""
    n_configurations: int
    """Different ones."""
    touched: list[Touched] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What could not be asked, in words."""

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {**vars(self), "touched": [one._asdict() for one in self.touched]}


def trace(store: Path, what: str) -> Trace:
    """Walk back to file and line.

    Args:
        store: folder of the store; splits, views, models and results lie beside it.
        what: path or start of the id of a checkpoint, view, split, calculation, or the id of a configuration; path of a
            report or a source.

    Raises:
        NotFound: nothing is called so.
        UsageError: several things are.
    """
    repository = Repository.open(store)
    start = read_derived(Path(what)) if is_derived(Path(what)) else _by_id(derived_of(store.parent), what)
    if start is not None and not start.fault:
        return _of_derived(repository, start)
    try:
        return _of_stored(repository, what)  # outputs may be called *.json, too
    except NotFound:
        if start is None:
            raise
        return _of_derived(repository, start)


def _by_id(registry: Sequence[Derived], start: str) -> Derived | None:
    """The one thing whose id starts so."""
    if not (SHORTEST_PREFIX <= len(start) <= 64 and is_hex(start, len(start))):
        return None
    found = {one.id: one for one in registry if one.id.startswith(start)}
    if len(found) > 1:
        raise UsageError(f"expected one id that starts with {start}, found {len(found)}. Give more digits.")
    return next(iter(found.values()), None)


def _of_derived(repository: Repository, start: Derived) -> Trace:
    """The way back from a split, view, checkpoint or report."""
    answer = Trace()
    chain = _chain(start, derived_of(repository.path.parent), answer.broken)
    answer.links = [Link(one.what, str(one.path), one.id) for one in chain]
    holder = next((one for one in chain if one.parts), None)
    if holder is None:
        if not answer.broken:
            answer.broken.append(f"the {start.what} {start.path} names neither a view nor a split")
        return answer
    stated, content = start.rests_on.get("content"), holder.rests_on["content"]
    if stated not in {content, None}:
        answer.broken.append(
            f"the {start.what} names content {str(stated)[:12]}, its {holder.what} was made of {content[:12]}"
        )
    record = next((one for one in _records(repository) if one.content == content), None)
    if record is None:
        answer.broken.append(f"the {holder.what} names content {content[:12]}, which no snapshot of this store shows")
        return answer
    answer.links.append(_link(record))
    parts = [ids for name, ids in holder.parts.items() if start.what != "checkpoint" or name in LEARNED]
    ids = np.unique(np.concatenate(parts)) if parts else np.empty(0, f"S{ID_BYTES}")
    answer.origins, found = _origins(repository.snapshot(record.id), pc.field("id").isin(_as_arrow(ids)))
    if found < len(ids):
        answer.broken.append(
            f"the {holder.what} names {len(ids) - found} configurations that its content does not have"
        )
    return answer


def _chain(start: Derived, registry: Sequence[Derived], broken: list[str]) -> list[Derived]:
    """All that something rests on, nearest first; links that lead nowhere are added to `broken`."""
    chain = [start]
    for one in chain:  # it grows as links are followed
        if one.fault:
            broken.append(f"the {one.what} {one.path} cannot be read: {one.fault}")
        for link, kind in LINKS.items():
            name = one.rests_on.get(link)
            if name is None or any((other.what, other.id) == (kind, name) for other in chain):
                continue
            found = next((other for other in registry if (other.what, other.id) == (kind, name)), None)
            if found is None:
                broken.append(
                    f"the {one.what} {one.path} names the {kind} {name[:12]}, which does not lie in this project"
                )
            else:
                chain.append(found)
    return chain


def _of_stored(repository: Repository, what: str) -> Trace:
    """The way back from a configuration or a calculation."""
    answer = Trace()
    if (found := _configuration(repository, what)) is not None:
        record, name = found
        answer.links = [Link("configuration", "", name.hex()), _link(record)]
        answer.origins, _ = _origins(repository.snapshot(record.id), pc.field("id") == pa.scalar(name, pa.binary(16)))
        return answer
    for opened, readings in _stored(repository, what):
        for key, one in readings.items():
            shown = _last_that_shows(repository, key)
            answer.links += [Link("calculation", one.path, one.id, _state(repository, key))]
            if shown is None:
                answer.origins += _unshown(one, opened.n_shown(*key))
            else:
                answer.links.append(_link(shown))
                of_run = pc.field("calculation_record") == key[1]
                answer.origins += _origins(repository.snapshot(shown.id), of_run)[0]
    if not answer.links:
        raise NotFound(
            f"expected a checkpoint, view, split, report, configuration, calculation or source, found no {what!r}. "
            "Name its path, or at least 8 digits of its id.",
            path=repository.path,
        )
    return answer


def _configuration(repository: Repository, start: str) -> tuple[Snapshot, bytes] | None:
    """The newest snapshot that shows a configuration whose id starts so, and the id."""
    if not (SHORTEST_PREFIX <= len(start) <= 2 * ID_BYTES and is_hex(start, len(start))):
        return None
    query = f"SELECT DISTINCT id FROM configurations WHERE starts_with(lower(hex(id)), '{start}') LIMIT 2"  # noqa: S608  hexadecimal digits
    contents = set()
    for record in _records(repository):
        if record.content not in contents:
            contents.add(record.content)
            found = run_sql(repository.snapshot(record.id), query)["id"].to_pylist()
            if len(found) > 1:
                raise UsageError(
                    f"expected one configuration whose id starts with {start}, found several. Give more digits."
                )
            if found:
                return record, found[0]
    return None


def _stored(repository: Repository, what: str) -> Iterator[tuple[OpenSnapshot, dict[Key, Reading]]]:
    """Calculations with a name, hidden ones included, each in the newest snapshot that has its segment."""
    seen: set[str] = set()
    for record in _records(repository):
        if seen.issuperset(record.segments):
            continue
        with suppress(NotFound):  # a part of it was purged
            opened = repository.snapshot(record.id)
            readings = {
                (segment, stored): reading_of(one) for segment, stored, one, _ in opened.keyed() if segment not in seen
            }
            seen.update(record.segments, opened.state.segments)
            if found := named(readings, what):
                yield opened, found


def _records(repository: Repository) -> Iterator[Snapshot]:
    """Every snapshot of the history, the newest first, then those that only tags name."""
    seen = set()
    for record in repository.log():
        seen.add(record.id)
        yield record
    for name in repository.tags().values():
        if name not in seen:
            yield repository.read(name)


def _last_that_shows(repository: Repository, key: Key) -> Snapshot | None:
    for one in _records(repository):
        with suppress(NotFound):  # a part of it was purged
            state = State(repository.path, one)
            if key[0] in state.segments and key not in state.hidden:
                return one
    return None


def _state(repository: Repository, key: Key) -> str:
    """Why the current snapshot does not show a calculation; empty where it does."""
    head = repository.head()
    gone = [one for one in head.retracted if (one.segment, one.calculation) == key] if head is not None else []
    by = f" (by {gone[0].by}, {gone[0].time})" if gone and gone[0].by_hand else ""
    return f"hidden: {gone[0].reason}{by}" if gone else ""


def _link(record: Snapshot) -> Link:
    return Link("snapshot", record.time, record.id, f"content {record.content}")


def _origins(opened: OpenSnapshot, which: pc.Expression) -> tuple[list[Origin], int]:
    """Where the configurations that an expression selects were read, and how many different ones there are."""
    table = opened.dataset("configurations").to_table(columns=_COLUMNS, filter=which)
    key = ["calculation_record", "source_index"]
    groups = table.group_by(key).aggregate(
        [("source_line", "min"), ("source_line", "max"), ("path", "min"), ("calculation_id", "min"), ("path", "count")]
    )
    sources = opened.table("sources", [*key, "path", "sha256", "reader", "reader_version"])
    sources = sources.filter(pc.is_in(sources["calculation_record"], groups["calculation_record"].combine_chunks()))
    by_key = {(row["calculation_record"], row["source_index"]): row for row in sources.to_pylist()}
    found = []
    for row in groups.to_pylist():
        source = by_key[row["calculation_record"], row["source_index"]]
        found.append(
            Origin(
                row["path_min"], row["calculation_id_min"], row["path_count"], source["path"], row["source_line_min"],
                row["source_line_max"], source["sha256"], source["reader"], source["reader_version"],
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (one.calculation, one.source)), len(table["id"].unique())


def _unshown(reading: Reading, n_configurations: int) -> list[Origin]:
    """Of a calculation that no snapshot ever showed only the file is known."""
    source = reading.sources[0]
    return [
        Origin(
            reading.path, reading.id, n_configurations, source.path, None, None, source.sha256, source.reader,
            source.reader_version,
        )
    ]  # fmt: skip


def _as_arrow(ids: Ids) -> pa.Array:
    return binary16(np.frombuffer(ids.tobytes(), np.uint8).reshape(-1, ID_BYTES))


def trace_forward(store: Path, what: str) -> Forward:
    """Find the splits, views, checkpoints and reports that hold configurations of a calculation or a source.

    Args:
        store: folder of the store; what was made of it lies beside it.
        what: path or start of the id of a calculation; path, start of the sha256, or a copy of a source.

    Raises:
        NotFound: nothing is called so.
    """
    repository = Repository.open(store)
    found = list(_stored(repository, what))
    if not found and Path(what).is_file():
        found = list(_stored(repository, sha256_file(Path(what))))
    if not found:
        raise NotFound(
            f"expected a calculation or a source of this store, found no {what!r}. "
            "Name it as `mlpdata sql` does in the tables calculations and sources.",
            path=store,
        )
    parts = [opened.ids_of(*key, skipped=True) for opened, readings in found for key in readings]
    ids = np.unique(np.concatenate(parts).view(f"S{ID_BYTES}").reshape(-1))
    paths = sorted({one.path for _, readings in found for one in readings.values()})
    answer = Forward(paths, len(ids))
    answer.touched = list(_touched(derived_of(store.parent), ids, answer.broken))
    return answer


def _touched(registry: Sequence[Derived], ids: Ids, broken: list[str]) -> Iterator[Touched]:
    """Splits and views that hold some of `ids`; checkpoints and reports by the views and splits that they name."""
    there = {one.id: one for one in registry if one.what in ("split", "view")}
    counts = {name: _counted(one, ids) for name, one in there.items()}
    for one in registry:
        if one.fault:
            broken.append(f"the {one.what} {one.path} cannot be read: {one.fault}")
            continue
        if one.what in ("split", "view"):
            parts = counts[one.id]
        else:
            names = [one.rests_on[link] for link in ("view", "split") if link in one.rests_on]
            known = [name for name in names if name in there]
            if not known:
                broken.append(
                    f"the {one.what} {one.path} names {_what_it_names(names)}, which does not lie in this project: "
                    "whether it holds any is not known"
                )
                continue
            parts = counts[known[0]]
            if one.what == "checkpoint":
                parts = {name: number for name, number in parts.items() if name in LEARNED}
        if any(parts.values()):
            yield Touched(one.what, str(one.path), one.id, {name: n for name, n in parts.items() if n})


def _what_it_names(names: Collection[str]) -> str:
    return " and ".join(name[:12] for name in names) or "neither view nor split"


def _counted(one: Derived, ids: Ids) -> dict[str, int]:
    """How many of `ids` each part holds."""
    return {name: int(np.isin(part, ids).sum()) for name, part in one.parts.items()}
