"""Verbs about versions: log, diff, tag, tags, retract, trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import STORE, JsonOption, StoreOption
from mlpdata.cli.output import counted, on_a_line, say, say_json, say_rows, warn
from mlpdata.errors import UsageError

if TYPE_CHECKING:
    from mlpdata.provenance import Forward, Origin, Trace


@app.command()
def log(
    store: StoreOption = STORE,
    number: Annotated[int | None, typer.Option("-n", min=1, help="How many; all by default.")] = None,
    json: JsonOption = False,
) -> None:
    """List the snapshots, newest first, with what each added and removed."""
    from mlpdata.store.commit import Repository
    from mlpdata.store.history import steps

    rows = []
    for one in steps(Repository.open(store), number):
        record = one.record
        if json:
            counts = {"added": one.added, "removed": one.removed, "tags": one.tags}
            say_json({"id": record.id, **counts, **record.as_json()})
        else:
            counted = (record.n_configurations, record.n_calculations, one.added, one.removed)
            rows.append(
                (record.id[:12], record.time, *counted, record.content[:12], " ".join(one.tags), record.message)
            )
    if not json:
        heads = ("configurations", "calculations", "added", "removed", "content", "tags", "message")
        say_rows(("snapshot", "time", *heads), rows)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="Snapshot: tag, id or its start, or date.")],
    after: Annotated[str | None, typer.Argument(metavar="[B]", help="The same; else the current one.")] = None,
    store: StoreOption = STORE,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 where they differ, as git does.")] = False,
    json: JsonOption = False,
) -> int:
    """Compare two snapshots: configurations, their labels, attributes and methods, by calculation."""
    from mlpdata.differences import differences
    from mlpdata.store.commit import Repository
    from mlpdata.summary import difference_lines, difference_rows

    repository = Repository.open(store)
    found = differences(repository.snapshot(before), repository.snapshot(after))
    if json:
        say_json(found.as_json())
    else:
        for line in difference_lines(found):
            say(on_a_line(line))
        columns, rows = difference_rows(found)
        if rows:
            say_rows(columns, rows)
        if found.calculations.num_rows > len(rows):
            say(f"... and {found.calculations.num_rows - len(rows)} calculations more; --json has all.")
    return int(exit_code and not found.none)


@app.command()
def tag(
    name: Annotated[str, typer.Argument(help="Letters, digits, '.', '_' and '-'.")],
    at: Annotated[
        str | None, typer.Argument(metavar="[AT]", help="Tag, id or its start, or date; else the current snapshot.")
    ] = None,
    store: StoreOption = STORE,
    move: Annotated[bool, typer.Option("--move", help="Move a tag that stands for another snapshot.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Forget the tag; the snapshot stays.")] = False,
    json: JsonOption = False,
) -> None:
    """Give a snapshot a name for --at; a tag never moves unless --move says so."""
    from mlpdata.store.commit import Repository

    if delete and (move or at is not None):
        raise UsageError("expected --delete with a tag alone, found more.")
    repository = Repository.open(store)
    snapshot = repository.untag(name) if delete else repository.tag(name, at, move=move).id
    if json:
        say_json({"tag": name, "snapshot": snapshot, "deleted": delete})
    else:
        say(f"{name} {'stood' if delete else 'stands'} for snapshot {snapshot[:12]}.")


@app.command()
def tags(store: StoreOption = STORE, json: JsonOption = False) -> None:
    """List the tags with the snapshots that they stand for."""
    from mlpdata.store.commit import Repository

    repository = Repository.open(store)
    named = [(name, repository.read(snapshot)) for name, snapshot in repository.tags().items()]
    if json:
        for name, one in named:
            say_json({"tag": name, "snapshot": one.id, "time": one.time, "content": one.content})
        return
    rows = [(name, one.id[:12], one.time, one.n_configurations, one.n_calculations, one.message) for name, one in named]
    say_rows(("tag", "snapshot", "time", "configurations", "calculations", "message"), rows)


SHOWN = 20
"""Calculations that are printed; --json has all."""


@app.command()
def retract(
    what: Annotated[
        str | None,
        typer.Argument(help="Path or start of the id of a calculation; path or start of the sha256 of a source."),
    ] = None,
    store: StoreOption = STORE,
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")] = "",
    code_version: Annotated[
        str | None, typer.Option("--code-version", help="All of a code and version, such as 'vasp 6.3.0'.")
    ] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="A SELECT of calculation_id.")] = None,
    by: Annotated[str, typer.Option(envvar="MLPDATA_BY", help="Who; nobody is named by default.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Show again what was retracted by hand.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be hidden, write nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Hide calculations from now on, whatever a sync finds; without arguments, list what is hidden so."""
    from mlpdata.retract import Which
    from mlpdata.retract import retract as run

    which = Which(what, code_version, sql)
    if which == Which() and not (reason or undo):
        _say_tombstones(store, json)
        return
    report = run(store, which, reason, by=by, undo=undo, dry_run=dry_run)
    if json:
        say_json(report.as_json())
        return
    verb = "shown again" if undo else "retracted"
    state = f"would be {verb}" if dry_run else verb
    configurations = counted(report.n_configurations, "configuration")
    say(f"{counted(len(report.paths), 'calculation')} with {configurations} {state}.")
    for path in report.paths[:SHOWN]:
        say(f"  {on_a_line(path)}")
    if len(report.paths) > SHOWN:
        say(f"  ... and {len(report.paths) - SHOWN} more; --json lists all.")
    say(f"The store shows snapshot {report.snapshot[:12]}.")


