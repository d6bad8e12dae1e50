"""The verb annotate: say afterwards what files do not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import STORE, JsonOption, StoreOption
from mlpdata.cli.output import counted, say, say_json
from mlpdata.errors import UsageError

if TYPE_CHECKING:
    from mlpdata.annotate import AnnotateReport

SHOWN = 20
"""Calculations that are printed; --json has all."""


@app.command()
def annotate(
    query: Annotated[str, typer.Argument(help="A SELECT of calculation_id, or of id of configurations.")],
    changes: Annotated[
        list[str],
        typer.Argument(
            help="kind=aimd, temperature_target=500K, group=, license=, citation=, system=, tag.NAME=; "
            "an empty value takes back what was declared."
        ),
    ],
    store: StoreOption = STORE,
    by: Annotated[str, typer.Option(envvar="MLPDATA_BY", help="Who says so; nobody is named by default.")] = "",
    why: Annotated[str, typer.Option(help="The reason, for the record.")] = "",
    whole: Annotated[bool, typer.Option("--whole", help="A configuration stands for all of its calculation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, write nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Say of stored calculations what their files do not; the old values stay on record (mlpdata show ID)."""
    from mlpdata.annotate import annotate as run

    said = [assignment(one) for one in changes]
    report = run(store, query, dict(said), by=by, why=why, whole=whole, dry_run=dry_run)
    say_json(report.as_json()) if json else _say(report)


def assignment(text: str) -> tuple[str, str]:
    """`kind=aimd` taken apart.

    Raises:
        UsageError: no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"expected field=value such as kind=aimd, found {text!r}.")
    return name, value


def _say(report: AnnotateReport) -> None:
    verb = "would be annotated" if report.dry_run else "annotated"
    calculations = counted(len(report.changed), "calculation")
    same = report.n_calculations - len(report.changed)
    said = f"; {counted(same, 'other')} said so before" if same else ""
    say(f"{calculations} {verb}{said}.")
    for one in report.changed[:SHOWN]:
        say(f"  {one.path}: {', '.join(change(name, *both) for name, both in one.changes.items())}")
    if len(report.changed) > SHOWN:
        say(f"  ... and {len(report.changed) - SHOWN} more; --json lists all.")
    say(f"The store shows snapshot {report.snapshot[:12]}.")


def change(name: str, old: Any, new: Any) -> str:
    """`kind unknown -> aimd`."""
    return f"{name} {_value(old)} -> {_value(new)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={one}" for name, one in sorted(value.items())) or "none"
    return "none" if value in (None, "") else str(value)
