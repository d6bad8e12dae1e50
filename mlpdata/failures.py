"""Failures: which runs of a store were lost, without those that go on or that another run made good."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mlpdata.diagnosis import RELAXATIONS, Evidence, Failure, cause_of
from mlpdata.outcome import Refused
from mlpdata.run_folder import RunFolder
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.noun import from_stored
from mlpdata.search import absolute
from mlpdata.store.commit import Repository
from mlpdata.store.keeper import keeper, opened
from mlpdata.store.snapshot import OpenSnapshot

__all__ = ["Evidence", "Failure", "Failures", "cause_of", "failures"]

MINUTES = 60.0
"""A run without an end mark whose files changed within so many minutes is taken to be running."""
_NUMBER = re.compile(r"#([0-9]{1,9})$")
_KEPT_ASIDE = re.compile(r"(?:[._-](?:old|bak|prev|orig)[0-9]{0,3}|~)$")
_LINE = re.compile(r":[0-9]{1,12}$")
_COMPANION_LOST = ", of the same run, could not be read"
_COLUMNS = ["path", "status", "run_kind", "n_configurations", "continues", "warnings", "calculation_record", "json"]


@dataclass
class Failures:
    """What was lost, and what the list leaves out."""

    lost: list[Failure] = field(default_factory=list)
    """Sorted by path."""
    n_running: int = 0
    """Runs that seem to go on."""
    n_replaced: int = 0
    """Lost runs that are left out since another one continues or repeats them."""


def failures(
    store: Path | str,
    root: Path | None = None,
    *,
    refused: Iterable[Refused] = (),
    unconverged: bool = False,
    running: float | None = MINUTES,
    replaced: bool = False,
    at: str | None = None,
) -> Failures:
    """The runs that were lost, of those that a snapshot shows and of files that were refused.

    Args:
        store: folder of the store.
        root: folder of outputs; only runs in it count. By default all do, and are looked for beside the store.
        refused: files that never entered.
        unconverged: relaxations that ended by their step limit count.
        running: a run without an end mark whose files changed within so many minutes is left out; None leaves out none.
        replaced: lost runs that another one continues or repeats are in the list, too.
        at: a snapshot, the current one by default.

    Raises:
        NotFound: no such store or snapshot.
        CorruptError: a record is not what was written.
    """
    store = opened(store)
    snapshot = Repository.open(store).snapshot(at)
    shown = _Shown(snapshot)
    tree = _Tree(root, store)
    found = Failures()
    lost = (*_lost_calculations(snapshot, shown, tree, unconverged), *_lost_files(refused, shown, tree))
    for one in lost:
        if one.goes_on(running):
            found.n_running += 1
        elif one.replaced and not replaced:
            found.n_replaced += 1
        else:
            found.lost.append(one.failure)
    found.lost.sort(key=lambda failure: failure.path)
    return found


class _Lost(NamedTuple):
    """A failure, and what decides whether it is listed."""

    failure: Failure
    files: tuple[Path, ...]
    """Of the run, on disk; empty where they are not there."""
    shared: bool
    """Whether other runs have their files in the same folder."""
    replaced: bool

    def goes_on(self, minutes: float | None) -> bool:
        """Whether it seems to be running: nothing says that it ended, and a file changed a short while ago."""
        if minutes is None or self.failure.cause not in ("truncated", "unreadable") or not self.files:
            return False
        names = [file.name for file in self.files] if self.shared else None
        changed = RunFolder.at(self.files[0].parent).changed(names)
        return changed is not None and time.time() - changed < 60 * minutes


def _lost_calculations(snapshot: OpenSnapshot, shown: _Shown, tree: _Tree, unconverged: bool) -> Iterator[_Lost]:
    """The calculations that are not complete, or from which nothing came out, and what was lost of them."""
    table = shown.table
    suspect = pc.or_(pc.not_equal(table["status"], "complete"), pc.equal(table["n_configurations"], 0))
    if unconverged:
        suspect = pc.or_(suspect, pc.is_in(table["run_kind"], pa.array(RELAXATIONS)))
    rows = table.filter(suspect).to_pylist()
    last_steps = _last_steps(snapshot, [row["calculation_record"] for row in rows])
    for row in rows:
        calculation = from_stored(Calculation, row["json"], str(snapshot.store))
        file = tree.find(calculation.sources[0].path)
        if not tree.holds(file):
            continue
        folder = _folder(file, calculation.sources[0].path)
        shared = shown.shares_its_folder(calculation.path)
        failure = cause_of(
            calculation,
            None,
            folder,
            n_configurations=row["n_configurations"],
            last_step=last_steps.get(row["calculation_record"]),
            unconverged=unconverged,
            shared=shared,
        )
        if failure is not None:
            names = [PurePosixPath(one.path).name for one in calculation.sources]
            files = tuple(folder / name for name in names) if folder else ()
            yield _Lost(failure, files, shared, shown.made_good(calculation.path))


def _lost_files(refused: Iterable[Refused], shown: _Shown, tree: _Tree) -> Iterator[_Lost]:
    """The files that were refused, but for those whose run was read from another file."""
    for one in refused:
        file = tree.find(one.path)
        if not tree.holds(file) or shown.was_read_without(one.path):
            continue
        folder = _folder(file, one.path)
        shared = shown.shares_its_folder(one.path)
        failure = cause_of(None, one, folder, shared=shared)
        if failure is not None:
            files = (folder / PurePosixPath(one.path).name,) if folder and one.code == "parse" else ()
            yield _Lost(failure, files, shared, False)


def _last_steps(snapshot: OpenSnapshot, records: list[str]) -> dict[str, int]:
    """Step of the last configuration of each calculation that has one, by its record."""
    wanted = pc.field("calculation_record").isin(pa.array(records, pa.string()))
    table = snapshot.dataset("configurations").to_table(columns=["calculation_record", "step"], filter=wanted)
    last = table.group_by("calculation_record").aggregate([("step", "max")]).to_pylist()
    return {row["calculation_record"]: row["step_max"] for row in last if row["step_max"] is not None}


class _Shown:
    """What the calculations of a snapshot say of each other."""

    def __init__(self, snapshot: OpenSnapshot) -> None:
        self.table = snapshot.table("calculations", _COLUMNS)
        paths = self.table["path"].to_pylist()
        whole = pc.and_(pc.equal(self.table["status"], "complete"), pc.greater(self.table["n_configurations"], 0))
        self._complete = set(self.table.filter(whole)["path"].to_pylist())
        self._continued = set(pc.unique(self.table["continues"]).to_pylist())
        self._files = {_numbered(path)[0] for path in paths}
        self._in_folder = Counter(map(_parent, self._files))
        self._last_complete: dict[str, int] = {}
        for path in self._complete:
            file, number = _numbered(path)
            self._last_complete[file] = max(number, self._last_complete.get(file, 0))
        noted = self.table.filter(pc.greater(pc.list_value_length(self.table["warnings"]), 0))
        self._unread = {
            (_parent(path), _LINE.sub("", note.split(_COMPANION_LOST)[0]))
            for path, notes in zip(noted["path"].to_pylist(), noted["warnings"].to_pylist(), strict=True)
            for note in notes
            if _COMPANION_LOST in note
        }

    def shares_its_folder(self, path: str) -> bool:
        """Whether other runs have their outputs beside this one."""
        file, _ = _numbered(path)
        return self._in_folder[_parent(file)] > (file in self._files)

    def was_read_without(self, path: str) -> bool:
        """Whether a file was refused, and its run was read from the others."""
        return (_parent(path), PurePosixPath(path).name) in self._unread

    def made_good(self, path: str) -> bool:
        """Whether another run goes on where this one ended, or is a later and complete one of the same name.

        Two outputs in one folder may as well be of two structures: what their names do not tell is not guessed.
        """
        file, number = _numbered(path)
        if path in self._continued or self._last_complete.get(file, 0) > number:
            return True
        later = _KEPT_ASIDE.sub("", file)
        return later != file and later in self._complete


def _numbered(path: str) -> tuple[str, int]:
    """File and number of one of several runs that it holds."""
    match = _NUMBER.search(path)
    return (path[: match.start()], int(match[1])) if match else (path, 1)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _folder(file: Path | None, path: str) -> Path | None:
    """The folder of a file on disk; None for one that is not there or is a member of an archive."""
    return file.parent if file is not None and file.name == PurePosixPath(path).name else None


class _Tree:
    """Where on disk the files are that a store names relative to the tree, to its parent, or to the project."""

    def __init__(self, root: Path | None, store: Path) -> None:
        self._root = None if root is None else absolute(root)
        self._tops = [keeper(store).beside(store)] if root is None else [root, *root.parents, *absolute(root).parents]

    def find(self, path: str) -> Path | None:
        """The file, or the archive that it is a member of; None where it is not there."""
        for name in dict.fromkeys((path, path.partition("!")[0])):
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts:
                continue
            for top in self._tops:
                if (top / name).is_file():
                    return top / name
        return None

    def holds(self, file: Path | None) -> bool:
        """Whether a file is of the tree; where none was named, all are."""
        return self._root is None or (file is not None and absolute(file).is_relative_to(self._root))
