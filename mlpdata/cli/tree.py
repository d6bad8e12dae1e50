"""Verbs about trees of outputs: status, sync."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import (
    STORE,
    DryRunOption,
    FollowOption,
    FromPathOption,
    JobsOption,
    JsonOption,
    MapOption,
    SchedulerOption,
    StoreOption,
    StrictOption,
    one_of,
)
from mlpdata.cli.outcome import SHOWN, concluded, say_passed_over, say_said, summarise
from mlpdata.cli.output import counted, on_a_line, progress, say, say_json, say_rows, warn
from mlpdata.cli.sources import project_default
from mlpdata.errors import MlpdataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpdata.outcome import IngestReport
    from mlpdata.standing import TreeStatus

RootArgument = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="Folder of outputs; by default the one that was synced last.")
]


@app.command()
def status(
    root: RootArgument = None,
    store: StoreOption = STORE,
    from_path: FromPathOption = None,
    map: MapOption = None,
    follow_links: FollowOption = False,
    state: Annotated[
        str | None, typer.Option(help="List those in this state, one a line: new, failed, missing, ...")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Compare a tree of outputs with the store: new, grown, unfinished, changed, failed, ignored."""
    from mlpdata.standing import MEANINGS, NOT_RUNS
    from mlpdata.standing import status as run

    one_of(state, (*MEANINGS, *NOT_RUNS), "states")
    tree = tree_or_last(root, store)
    with progress("looking") as advance:
        found = run(
            tree,
            store,
            from_path=from_path or (),
            maps=map or (),
            default=project_default(store),
            follow_links=follow_links,
            progress=advance,
        )
    if json:
        say_json(found.as_json())
    elif state is not None:
        for name in found.named(state):
            say(on_a_line(name))
    else:
        _say_status(found)
    return 0


@app.command()
def sync(
    root: RootArgument = None,
    store: StoreOption = STORE,
    exact: Annotated[
        bool, typer.Option("--exact", help="Show what the folder holds and nothing else: retract what is gone.")
    ] = False,
    watch: Annotated[
        float | None, typer.Option("--watch", min=1, help="Go on: look again every so many seconds, until Ctrl-C.")
    ] = None,
    from_path: FromPathOption = None,
    map: MapOption = None,
    jobs: JobsOption = 1,
    scheduler: SchedulerOption = "",
    follow_links: FollowOption = False,
    strict: StrictOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> int:
    """Bring the store up to date with a folder of outputs, in one commit."""
    from mlpdata.intake import sync as run

    tree = tree_or_last(root, store)

    def once() -> IngestReport:
        with progress("reading") as advance:
            return run(
                tree,
                store,
                exact=exact,
                from_path=from_path or (),
                maps=map or (),
                default=project_default(store),
                jobs=jobs,
                scheduler=scheduler,
                follow_links=follow_links,
                strict=strict,
                dry_run=dry_run,
                progress=advance,
            )

    if watch is not None:
        _follow(once, watch, json)
    report = once()
    say_json(report.as_json()) if json else summarise(report)
    return concluded(report)


def tree_or_last(root: Path | None, store: Path) -> Path:
    """The folder given, or the one that was synced last into this store.

    Raises:
        UsageError: neither is there.
    """
    from mlpdata.intake import last_tree

    tree = root or last_tree(store)
    if tree is None:
        raise UsageError(
            "expected a folder of outputs, found none named and none that was synced into this store. "
            "Name one, as in mlpdata sync runs."
        )
    return tree


def _follow(once: Callable[[], IngestReport], seconds: float, json: bool) -> None:
    """Sync again and again; what goes wrong later, such as a disk that is away, is said and tried again."""
    said: object = None
    while True:
        try:
            report = once()
        except (MlpdataError, OSError) as error:
            if said is None and isinstance(error, UsageError):
                raise
            found: object = str(error)
            if found != said:
                warn(f"mlpdata: {error}")
        else:
            found = report.content, report.changed, report.refused
            if found != said:
                say_json(report.as_json()) if json else _say_step(report)
        said = found
        time.sleep(seconds)


def _say_step(report: IngestReport) -> None:
    at = time.strftime("%H:%M:%S")
    entered = f"{counted(report.n_entered, 'configuration')} of {counted(len(report.entered), 'calculation')} entered"
    lost = f", {counted(len(report.refused), 'file')} not readable" if report.refused else ""
    other = f", {counted(len(report.changed), 'file')} of another run" if report.changed else ""
    say(f"{at} {entered}{other}{lost}; the store shows {counted(report.n_configurations, 'configuration')}.")


def _say_status(found: TreeStatus) -> None:
    """Counts with their meaning, then what needs a word."""
    from mlpdata.standing import MEANINGS

    say_rows(
        ["state", "runs", "meaning"],
        [(state, found.counts[state], meaning) for state, meaning in MEANINGS.items() if found.counts[state]],
    )
    for state in ("changed", "unfinished", "failed", "retracted"):
        some = [one for one in found.runs if one.state == state]
        if some:
            say(f"{state}:")
            for one in some[:SHOWN]:
                say(f"  {on_a_line(one.name)}: {one.reason}")
            if len(some) > SHOWN:
                say(f"  ... and {len(some) - SHOWN} more; --state {state} lists all.")
    if found.missing:
        say(f"Missing: {counted(len(found.missing), 'calculation')} of the store, such as {on_a_line(found.missing[0])}. "
            "--state missing lists all; `mlpdata sync --exact` hides them.")  # fmt: skip
    say_said(found.conflicts, found.notes)
    say_passed_over(found.passed_over, found.not_outputs)
    if any(found.counts[state] for state in ("new", "grown", "said")):
        say("`mlpdata sync` takes what is new, grown or said anew.")
