"""Known: what a store holds already, and what an ingest does to it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlpdata.digest import ID_BYTES, sha256_json, sha256_start
from mlpdata.discover import Output
from mlpdata.readers.registry import precedence, reader_version
from mlpdata.said.sayings import ATTRIBUTES
from mlpdata.schema.calculation import Calculation, Status
from mlpdata.schema.records import Retraction
from mlpdata.schema.sidecar import Sidecar
from mlpdata.store.commit import Repository
from mlpdata.store.index import Ids
from mlpdata.store.snapshot import OpenSnapshot

VANISHED = "no longer in the tree"
UNREADABLE = "its file can no longer be read"
SUPERSEDED = "superseded by a newer reading"
DECLARED = ("declared ", "annotated ")
"""Begin what an attribute rests on that somebody declared."""
NO_IDS = np.empty((0, ID_BYTES), np.uint8)
"""Of no configurations."""
Key = tuple[str, str]
"""Segment, and digest of the record as stored."""


class File(NamedTuple):
    """What is remembered of a source: a store may have a hundred thousand."""

    path: str
    sha256: str
    bytes: int
    reader: str
    reader_version: int
    role: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What is remembered of a stored calculation."""

    path: str
    id: str
    run: str
    identity: str
    status: Status
    status_reason: str
    declared: Mapping[str, str]
    """What users said of it."""
    tags: Mapping[str, str]
    rests_on: Mapping[str, str]
    """Who said it."""
    image_of: str
    """Folder of the reaction path that it is an image of."""
    sources: tuple[File, ...]

    @property
    def outputs(self) -> frozenset[str]:
        """Digests of the outputs of the run, unreadable ones included, without companions, which runs may share."""
        return frozenset(source.sha256 for source in self.sources if source.role != "companion")

    @property
    def companions(self) -> frozenset[str]:
        """Digests of its companions."""
        return frozenset(source.sha256 for source in self.sources if source.role == "companion")


def reading_of(calculation: Calculation) -> Reading:
    """What is remembered of a calculation."""
    return Reading(
        calculation.path,
        calculation.id,
        calculation.run,
        calculation.identity,
        calculation.status,
        calculation.status_reason,
        calculation.declared,
        calculation.tags,
        {name: words for name, words in calculation.rests_on.items() if words.startswith(DECLARED)},
        calculation.image_of,
        tuple(
            File(one.path, one.sha256, one.bytes, sys.intern(one.reader), one.reader_version, one.role)
            for one in calculation.sources
        ),
    )


