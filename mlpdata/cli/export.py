"""The verb that takes data elsewhere: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import STORE, AtOption, JsonOption, StoreOption
from mlpdata.cli.output import counted, say, say_json
from mlpdata.errors import NotFound, UsageError


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="File or folder to write.")],
    form: Annotated[
        str | None,
        typer.Option("--format", "-f", help="extxyz, ase-db, aselmdb, hdf5 or deepmd; else as TO ends."),
    ] = None,
    query: Annotated[
        str | None, typer.Option("--sql", help="SELECT id ...: which configurations, in this order.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="NAME:PART of a recorded split, such as main:train.")] = None,
    prefix: Annotated[str, typer.Option(help="Before the names of labels in extxyz: REF_ gives REF_energy.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    store: StoreOption = STORE,
    at: AtOption = None,
    json: JsonOption = False,
) -> None:
    """Write configurations for another program, and say what its format does not hold."""
    from mlpdata.api import Store

    snapshot = Store(store).snapshot(at)
    ids, chosen = _chosen(snapshot, query, split)
    exported = snapshot.export(to, form, ids, query=chosen, prefix=prefix, force=force)
    if json:
        say_json(exported.as_json())
        return
    say(
        f"{counted(exported.n_configurations, 'configuration')} of {counted(exported.n_calculations, 'calculation')}: {to}"
    )
    _say_loss(exported.loss)
    say("Licenses: " + ", ".join(f"{name} ({count})" for name, count in exported.licenses.items()))
    say("With it: " + ", ".join(one.name for one in exported.beside))


def _chosen(snapshot: Any, query: str | None, split: str | None) -> tuple[Any, str]:
    """The ids that a query or a split names, None for all, and the words for them."""
    if query is not None and split is not None:
        raise UsageError("expected --sql or --split, found both. A query can ask the view splits.")
    if query is not None:
        return snapshot.sql(query), query
    if split is None:
        return None, ""
    name, colon, part = split.rpartition(":")
    if not (colon and name and part):
        raise UsageError(f"expected NAME:PART such as main:train, found {split!r}.")
    parts = snapshot.split(name).parts
    if part not in parts:
        raise NotFound(f"expected one of the parts {', '.join(parts)}, found {part!r}.")
    return list(parts[part]), f"split {split}"


def _say_loss(loss: Any) -> None:
    """What is lost, with the number of configurations of each, a line a reason."""
    for note in loss.left_out:
        say(f"Left out: {counted(note.configurations, 'configuration')}, {note.why}.")
    for title, notes in (("Not in it", loss.dropped), ("Changed", loss.changed), ("Mind", loss.caution)):
        for why in dict.fromkeys(note.why for note in notes):
            say(f"{title}: {_listed(note for note in notes if note.why == why)}: {why}.")
    if loss.beside:
        say(f"In the sidecar alone: {_listed(loss.beside)}.")


def _listed(notes: Any) -> str:
    return ", ".join(f"{note.what} ({note.configurations})" for note in notes)