def _say_tombstones(store: Path, json: bool) -> None:
    """What is retracted by hand, and why."""
    from mlpdata.retract import tombstones
    from mlpdata.store.commit import Repository

    found = tombstones(Repository.open(store).snapshot())
    if json:
        for one in found:
            say_json(one._asdict())
    else:
        rows = [(one.path, one.n_configurations, one.reason, one.by, one.time) for one in found]
        say_rows(("calculation", "configurations", "reason", "by", "time"), rows)


@app.command()
def trace(
    what: Annotated[
        str,
        typer.Argument(
            help="Path or start of the id of a checkpoint, view, split, report, calculation, configuration."
        ),
    ],
    store: StoreOption = STORE,
    forward: Annotated[
        bool, typer.Option("--forward", help="From a calculation or a source to all that was made of it.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Walk back from a result to file and line, or forward from a source to what rests on it; 1 where a link is broken."""
    from mlpdata import provenance

    found = provenance.trace_forward(store, what) if forward else provenance.trace(store, what)
    if json:
        say_json(found.as_json())
    elif isinstance(found, provenance.Forward):
        _say_forward(found)
    else:
        _say_trace(found)
    for one in found.broken if not json else ():
        warn(f"broken: {on_a_line(one)}.")
    return int(bool(found.broken))


def _say_trace(found: Trace) -> None:
    """The chain, then files and lines."""
    say_rows(("what", "name", "id", "note"), [(one.what, one.name, one.id[:32], one.note) for one in found.links])
    rows = [
        (one.calculation, one.n_configurations, _place(one), one.sha256[:12], f"{one.reader} {one.reader_version}")
        for one in found.origins[:SHOWN]
    ]
    if rows:
        say_rows(("calculation", "configurations", "source", "sha256", "reader"), rows)
    if len(found.origins) > SHOWN:
        say(f"... and {len(found.origins) - SHOWN} more; --json lists all.")


def _place(one: Origin) -> str:
    """`runs/a/OUTCAR:17-320`."""
    if not one.first_line:
        return one.source
    return f"{one.source}:{one.first_line}" + (f"-{one.last_line}" if one.last_line != one.first_line else "")


def _say_forward(found: Forward) -> None:
    calculations = counted(len(found.calculations), "calculation")
    say(f"{calculations} with {counted(found.n_configurations, 'configuration')}.")
    rows = [
        (one.what, one.path, one.id[:12], ", ".join(f"{part} {n}" for part, n in one.parts.items()))
        for one in found.touched
    ]
    say_rows(("what", "path", "id", "configurations"), rows) if rows else say(
        "Nothing beside the store holds any of them."
    )