class Known:
    """What the store holds already, and what this ingest does to it.

    Args:
        repository: the store; None where there is none yet.
        exact: the snapshot shall show what the tree holds, and nothing else.
        replaces: another run under the name of one that is known takes its place.
    """

    def __init__(self, repository: Repository | None, *, exact: bool = False, replaces: bool = False) -> None:
        held = repository is not None and repository.head() is not None
        self.snapshot: OpenSnapshot | None = repository.snapshot() if repository is not None and held else None
        self.exact, self.replaces = exact, replaces or exact
        self.visible: dict[Key, Reading] = {}
        self.hidden: dict[Key, Reading] = {}
        for segment, record, calculation, hidden in self.snapshot.keyed(amended=not exact) if self.snapshot else ():
            (self.hidden if hidden else self.visible)[segment, record] = reading_of(calculation)
        annotated = self.snapshot.annotated() if self.snapshot is not None and not self.replaces else []
        self._before_annotation = {
            key: one.declared for key, one in self._stored(annotated).items() if key in self.visible
        }
        """What was declared of what somebody annotated later."""
        self.retracted: dict[Key, Retraction] = {}
        """What a user hides: it is neither restored nor taken again."""
        for retraction in self.snapshot.record.retracted if self.snapshot is not None else ():
            if retraction.by_hand:
                self.retracted[retraction.segment, retraction.calculation] = retraction
        self._withheld = {
            (digest, _number(self.hidden[key])): retraction
            for key, retraction in self.retracted.items()
            for digest in self.hidden[key].outputs
        }
        self.restored: list[Key] = []
        self._kept: set[Key] = set()
        self._superseded: set[Key] = set()
        self._claimed: set[str] = set()
        self._of_source: dict[str, list[Key]] = {}
        self._of_run: dict[str, list[Key]] = {}
        """Visible readings by id, by run, and by the paths of their outputs: none of these can be another."""
        for key, one in [*self.visible.items(), *self.hidden.items()]:
            for digest in one.outputs:
                self._of_source.setdefault(digest, []).append(key)
        for key, one in self.visible.items():
            for name in _names(one):
                self._of_run.setdefault(name, []).append(key)

    def _stored(self, keys: Sequence[Key]) -> dict[Key, Calculation]:
        """Calculations as they were stored."""
        return self.snapshot.calculations_of(keys, amended=False) if self.snapshot is not None and keys else {}

    def with_earlier_attributes(self, output: Output) -> Output:
        """An output with what was declared of the same file or run before, where nothing new is said of it.

        An exact sync declares everything anew: what the tree does not say no longer holds.
        """
        if self.exact:
            return output
        for key in [*self._of_source.get(output.sha256, []), *self._of_run.get(f"path {output.name}", [])]:
            if key in self.visible:
                earlier, said = self.visible[key], output.sidecar.declared()
                before = self._before_annotation.get(key)
                if before is not None:  # what a tree says as it did before somebody annotated it is nothing new
                    said = {name: value for name, value in said.items() if before.get(name) != value}
                new = {ATTRIBUTES.get(name) for name in said}
                rests_on = {name: words for name, words in output.rests_on.items() if name in new}
                return replace(
                    output,
                    sidecar=Sidecar.from_declared({**earlier.declared, **said}),
                    rests_on={**earlier.rests_on, **rests_on},
                )
        return output

    def is_copy(self, output: Output) -> bool:
        """Whether an earlier file of this search, by name, holds the same bytes: of identical files the first counts."""
        if output.sha256 in self._claimed:
            return True
        self._claimed |= {file.sha256 for file in output.files}
        return False

    def withheld(self, reading: Reading) -> Retraction | None:
        """Why a run is not taken: the user retracted what was read of it from the same bytes."""
        return self._withheld.get((reading.sources[0].sha256, _number(reading)))

    def withheld_file(self, output: Output) -> Retraction | None:
        """The same of an output that need not be read, as every run that it holds is retracted."""
        held = [self.visible.get(key) or self.hidden[key] for key in self._of_source.get(output.sha256, [])]
        why = [self._withheld.get((output.sha256, number)) for number in {_number(one) for one in held}]
        return why[0] if why and all(why) else None

    def rivals(self, key: Key) -> list[Reading]:
        """Visible readings of the run of a hidden one."""
        names = [name for name in _names(self.hidden[key]) if not name.startswith("path ")]
        return [self.visible[one] for one in dict.fromkeys(one for name in names for one in self._of_run.get(name, []))]

    def shows(self, output: Output) -> bool:
        """Whether the store shows this run under these attributes; an exact sync takes hidden readings back into view."""
        keys = dict.fromkeys(key for file in output.files for key in self._of_source.get(file.sha256, []))
        same = [
            key
            for key in keys
            if key not in self.retracted and self._same(output, self.visible.get(key) or self.hidden[key])
        ]
        shown = [key for key in same if key in self.visible]
        if shown and _are_of(output, [self.visible[key] for key in shown]):
            self._kept.update(shown)
            self._superseded.update(self._states_of(shown))
            return True
        if self.exact and not shown and (last := self._hidden_of(output, same)):
            self.restored += last
            self._kept.update(last)
            return True
        return self._shown_by_a_more_precise_file(output)

    def _states_of(self, shown: Sequence[Key]) -> set[Key]:
        """Other visible states of runs that are shown as they are: what a writer brought who read an earlier one."""
        same = {key for one in shown for key in self._of_run[f"id {self.visible[one].id}"]}
        return same.difference(shown)

    def _hidden_of(self, output: Output, same: Sequence[Key]) -> list[Key]:
        """Of hidden readings those of one segment that were read from these files, no more and no fewer."""
        for segment in dict.fromkeys(segment for segment, _ in reversed(same)):
            found = [key for key in same if key[0] == segment]
            if _are_of(output, [self.hidden[key] for key in found]):
                return found
        return []

    def _same(self, output: Output, reading: Reading) -> bool:
        """Same readers and same attributes; an ingest that says nothing new of a stored file changes nothing."""
        if any(source.reader_version != reader_version(source.reader) for source in reading.sources):
            return False
        if reading.image_of != output.group:  # the files around it tell, which come and go
            return False
        declared = output.sidecar.declared()
        if self.exact:
            names = {file.name for file in output.files}
            named = all(reading.rests_on.get(field) == words for field, words in output.rests_on.items())
            return (
                reading.sources[0].path in names
                and reading.declared == declared
                and named
                and reading.tags == output.tags
                and _is_of(reading, output)
            )
        return all(reading.declared.get(name) == value for name, value in declared.items())

    def _shown_by_a_more_precise_file(self, output: Output) -> bool:
        """Whether the run of a file that comes alone is there already, read from a file that prints more digits."""
        if self.exact or not output.run or output.others:
            return False
        return any(
            self.visible[key].run == output.run and precedence(self.visible[key].sources[0].reader) < output.precedence
            for key in self._of_run.get(f"run {output.run}", [])
        )

    def of_files(self, output: Output) -> list[Key]:
        """The calculations that were read from these very files."""
        keys = dict.fromkeys(key for file in output.files for key in self._of_source.get(file.sha256, []))
        return [key for key in keys if key in self.visible]

    def earlier(self, output: Output) -> list[Key]:
        """The calculations that were read from this run when all its files were others."""
        digests = {file.sha256 for file in output.files}
        names = [f"path {file.name}" for file in output.files] + ([f"run {output.run}"] if output.run else [])
        keys = dict.fromkeys(key for name in names for key in self._of_run.get(name, []))
        return [key for key in keys if not digests & self.visible[key].outputs]

    @staticmethod
    def changed_key(output: Output, earlier: Sequence[Key]) -> str:
        """Digest of all that shows whether an output is another run than the ones that were read before."""
        return sha256_json([output.key, sorted(record for _, record in earlier)])

    def has_grown(self, output: Output, earlier: Sequence[Key]) -> bool:
        """Whether the bytes that were read before are the beginning of a file as it is now."""
        sources = {source.path: source for key in earlier for source in self.visible[key].sources[:1]}
        return any(
            isinstance(file.path, Path) and file.name in sources and _begins_with(file.path, sources[file.name])
            for file in output.files
        )

    def holds_none_of(self, earlier: Sequence[Key]) -> bool:
        """Whether no configuration came of earlier readings: whatever takes their place, nothing is mixed or lost."""
        return not any(len(self._ids_of(key)) for key in earlier)

    def continues(self, calculation: Calculation, ids: Ids, geometry_ids: Ids, earlier: Sequence[Key]) -> bool:
        """Whether a calculation has the header and the first configurations of one that was read before.

        Of a run that was cut off, the last configuration may have got further labels since then.

        Args:
            calculation: as it is now.
            ids: of its configurations, shape (n_configurations, 16).
            geometry_ids: of its configurations, shape (n_configurations, 16).
            earlier: calculations that were read from the same run.
        """
        for key in earlier:
            before = self._ids_of(key)
            n = len(before)
            if self.visible[key].identity != calculation.identity or not 0 < n <= len(ids):
                continue
            if np.array_equal(before, ids[:n]):
                return True
            if self.visible[key].status == "truncated" and np.array_equal(before[:-1], ids[: n - 1]):
                return np.array_equal(self._last_geometry(key), geometry_ids[n - 1 : n])
        return False

    def _ids_of(self, key: Key) -> Ids:
        """The ids of all configurations of a calculation, those included that the run it continues shows."""
        return NO_IDS if self.snapshot is None else self.snapshot.ids_of(*key, skipped=True)

    def _last_geometry(self, key: Key) -> Ids:
        """The geometry of the last configuration of a calculation that has one, shape (1, 16)."""
        if self.snapshot is None:
            return NO_IDS
        last = self.snapshot.rows_of(*key).stop - 1
        return self.snapshot.mapped.frames(np.array([last])).geometry_ids()

    def annotated(self) -> list[Key]:
        """What somebody annotated, where an exact sync forgets it."""
        return self.snapshot.annotated() if self.snapshot is not None and self.exact else []

    def keep(self, keys: Sequence[Key]) -> None:
        """These stay as they are."""
        self._kept.update(keys)

    def supersede(self, reading: Reading) -> bool:
        """Retract older readings of the same run or, with new attributes, of the same file; whether there were any."""
        of_same_files = {key for digest in reading.outputs for key in self._of_source.get(digest, [])}
        of_same_run = {key for name in _names(reading) for key in self._of_run.get(name, [])}
        older = {
            key
            for key in of_same_files | of_same_run
            if key in self.visible and (key not in self._kept or self.visible[key].id == reading.id)
        }
        self._superseded |= older
        return bool(older)

    def retractions(self, refused: Collection[str]) -> list[tuple[Key, Reading, str]]:
        """What the commit hides, with the reason.

        Args:
            refused: names of files that could not be read.
        """
        shown_instead = {name for key in self.restored for name in _names(self.hidden[key])}
        gone = set(self.visible) - self._kept - self._superseded if self.exact else set()
        replaced = {key for key in gone if not shown_instead.isdisjoint(_names(self.visible[key]))}
        gone -= replaced
        lost = {key for key in gone if any(source.path in refused for source in self.visible[key].sources)}
        reasons = ((self._superseded | replaced, SUPERSEDED), (lost, UNREADABLE), (gone - lost, VANISHED))
        return [(key, self.visible[key], reason) for keys, reason in reasons for key in sorted(keys)]


