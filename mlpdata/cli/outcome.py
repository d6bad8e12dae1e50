"""What an ingest or a sync did, for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlpdata.cli.output import counted, on_a_line, say, warn
from mlpdata.errors import InputError

if TYPE_CHECKING:
    from mlpdata.outcome import IngestReport, Refused
    from mlpdata.tree import PassedOver

SHOWN = 20
"""Lines of a list that are printed; --json has all."""


def summarise(report: IngestReport) -> None:
    """The end of an ingest: what entered, what was left out and why."""
    verb = "would enter" if report.dry_run else "entered"
    entered = f"{counted(report.n_entered, 'configuration')} of {counted(len(report.entered), 'calculation')}"
    say(f"{entered} {verb} ({report.seconds:.1f} s).")
    for calculation in [one for one in report.entered if one.status != "complete"][:SHOWN]:
        say(
            f"  {on_a_line(calculation.path)}: {calculation.status}, {calculation.n_configurations} configurations kept"
        )
    replaced = sum(one.replaced for one in report.entered)
    if replaced:
        say(f"Replaced: {counted(replaced, 'older reading')} of the same run.")
    if report.unchanged:
        say(f"Unchanged: {counted(len(report.unchanged), 'file')} that the store has already or that repeat another.")
    refused = {one.path for one in report.refused}
    lost = sum(not refused.isdisjoint((path, path.rpartition("#")[0])) for path in report.retracted)
    for number, reason in ((len(report.retracted) - lost, "no longer in the folder"), (lost, "no longer readable")):
        if number:
            say(f"Retracted: {counted(number, 'calculation')} {reason}.")
    if report.amended:
        say(f"Related: {counted(report.amended, 'calculation')} in chains, groups or series with others.")
    say_lost("Changed", counted(len(report.changed), "file"), report.changed)
    say_lost("Retracted by hand before", counted(len(report.withheld), "file"), report.withheld)
    say_lost("Left out", counted(sum(one.frames or 0 for one in report.left_out), "configuration"), report.left_out)
    say_lost("Not readable", counted(len(report.refused), "file"), report.refused)
    say_said(report.conflicts, report.notes)
    say_passed_over(report.passed_over, report.not_outputs)
    if report.unknown_license:
        warn(
            f"Unknown license: {counted(report.unknown_license, 'calculation')}. "
            "That blocks publishing; state it by --license."
        )
    if report.snapshot:
        say(f"The store shows {counted(report.n_configurations, 'configuration')}, snapshot {report.snapshot[:12]}.")


def concluded(report: IngestReport) -> int:
    """The exit code; where nothing could be read, a line on stderr says why."""
    if report.exit_code:
        first = report.damaged[0]
        raise InputError(first.reason, path=first.path, line=first.line)
    return 0


def say_lost(what: str, count: str, lost: Sequence[Refused]) -> None:
    """What did not enter, with the first reasons."""
    if lost:
        say(f"{what}: {count}")
        for one in lost[:SHOWN]:
            place = one.path if one.line is None else f"{one.path}:{one.line}"
            say(f"  {on_a_line(place)}: {one.reason}")
        _and_more(len(lost))


def say_said(conflicts: Sequence[str], notes: Sequence[str]) -> None:
    """What was said in two ways, and what was said of nothing."""
    for what, some in (("Said in two ways", conflicts), ("Said of nothing", notes)):
        if some:
            say(f"{what}: {len(some)}")
            for one in some[:SHOWN]:
                say(f"  {on_a_line(one)}")
            _and_more(len(some))


def say_passed_over(passed_over: Sequence[PassedOver], not_outputs: int) -> None:
    """What was not looked into, counted by reason."""
    reasons = Counter(one.reason for one in passed_over)
    first = {one.reason: one.name for one in reversed(passed_over)}
    for reason, number in reasons.most_common(SHOWN):
        say(f"Ignored: {number}, such as {on_a_line(first[reason])}: {on_a_line(reason)}")
    if not_outputs:
        say(f"Passed over: {counted(not_outputs, 'file')} that no reader knows.")


def _and_more(number: int) -> None:
    if number > SHOWN:
        say(f"  ... and {number - SHOWN} more; --json lists all.")
