"""Intake: where readers, checks and store meet. Files become calculations of one atomic commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from mlpdata.ahead import streams
from mlpdata.checks.licenses import normalise
from mlpdata.discover import Found, Output, absolute, find_outputs
from mlpdata.errors import CheckFailed, InputError, MlpdataError, UsageError
from mlpdata.known import VANISHED, Known
from mlpdata.outcome import Entered, IngestReport, Refused
from mlpdata.runs import Event, Unread
from mlpdata.schema.calculation import Calculation, EnergyKind, Kind
from mlpdata.schema.sidecar import Sidecar
from mlpdata.store.commit import Repository
from mlpdata.store.segment import Writer

Progress = Callable[[int, int, str], None]
"""Called with files done, files in all, and the path just read."""


def ingest(
    paths: str | Path | Sequence[str | Path],
    store: str | Path = "store",
    *,
    license: str | None = None,  # noqa: A002  the word of the field
    citation: str | None = None,
    kind: Kind | None = None,
    temperature: float | None = None,
    tags: dict[str, str] | None = None,
    units: dict[str, str] | None = None,
    names: dict[str, str] | None = None,
    energy_kind: EnergyKind | None = None,
    stress_sign: Literal["tension", "compression"] | None = None,
    default: Sidecar | None = None,
    jobs: int = 1,
    strict: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Read outputs and commit them, in one commit, to a store that is created where there is none.

    Args:
        paths: files and folders.
        store: folder of the store.
        license: SPDX expression; like the next eight it holds for all files, whatever sidecars say.
        citation: how to cite the data.
        kind: what the configurations are there for.
        temperature: set point of the thermostat [K].
        tags: free marks.
        units: of numbers whose file states none (extxyz), by dimension: energy, length, stress, ...
        names: that such files use, by property: {"energy": "REF_energy"}.
        energy_kind: what the energies of such files are.
        stress_sign: what a positive stress means in such files.
        default: what holds where neither an option nor a sidecar speaks.
        jobs: reading processes.
        strict: raise, and commit nothing, where a file could not be read or was cut off.
        dry_run: read and check, but write nothing.
        progress: called after each file.

    Raises:
        UsageError: no such path, an unknown license or kind.
        InputError: no outputs; with `strict`, none that could be read.
        CheckFailed: with `strict`, one that could not be read or was cut off.
        StoreError: the store refuses; nothing was committed.
    """
    said = Sidecar(
        license=_normal(license), citation=citation, kind=kind, temperature=temperature, tags=tags or {},
        units=units or {}, names=names or {}, energy_kind=energy_kind, stress_sign=stress_sign,
    )  # fmt: skip
    given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    project = absolute(Path(store)).parent
    found = find_outputs(given, project, said, default or Sidecar())
    return _Job(Path(store), jobs, strict, dry_run, progress).run(found, exact=False)