def _are_of(output: Output, readings: Sequence[Reading]) -> bool:
    """Whether readings together are of just the files of an output; each of several may be of some of them."""
    outputs = {digest for reading in readings for digest in reading.outputs}
    companions = {digest for reading in readings for digest in reading.companions}
    return outputs == {file.sha256 for file in output.files} and companions == {
        one.sha256 for file in output.files for one in file.companions
    }


def _is_of(reading: Reading, output: Output) -> bool:
    """Whether a reading is called after the run of an output; of files that disagree only the first one's is."""
    if not reading.run:
        return not output.run or bool(output.others)
    return reading.run == output.run or reading.run.startswith(f"{output.run}#")


def _names(reading: Reading) -> Iterator[str]:
    """What a reading shares with any other reading of the same run."""
    yield f"id {reading.id}"
    if reading.run:
        yield f"run {reading.run}"
    for source in reading.sources:
        if source.role != "companion":
            yield f"path {source.path}"


def _number(reading: Reading) -> str:
    """Which of the runs of its file a reading is: `#2`; empty for the first."""
    return reading.path.removeprefix(reading.sources[0].path)


def _begins_with(path: Path, source: File) -> bool:
    """Whether a file begins with the bytes of a source, and is longer."""
    try:
        if path.stat().st_size <= source.bytes:
            return False
        with path.open("rb") as file:
            return sha256_start(file, source.bytes) == source.sha256
    except OSError:
        return False
