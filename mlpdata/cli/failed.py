"""The verb `failed`: which runs were lost and why, for people and for scripts that submit them again."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import STORE, JsonOption, StoreOption, one_of
from mlpdata.cli.output import as_json, counted, on_a_line, printable, say, say_json, say_rows, say_table, warn
from mlpdata.errors import UsageError

if TYPE_CHECKING:
    from mlpdata.failures import Failure, Failures


@app.command()
def failed(
    root: Annotated[Path | None, typer.Argument(metavar="DIR", help="Folder of outputs; only runs in it.")] = None,
    store: StoreOption = STORE,
    cause: Annotated[str | None, typer.Option("--cause", help="Only these causes, such as scf,walltime.")] = None,
    paths: Annotated[bool, typer.Option("--paths", help="Print the folder of each run, one a line.")] = False,
    null: Annotated[bool, typer.Option("--null", "-0", help="End each folder with a NUL, for xargs -0.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV for spreadsheets.")] = False,
    json: JsonOption = False,
    unconverged: Annotated[
        bool, typer.Option("--unconverged", help="Also relaxations that ended by their step limit.")
    ] = False,
    all: Annotated[bool, typer.Option("--all", help="Also runs that another one continues or repeats.")] = False,
    running: Annotated[
        float, typer.Option("--running", min=0, help="Minutes without a change after which a run is over.")
    ] = 60.0,
) -> int:
    """List the runs that were lost, and why: SCF, walltime, memory, crash, truncated, ..."""
    from mlpdata.failures import failures
    from mlpdata.intake import last_tree
    from mlpdata.standing import refused_below

    forms = [name for name, given in (("--paths", paths or null), ("--csv", csv), ("--json", json)) if given]
    if len(forms) > 1:
        raise UsageError(f"expected one form of output, found {' and '.join(forms)}.")
    causes = _causes(cause)
    if root is not None and not root.is_dir():
        raise UsageError("expected a folder of outputs, found none.", path=root)
    tree = root or last_tree(store)
    tree = tree if tree is not None and tree.is_dir() else None
    found = failures(
        store,
        tree,
        refused=refused_below(tree, store) if tree is not None else (),
        unconverged=unconverged or "geometry" in causes,
        running=running,
        replaced=all,
    )
    lost = [one for one in found.lost if not causes or one.cause in causes]
    if paths or null:
        _print_folders(lost, null)
    elif csv:
        _print_csv(lost)
    elif json:
        for one in lost:
            say_json(one.as_json())
    else:
        _print_table(lost, found)
    return 0


def _causes(text: str | None) -> set[str]:
    """The causes asked for; none where all are wanted."""
    from mlpdata.causes import CAUSES

    return {one_of(word.strip(), tuple(CAUSES), "causes") or "" for word in (text or "").split(",") if word.strip()}


def _print_folders(lost: Sequence[Failure], null: bool) -> None:
    """The folders as their bytes are, each once; on a terminal without what would steer it."""
    folders = dict.fromkeys(str(one.folder) for one in lost if one.folder is not None)
    nowhere = sum(one.folder is None for one in lost)
    if nowhere:
        warn(f"{counted(nowhere, 'lost run')} not on disk as a folder of its own: in an archive, or moved.")
    if not null:
        broken = [folder for folder in folders if "\n" in folder]
        folders = {folder: None for folder in folders if folder not in broken}
        if broken:
            warn(f"{counted(len(broken), 'folder')} with a line break in the name left out; --null lists all.")
    end = b"\0" if null else b"\n"
    if sys.stdout.isatty():
        for folder in folders:
            say(printable(folder))
        return
    sys.stdout.flush()
    for folder in folders:
        typer.echo(os.fsencode(folder) + end, nl=False)


def _print_csv(lost: Sequence[Failure]) -> None:
    import pyarrow as pa

    def column(values: Iterable[str | None]) -> pa.Array:
        """Text; names on disk may be no UTF-8."""
        return pa.array([value and value.encode("utf-8", "replace").decode() for value in values], pa.string())

    columns = {
        "path": column(one.path for one in lost),
        "folder": column(None if one.folder is None else str(one.folder) for one in lost),
        "code": column(one.code for one in lost),
        "cause": column(one.cause for one in lost),
        "place": column(one.evidence.place for one in lost),
        "words": column(one.evidence.words for one in lost),
        "n_configurations": pa.array([one.n_configurations for one in lost], pa.int64()),
        "last_step": pa.array([one.last_step for one in lost], pa.int64()),
        "restart": column(as_json(one.restart) for one in lost),
    }
    say_table(pa.table(columns), "csv", None)


def _print_table(lost: Sequence[Failure], found: Failures) -> None:
    """A row a run, then how many there are of each cause and how many were left out."""
    if lost:
        rows = [(on_a_line(one.path), one.cause, str(one.evidence), one.n_configurations) for one in lost]
        say_rows(("path", "cause", "evidence", "frames kept"), rows)
    causes = ", ".join(f"{number} {cause}" for cause, number in Counter(one.cause for one in lost).most_common())
    say(f"{counted(len(lost), 'lost run')}{': ' + causes if causes else ''}.")
    if found.n_running:
        say(f"{counted(found.n_running, 'run')} without an end mark changed a short while ago and may be running.")
    if found.n_replaced:
        say(f"{counted(found.n_replaced, 'lost run')} that another one continues or repeats; --all lists them.")