def sync(
    root: str | Path,
    store: str | Path = "store",
    *,
    exact: bool = False,
    default: Sidecar | None = None,
    jobs: int = 1,
    strict: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Bring a store up to date with a tree of outputs, in one commit.

    Args:
        root: folder of outputs; calculations are named relative to it.
        store: folder of the store.
        exact: the snapshot shows exactly what the tree holds; calculations no longer in it are retracted.
        default: what holds where no sidecar speaks, such as the project's license.
        jobs: reading processes.
        strict: raise, and commit nothing, where a file could not be read or was cut off.
        dry_run: read and check, but write nothing.
        progress: called after each file.

    Raises:
        UsageError: no such folder.
        InputError: no outputs, which a folder that is not mounted shows too; with `strict`, none that could be read.
        CheckFailed: with `strict`, one that could not be read or was cut off.
        StoreError: the store refuses; nothing was committed.
    """
    tree = Path(root)
    if not tree.is_dir():
        raise UsageError("expected a folder of outputs, found none. Create it and put outputs in it.", path=root)
    base = default or Sidecar()
    found = find_outputs([tree], tree, Sidecar(), base.replace(license=_normal(base.license)))
    return _Job(Path(store), jobs, strict, dry_run, progress).run(found, exact=exact)


def _normal(license_text: str | None) -> str | None:
    return None if license_text is None else normalise(license_text)


class _Job:
    """One ingest: reads what is new, stages it, commits once."""

    def __init__(self, store: Path, jobs: int, strict: bool, dry_run: bool, progress: Progress | None) -> None:
        self.store, self.jobs, self.strict, self.dry_run, self.progress = store, jobs, strict, dry_run, progress
        self.report = IngestReport(dry_run=dry_run)

    def run(self, found: Found, exact: bool) -> IngestReport:
        started = time.perf_counter()
        self.report.not_outputs = found.not_outputs
        if not found.outputs:
            others = f"only {found.not_outputs} files that no reader knows" if found.not_outputs else "none"
            raise InputError(
                f"expected outputs of a known code, found {others}. Nothing was changed.", path=found.where
            )
        repository = self._repository()
        known = Known(repository, exact)
        outputs = [known.with_earlier_attributes(output) for output in found.outputs]
        fresh = [output for output in outputs if not self._passed_over(output, known)]
        if repository is None or self.dry_run:
            self._stage(fresh, known, None)
            self._raise_if_strict()
        else:
            with repository.stage() as writer:
                self._stage(fresh, known, writer)
                self._raise_if_strict()
                self._commit(repository, writer, known)
        self.report.seconds = round(time.perf_counter() - started, 3)
        return self.report

    def _repository(self) -> Repository | None:
        """The store; None for a dry run where there is none yet."""
        if self.dry_run:
            return Repository.open(self.store) if self.store.exists() else None
        return Repository.open_or_create(self.store)

    def _passed_over(self, output: Output, known: Known) -> bool:
        """Whether there is nothing to read: the file cannot be, or the store shows it already."""
        if output.error is not None:
            self._refuse(output.name, output.error)
            return True
        if known.shows(output):
            self.report.unchanged.append(output.name)
            return True
        return False

    def _stage(self, outputs: list[Output], known: Known, writer: Writer | None) -> None:
        """Read files in order; a damaged one costs itself only."""
        for done, (output, events) in enumerate(streams(outputs, self.jobs), 1):
            try:
                self._stage_one(events, known, writer)
            except InputError as error:
                self._refuse(output.name, error)
            if self.progress:
                self.progress(done, len(outputs), output.name)

    def _stage_one(self, events: Iterable[Event], known: Known, writer: Writer | None) -> None:
        """Read the runs of one file; the one in which reading ends in an error is abandoned, those before it stay."""
        n_configurations, begun = 0, False
        try:
            for event in events:
                if isinstance(event, Unread):
                    self._refuse(event.name, event.error)
                    continue
                if writer is not None and not begun:
                    writer.begin()
                    begun = True
                if not isinstance(event, Calculation):
                    n_configurations += len(event)
                    if writer is not None:
                        writer.append(event)
                    continue
                if writer is not None:
                    writer.end(event)
                self._note(event, n_configurations, known.supersede(event))
                n_configurations, begun = 0, False
        except InputError:
            if writer is not None and begun:
                writer.abandon()
            raise

    def _note(self, calculation: Calculation, n_configurations: int, replaced: bool) -> None:
        report, source = self.report, calculation.sources[0]
        report.entered.append(
            Entered(calculation.path, calculation.id, n_configurations, calculation.status, source.reader, replaced)
        )
        report.unknown_license += calculation.license is None
        report.left_out += [
            Refused(calculation.path, lost.line or None, "left-out", lost.reason, lost.frames)
            for lost in calculation.left_out
        ]

    def _refuse(self, name: str, error: MlpdataError) -> None:
        self.report.refused.append(Refused(name, error.line, error.code, error.message))

    def _raise_if_strict(self) -> None:
        damaged = self.report.damaged
        if self.strict and damaged:
            first, others = damaged[0], len(damaged) - 1
            more = f" So it is with {others} more." if others else ""
            kind = InputError if self.report.exit_code else CheckFailed
            raise kind(f"{first.reason}{more} Nothing was committed.", path=first.path, line=first.line)

    def _commit(self, repository: Repository, writer: Writer, known: Known) -> None:
        report = self.report
        retract = known.retractions()
        report.retracted = [calculation.path for _, calculation, reason in retract if reason == VANISHED]
        message = f"{len(report.entered)} calculations with {report.n_entered} configurations"
        snapshot = repository.commit(
            writer,
            retract=[(segment, calculation.record, reason) for segment, calculation, reason in retract],
            restore=known.restored,
            message=message + (f"; {len(retract)} retracted" if retract else ""),
        )
        report.snapshot, report.content = snapshot.id, snapshot.content
        report.n_configurations = snapshot.n_configurations
