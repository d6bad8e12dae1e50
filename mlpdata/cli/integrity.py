"""Verbs about what can go wrong with a store: verify, repair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import STORE, JobsOption, JsonOption, StoreOption
from mlpdata.cli.output import counted, on_a_line, progress, say, say_json
from mlpdata.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpdata.rebuilding import RebuildReport
    from mlpdata.store.giving_up import Lost
    from mlpdata.store.inventory import Fault
    from mlpdata.store.repair import RepairReport
    from mlpdata.store.verify import VerifyReport

NAMED = 5
"""Calculations that a line names before it counts the rest."""


@app.command()
def verify(
    raw: Annotated[
        Path | None, typer.Argument(metavar="RAW", help="With --rebuild: where the outputs are; else where they were.")
    ] = None,
    store: StoreOption = STORE,
    quick: Annotated[bool, typer.Option("--quick", help="Records, names and sizes only.")] = False,
    subset: Annotated[
        str | None, typer.Option("--subset", metavar="N/M", help="The bytes of the n-th of m parts of all files.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Read the outputs again and compare with what is stored.")
    ] = False,
    jobs: JobsOption = 1,
    json: JsonOption = False,
) -> int:
    """Compare what is on disk with what was recorded, or with the outputs that it was read from."""
    if raw is not None and not rebuild:
        raise UsageError(f"expected --rebuild beside a folder of outputs, found {str(raw)!r} alone.")
    if rebuild and (quick or subset):
        raise UsageError("expected --rebuild, --quick or --subset, found two of them.")
    if quick and subset:
        raise UsageError("expected --quick or --subset, found both: a quick run reads no part.")
    return _rebuild(store, raw, jobs, json) if rebuild else _verify(store, quick, subset, json)


def _verify(store: Path, quick: bool, subset: str | None, json: bool) -> int:
    from mlpdata.store.verify import WHOLE, part_named
    from mlpdata.store.verify import verify as run

    part = part_named(subset) if subset else WHOLE
    with progress("MB") as advance:
        report = run(store, quick=quick, part=part, progress=advance)
    say_json(report.as_json()) if json else _say_verified(report)
    return 5 if report.faults else 0


def _say_verified(report: VerifyReport) -> None:
    for fault in report.faults:
        say(f"{on_a_line(fault.path)}: {fault.what}{_concerned(fault)}")
    rate = f", {report.n_bytes / report.seconds / 1e6:.0f} MB/s" if report.seconds > 1 else ""
    found = counted(len(report.faults), "fault") if report.faults else "no fault"
    say(f"{counted(report.n_files, 'file')}, {report.n_bytes} bytes{rate}: {found}")
    if report.lost:
        say(f"Given up before: {counted(len(report.lost), 'fault')} of what only older snapshots need.")
    if report.faults:
        say(
            "`mlpdata repair --from COPY` restores them from a second copy of the store; `mlpdata repair --drop` gives them up."
        )


def _concerned(fault: Fault) -> str:
    """What a fault touches, in brackets."""
    if not fault.calculations:
        return ""
    n = sum(one.n_configurations for one in fault.calculations)
    paths = ", ".join(on_a_line(one.path) for one in fault.calculations[:NAMED])
    more = f" and {len(fault.calculations) - NAMED} more" if len(fault.calculations) > NAMED else ""
    return f" [{counted(n, 'configuration')} of {paths}{more}]"


def _rebuild(store: Path, raw: Path | None, jobs: int, json: bool) -> int:
    from mlpdata.rebuilding import rebuild as run

    with progress("reading") as advance:
        report = run(store, raw, jobs=jobs, progress=advance)
    say_json(report.as_json()) if json else _say_rebuilt(report)
    return 0 if report.ok else 1


def _say_rebuilt(report: RebuildReport) -> None:
    for one in report.differing:
        say(f"{on_a_line(one.path)}: {one.state}: {one.what}")
        for other in one.differences:
            say(f"  {other}")
    for line in report.readers:
        say(f"Read by another version of its reader than now, with the same numbers: {line}")
    same = f"{report.counts['same']} of {counted(report.n_calculations, 'calculation')}"
    say(
        f"{same} read again with the same numbers, {counted(report.n_configurations, 'configuration')} ({report.seconds:.1f} s)."
    )


@app.command()
def repair(
    copy: Annotated[
        Path | None, typer.Option("--from", metavar="COPY", help="Folder of a second copy of the store.")
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Give up what cannot be mended: a new snapshot shows the rest.")
    ] = False,
    head: Annotated[
        str,
        typer.Option(metavar="ID", help="The snapshot that HEAD named, where HEAD is damaged and several could be."),
    ] = "",
    store: StoreOption = STORE,
    json: JsonOption = False,
) -> int:
    """Restore what is damaged, from a second copy or from the rest of the store; give up what cannot be restored."""
    from mlpdata.store.repair import repair as run

    with progress("MB") as advance:
        report = run(store, copy, drop=drop, head=head, progress=advance)
    say_json(report.as_json()) if json else _say_repaired(report, store)
    return 5 if report.faults else 0


def _say_repaired(report: RepairReport, store: Path) -> None:
    for one in report.mended:
        say(f"{on_a_line(one.path)}: restored from {one.how}")
    for place in report.aside:
        say(f"Kept aside: {on_a_line(place)}")
    for fault in report.faults:
        say(f"{on_a_line(fault.path)}: {fault.what}{_concerned(fault)}")
    for note in report.notes:
        say(f"Lost: {note}")
    if report.lost:
        _say_lost(report.lost, store)
    if report.snapshot:
        say(f"The store shows snapshot {report.snapshot[:12]}.")
    if report.faults:
        say(
            f"{counted(len(report.faults), 'fault')} left. Restore the files from a copy (--from COPY), or --drop gives them up."
        )
    elif not (report.mended or report.aside or report.snapshot):
        say("Nothing is damaged.")


def _say_lost(lost: Sequence[Lost], store: Path) -> None:
    from mlpdata.intake import last_tree

    for one in lost:
        n = (
            "an unknown number of configurations"
            if one.n_configurations is None
            else counted(one.n_configurations, "configuration")
        )
        files = f" (read from {', '.join(map(on_a_line, one.sources))})" if one.sources not in ((), (one.path,)) else ""
        say(f"Lost: {on_a_line(one.path) or 'a segment of unknown calculations'}, {n}{files}")
    tree = last_tree(store)
    again = f"`mlpdata sync {tree}`" if tree is not None and tree.is_dir() else "`mlpdata ingest` of these files"
    say(f"{again} brings back what is still there.")
