"""Verbs about the upkeep of a store: revert, merge, purge, compact, gc, migrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import STORE, JsonOption, StoreOption
from mlpdata.cli.output import counted, on_a_line, say, say_json, warn
from mlpdata.errors import UsageError

SHOWN = 20
"""Lines of a list that are printed; --json has all."""
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@app.command()
def revert(
    at: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Tag, id or its start, or date.")],
    store: StoreOption = STORE,
    by: Annotated[str, typer.Option(envvar="MLPDATA_BY", help="Who, for the record.")] = "revert",
    json: JsonOption = False,
) -> None:
    """Show again what an earlier snapshot showed, in a new one; what came since stays hidden until undone."""
    from mlpdata.store.commit import Repository
    from mlpdata.store.upkeep import revert as run

    record = run(Repository.open(store), at, user=by)
    if json:
        say_json({"id": record.id, **record.as_json()})
    else:
        say(f"The store shows {counted(record.n_configurations, 'configuration')}, snapshot {record.id[:12]}, "
            f"content {record.content[:12]}.")  # fmt: skip


@app.command()
def merge(
    other: Annotated[Path, typer.Argument(help="Folder of the other store, such as that of a clone.")],
    store: StoreOption = STORE,
    json: JsonOption = False,
) -> None:
    """Bring what another store holds, with its history, into this one; nothing of either is lost."""
    from mlpdata.merging import merge as run

    report = run(store, other)
    if json:
        say_json(report.as_json())
        return
    say(f"{counted(report.n_brought, 'calculation')} brought, {report.n_hidden} hidden as the other side says.")
    if report.amended:
        say(f"Related: {counted(report.amended, 'calculation')} in chains, groups or series with others.")
    _say_some("Conflict", report.conflicts)
    for tag in report.kept_tags:
        say(f"Tag: {tag} stands for another snapshot there; here it stays as it is.")
    say(f"The store shows {counted(report.n_configurations, 'configuration')}, snapshot {report.snapshot[:12]}.")


@app.command()
def purge(
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
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would be deleted.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete calculations for good, in all versions, as where a license was withdrawn; see also retract."""
    from mlpdata.purging import purge as run
    from mlpdata.retract import Which

    report = run(store, Which(what, code_version, sql), reason, dry_run=not yes)
    if json:
        say_json(report.as_json())
        return
    state = "deleted" if yes else "would be deleted; --yes deletes"
    say(f"{counted(len(report.paths), 'calculation')} with {counted(report.n_configurations, 'shown configuration')} "
        f"{state}.")  # fmt: skip
    _say_some("Calculation", report.paths)
    _say_some("No longer readable", [f"snapshot {name[:12]}" for name in report.unreadable])
    if yes:
        warn("Views, checkpoints, exports and other copies of the store may still hold them: "
             "`mlpdata trace --forward` lists what lies in this project.")  # fmt: skip
    say(f"The store shows snapshot {report.snapshot[:12]}.")


@app.command()
def compact(
    store: StoreOption = STORE,
    everything: Annotated[bool, typer.Option("--all", help="Into one segment, however many there are.")] = False,
    json: JsonOption = False,
) -> None:
    """Put many small segments together; ingest and sync do so when there are too many of one size."""
    from mlpdata.store.commit import Repository
    from mlpdata.store.upkeep import compact as run

    repository = Repository.open(store)
    head = repository.head()
    names = head.segments if everything and head is not None and len(head.segments) > 1 else None
    done = run(repository, names)
    if json:
        say_json({"replaced": list(done.replaced), "segment": done.segment, "snapshot": done.snapshot})
    elif done.replaced:
        say(f"{counted(len(done.replaced), 'segment')} put together into {done.segment[:12]}, "
            f"snapshot {done.snapshot[:12]}. `mlpdata gc` removes the old ones in a day.")  # fmt: skip
    else:
        say("Nothing to do: there are few segments of each size. --all puts all of them together.")


@app.command()
def gc(
    store: StoreOption = STORE,
    grace: Annotated[str, typer.Option(help="For how long what nothing needs is kept: 90s, 10m, 12h, 7d.")] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove files that no version needs: replaced segments, and what killed commits left."""
    from mlpdata.store.commit import Repository
    from mlpdata.store.upkeep import collect_garbage

    found = collect_garbage(Repository.open(store), grace=_seconds(grace), dry_run=dry_run)
    if json:
        say_json({**vars(found), "dry_run": dry_run})
        return
    names = (counted(len(found.segments), "segment"), counted(len(found.snapshots), "snapshot"))
    verb = "would go" if dry_run else "removed"
    say(f"{', '.join(names)} and {counted(len(found.amendments), 'amendment')} of {found.n_bytes / 1e6:.1f} MB {verb}.")
    if found.n_too_young:
        say(f"Kept: {found.n_too_young} that nothing needs either, until they are older than {grace}.")


@app.command()
def migrate(store: StoreOption = STORE, json: JsonOption = False) -> None:
    """Write anew what an older mlpdata wrote in an older layout; all versions stay readable."""
    from mlpdata.store.commit import Repository
    from mlpdata.store.upkeep import migrate as run

    done = run(Repository.open(store))
    if json:
        say_json({"replaced": list(done.replaced), "segment": done.segment, "snapshot": done.snapshot})
    elif done.replaced:
        say(f"{counted(len(done.replaced), 'segment')} written anew, snapshot {done.snapshot[:12]}.")
    else:
        say("Nothing to do: all segments are of the current layout.")


def _seconds(text: str) -> float:
    """A span of time such as 12h [s].

    Raises:
        UsageError: no such span.
    """
    number, unit = text[:-1], text[-1:]
    if unit in _SECONDS and number.isascii() and number.isdigit() and len(number) < 7:
        return int(number) * _SECONDS[unit]
    raise UsageError(f"expected a span such as 90s, 10m, 12h or 7d, found {text!r}.")


def _say_some(what: str, lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        say(f"{what}: {on_a_line(line)}")
    if len(lines) > SHOWN:
        say(f"  ... and {len(lines) - SHOWN} more; --json lists all.")
