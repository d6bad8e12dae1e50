"""Intake: where readers, checks and store meet. Files become calculations of one atomic commit."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from mlpdata.ahead import Workers, streams
from mlpdata.discover import Found, Output, Progress, find_outputs
from mlpdata.errors import CheckFailed, InputError, MlpdataError, UsageError
from mlpdata.known import SUPERSEDED, Known
from mlpdata.outcome import IngestReport, Refused, refusal, withheld
from mlpdata.portions import Notes, Taken, name_of, portions
from mlpdata.relating import BY, WHY, amendments
from mlpdata.said.sayings import Sayings
from mlpdata.scan import CACHE, Cache, cache_at
from mlpdata.schema.calculation import EnergyKind, Kind
from mlpdata.schema.records import Snapshot
from mlpdata.schema.sidecar import Sidecar
from mlpdata.search import absolute
from mlpdata.store.commit import Repository, Staged
from mlpdata.store.keeper import keeper, opened
from mlpdata.store.layout import work_folder
from mlpdata.store.upkeep import compact
from mlpdata.taking import Taker

logger = logging.getLogger(__name__)


class How(NamedTuple):
    """How outputs are read; what comes of it does not depend on that."""

    jobs: int
    """Reading processes."""
    scheduler: str
    """Address of a dask.distributed scheduler; empty: processes of this machine."""
    progress: Progress | None
    """Called after each file."""


def ingest(
    paths: str | Path | Sequence[str | Path],
    store: str | Path = "store",
    *,
    license: str | None = None,  # noqa: A002  the word of the field
    citation: str | None = None,
    kind: Kind | None = None,
    temperature: float | None = None,
    group: str | None = None,
    system: str | None = None,
    tags: dict[str, str] | None = None,
    units: dict[str, str] | None = None,
    names: dict[str, str] | None = None,
    energy_kind: EnergyKind | None = None,
    stress_sign: Literal["tension", "compression"] | None = None,
    from_path: Sequence[str] = (),
    maps: Sequence[Path] = (),
    default: Sidecar | None = None,
    jobs: int = 1,
    scheduler: str = "",
    follow_links: bool = False,
    progress: Progress | None = None,
    strict: bool = False,
    dry_run: bool = False,
) -> IngestReport:
    """Read outputs and commit them, in one commit, to a store that is created where there is none.

    Args:
        paths: files, archives and folders.
        store: folder of the store.
        license: SPDX expression; like the next ten it holds for all files, whatever sidecars say.
        citation: how to cite the data.
        kind: what the configurations are there for.
        temperature: set point of the thermostat [K].
        group: `file`, `folder`, or a name: what never straddles a split.
        system: name of what was calculated.
        tags: free marks.
        units: of numbers whose file states none (extxyz), by dimension: energy, length, stress, ...
        names: that such files use, by property: {"energy": "REF_energy"}.
        energy_kind: what the energies of such files are.
        stress_sign: what a positive stress means in such files.
        from_path: templates of paths such as `{system}/{temperature}K/{run}`, relative to each folder given.
        maps: CSV files with a column `path`.
        default: what holds where neither an option nor a sidecar speaks.
        jobs: reading processes.
        scheduler: address of a dask.distributed scheduler, whose workers read in place of processes of this machine.
        follow_links: whether links to folders are followed.
        progress: called while the tree is searched, and after each file that was read.
        strict: raise, and commit nothing, where a file could not be read, was cut off or is another run than before, or
            where two things are said of a run.
        dry_run: read and check, but write nothing.

    Raises:
        UsageError: no such path, an unknown license or kind.
        InputError: no outputs; with `strict`, none that could be read.
        CheckFailed: with `strict`, one that could not be read or was cut off, and the like.
        StoreError: the store refuses; nothing was committed.
    """
    said = Sidecar(
        license=license, citation=citation, kind=kind, temperature=temperature, group=group, system=system,
        tags=tags or {}, units=units or {}, names=names or {}, energy_kind=energy_kind, stress_sign=stress_sign,
    )  # fmt: skip
    given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    sayings = Sayings(said, default, templates=from_path, maps=maps)
    store = opened(store)
    with _cache(store, dry_run) as cache:
        found = find_outputs(
            given, keeper(store).beside(store), sayings, cache=cache, follow_links=follow_links, progress=progress
        )
        job = _Job(store, How(jobs, scheduler, progress), strict=strict, dry_run=dry_run)
        return job.run(found, cache, replaces=True)


def sync(
    root: str | Path,
    store: str | Path = "store",
    *,
    exact: bool = False,
    from_path: Sequence[str] = (),
    maps: Sequence[Path] = (),
    default: Sidecar | None = None,
    jobs: int = 1,
    scheduler: str = "",
    follow_links: bool = False,
    progress: Progress | None = None,
    strict: bool = False,
    dry_run: bool = False,
) -> IngestReport:
    """Bring a store up to date with a tree of outputs, in one commit.

    Args:
        root: folder of outputs; calculations are named relative to it.
        store: folder of the store.
        exact: the snapshot shows exactly what the tree holds; calculations no longer in it are retracted.
        from_path: templates of paths below the root such as `{system}/{temperature}K/{run}`.
        maps: CSV files with a column `path`, relative to the root.
        default: what holds where no sidecar speaks, such as the project's license.
        jobs: reading processes.
        scheduler: address of a dask.distributed scheduler, whose workers read in place of processes of this machine.
        follow_links: whether links to folders are followed.
        progress: called while the tree is searched, and after each file that was read.
        strict: raise, and commit nothing, where a file could not be read, was cut off or is another run than before, or
            where two things are said of a run.
        dry_run: read and check, but write nothing.

    Raises:
        UsageError: no such folder.
        InputError: no outputs, which a folder that is not mounted shows too; with `strict`, none that could be read.
        CheckFailed: with `strict`, one that could not be read or was cut off, and the like.
        StoreError: the store refuses; nothing was committed.
    """
    tree = folder_of_outputs(root)
    sayings = Sayings(None, default, templates=from_path, maps=maps)
    store = opened(store)
    with _cache(store, dry_run) as cache:
        found = find_outputs([tree], tree, sayings, cache=cache, follow_links=follow_links, progress=progress)
        if (before := cache.tree()) not in {None, absolute(tree)}:
            found.notes.append(f"{before} was synced into this store before: names are relative to either folder")
        cache.remember_tree(absolute(tree))
        return _Job(store, How(jobs, scheduler, progress), strict=strict, dry_run=dry_run).run(
            found, cache, exact=exact
        )


def folder_of_outputs(root: str | Path) -> Path:
    """The folder `root`.

    Raises:
        UsageError: there is none.
    """
    tree = Path(root)
    if tree.is_dir():
        return tree
    if tree.exists():
        raise UsageError("expected a folder of outputs, found a file. Name its folder; ingest takes files.", path=root)
    raise UsageError("expected a folder of outputs, found none. Create it and put outputs in it.", path=root)


def last_tree(store: Path) -> Path | None:
    """The folder that was synced last into a store; None where that is not known."""
    file = cache_of(store)
    if not file.is_file():
        return None
    with cache_at(file) as cache:
        return cache.tree()


def cache_of(store: Path) -> Path:
    """Where the scan of a tree is remembered: beside the store."""
    return work_folder(absolute(store)) / CACHE


def _cache(store: Path, dry_run: bool) -> AbstractContextManager[Cache]:
    """The cache of a store; a dry run writes nothing."""
    return cache_at(cache_of(store), read_only=dry_run)


class _Job:
    """One ingest: reads what is new, stages it in portions, works out how runs hang together, commits once."""

    def __init__(self, store: Path, how: How, *, strict: bool, dry_run: bool) -> None:
        self.store, self.how, self.strict, self.dry_run = store, how, strict, dry_run
        self.report = IngestReport(dry_run=dry_run)
        self._done = self._n_fresh = 0

    def run(self, found: Found, cache: Cache, *, exact: bool = False, replaces: bool = False) -> IngestReport:
        """Bring what was found into the store."""
        started = time.perf_counter()
        report = self.report
        report.not_outputs, report.passed_over = found.not_outputs, found.passed_over
        report.conflicts, report.notes = found.conflicts, found.notes
        cache.keep()
        if not found.outputs:
            others = f"only {found.not_outputs} files that no reader knows" if found.not_outputs else "none"
            raise InputError(
                f"expected outputs of a known code, found {others}. Nothing was changed.", path=found.where
            )
        repository = self._repository()
        known = Known(repository, exact=exact, replaces=replaces)
        outputs = [known.with_earlier_attributes(output) for output in found.outputs]
        fresh = [output for output in outputs if not self._passed_over(output, known)]
        self._n_fresh = len(fresh)
        staged: list[Staged] = []
        with Workers(self.how.jobs, self.how.scheduler) as workers:
            if repository is None or self.dry_run:
                self._take(fresh, Taker(known, cache, None), known, workers)
            else:
                staged = self._staged(fresh, repository, known, cache, workers)
        self._raise_if_strict()
        if repository is not None and not self.dry_run:
            self._commit(repository, staged, known)
        report.seconds = round(time.perf_counter() - started, 3)
        return report

    def _repository(self) -> Repository | None:
        """The store; None for a dry run where there is none yet."""
        if self.dry_run:
            return Repository.open(self.store) if keeper(self.store).exists(self.store) else None
        return Repository.open_or_create(self.store)

    def _passed_over(self, output: Output, known: Known) -> bool:
        """Whether there is nothing to read: the file cannot be opened, is a copy, was retracted, or is shown already."""
        if output.error is not None:
            self.report.refused.append(refusal(output.name, output.error))
            return True
        if known.is_copy(output):
            self.report.copies += 1
            self.report.unchanged.append(output.name)
            return True
        if (retraction := known.withheld_file(output)) is not None:
            self.report.withheld.append(withheld(output.name, retraction))
            return True
        if known.shows(output):
            self.report.unchanged.append(output.name)
            return True
        return False

    def _staged(
        self, fresh: list[Output], repository: Repository, known: Known, cache: Cache, workers: Workers
    ) -> list[Staged]:
        """Segments of what is new, in their places, named by no snapshot yet."""
        notes, cut, staged = Notes(repository), list(portions(fresh)), []
        for portion in cut:
            name = name_of(portion, replaces=known.replaces) if len(cut) > 1 else ""
            taken = notes.read(name) if name else None
            if taken is None:
                with repository.stage() as writer:
                    taken = self._take(portion, Taker(known, cache, writer), known, workers)
                    taken.staged = repository.adopt(writer)
                if name:
                    notes.write(name, taken)
            else:
                self._note(taken, known)
                self._done += len(portion)
            if taken.staged is not None:
                staged.append(taken.staged)
        return staged

    def _take(self, outputs: list[Output], taker: Taker, known: Known, workers: Workers) -> Taken:
        """Read outputs in order."""
        unread = [output for output in outputs if not taker.knows(output)]
        self._done += len(outputs) - len(unread)
        for output, events in streams(unread, workers):
            taker.take(output, events)
            self._done += 1
            if self.how.progress:
                self.how.progress(self._done, self._n_fresh, output.name)
        self._note(taker.taken, known)
        return taker.taken

    def _note(self, taken: Taken, known: Known) -> None:
        """Add what came of a portion to the report."""
        report = self.report
        for entered, reading in zip(taken.entered, taken.readings, strict=True):
            report.entered.append(replace(entered, replaced=known.supersede(reading)))
        report.refused += taken.refused
        report.left_out += taken.left_out
        report.changed += taken.changed
        report.withheld += taken.withheld
        report.conflicts += taken.conflicts
        report.unknown_license += taken.unknown_license

    def _raise_if_strict(self) -> None:
        contradictions = [Refused("", None, "conflict", f"{one}.") for one in self.report.conflicts]
        damaged = [*self.report.damaged, *self.report.changed, *contradictions]
        if self.strict and damaged:
            first, others = damaged[0], len(damaged) - 1
            more = f" So it is with {others} more." if others else ""
            kind = InputError if self.report.exit_code else CheckFailed
            raise kind(f"{first.reason}{more} Nothing was committed.", path=first.path, line=first.line)

    def _commit(self, repository: Repository, staged: list[Staged], known: Known) -> None:
        report = self.report
        retract = known.retractions({one.path for one in report.refused})
        report.retracted = [reading.path for _, reading, reason in retract if reason != SUPERSEDED]
        hidden = [(*key, reason) for key, _, reason in retract]
        message = f"{len(report.entered)} calculations with {report.n_entered} configurations"
        message += f"; {len(retract)} retracted" if retract else ""
        while True:
            head = repository.head()
            amended = amendments(repository, staged, known, hidden)
            snapshot = repository.commit(
                staged=staged, retract=hidden, restore=known.restored, amend=amended, by=BY, why=WHY, message=message
            )
            report.amended += len(amended)
            if snapshot == head or snapshot.parents == (() if head is None else (head.id,)):
                break  # else another writer came between: what it brought may be related to this, too
        Notes(repository).clear()
        report.snapshot, report.content = _compacted(repository, snapshot).id, snapshot.content
        report.n_configurations = snapshot.n_configurations


def _compacted(repository: Repository, snapshot: Snapshot) -> Snapshot:
    """The snapshot after many small segments were put together, where there are too many.

    What was committed is safe; a compaction that fails costs nothing but speed, and the next commit tries again.
    """
    try:
        done = compact(repository)
    except MlpdataError as error:
        logger.warning("%s was not compacted: %s", repository.path, error)
        return snapshot
    return repository.read(done.snapshot) if done.replaced else snapshot
