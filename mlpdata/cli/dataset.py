"""Verbs about a store: show, method, sql."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import STORE, AtOption, JsonOption, OutOption, StoreOption
from mlpdata.cli.output import FORMATS, say, say_json, say_rows, say_table
from mlpdata.errors import NotFound, UsageError

SHOWN = {"energy", "energy_sigma0", "energy_no_entropy", "scf_converged", "step", "charge", "multiplicity", "pbc",
         "source_line", "source_index"}  # fmt: skip
"""Properties that `show` has named already by the time it comes to the rest, or that say where a file has them."""


@app.command()
def show(
    id: Annotated[
        str | None, typer.Argument(help="Id of a configuration or the start of one; none: the snapshot.")
    ] = None,
    store: StoreOption = STORE,
    at: AtOption = None,
    native: Annotated[bool, typer.Option("--native", help="Numbers as the file printed them, in its units.")] = False,
    json: JsonOption = False,
) -> None:
    """Show a configuration with its labels, source and line, or what the snapshot holds."""
    from mlpdata.api import Store

    snapshot = Store(store).snapshot(at)
    if id is None:
        _show_snapshot(snapshot, json)
        return
    found = configuration(snapshot, id)
    if native:
        _show_native(snapshot, found, json)
        return
    if json:
        say_json(found)
        return
    for name in ("id", "calculation", "source", "line", "reader", "kind", "license", "formula", "energy", "energy_sigma0",
                 "energy_no_entropy", "scf_converged", "step", "charge", "multiplicity", "theory"):  # fmt: skip
        say(f"{name:18s} {_text(found[name])}")
    _show_properties(found)
    _show_history(found)


def _show_history(found: dict[str, Any]) -> None:
    """Who changed attributes of the calculation, when and why."""
    from mlpdata.cli.annotate import change

    for step in found["history"]:
        if step["field"] not in ("declared", "rests_on"):  # they say the same in other words
            why = f" ({step['why']})" if step["why"] else ""
            by = f" by {step['by']}" if step["by"] else ""
            say(f"{'amended':18s} {step['time']}{by}: {change(step['field'], step['old'], step['new'])}{why}")


def _show_properties(found: dict[str, Any]) -> None:
    """Cell, stress and whatever else is known of the configuration, then a row an atom."""
    from mlpdata.schema.properties import ATOM, CONFIGURATION, PROPERTIES

    known = [row for name, row in PROPERTIES.items() if found[name] is not None]
    for row in known:
        if row.level == CONFIGURATION and row.name not in SHOWN:
            unit = f" [{row.unit}]" if row.dimension else ""
            say(f"{row.name:18s} {_text(found[row.name])}{unit}")
    if found["hessian"] is not None:
        say(f"{'hessian':18s} {len(found['atomic_numbers'])} x {len(found['atomic_numbers'])} blocks; --json has them")
    columns = [row for row in known if row.level == ATOM]
    heads = ("Z" if row.name == "atomic_numbers" else f"{row.name} [{row.unit}]" for row in columns)
    atoms = zip(*(found[row.name] for row in columns), strict=True)
    say_rows(tuple(heads), [tuple(_text(value) for value in atom) for atom in atoms])


def _show_native(snapshot: Any, found: dict[str, Any], json: bool) -> None:
    """The numbers of a configuration as its files printed them."""
    from mlpdata.native import printed

    key = found["segment"], found["calculation_record"]
    calculation = snapshot.opened.calculations_of([key])[key]
    numbers = printed(snapshot.read([bytes.fromhex(found["id"])]), 0, calculation)
    where = {"id": found["id"], "source": found["source"], "line": found["line"]}
    if json:
        say_json({**where, **{name: {**one._asdict(), "values": one.as_text()} for name, one in numbers.items()}})
        return
    for name, value in where.items():
        say(f"{name:18s} {_text(value)}")
    for name, one in numbers.items():
        note = f", {one.note}" if one.note else ""
        beside = "" if one.source == found["source"] else f", from {one.source}"
        text = one.as_text()
        if isinstance(text, list):
            say(f"{name} [{one.unit}{note}{beside}]")
            for row in text:
                say(f"  {_text(row)}")
        else:
            say(f"{name:18s} {text} [{one.unit}{note}{beside}]")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "  ".join(_text(one) for one in value)
    return "absent" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def configuration(snapshot: Any, prefix: str) -> dict[str, Any]:
    """One configuration of a snapshot as JSON values, with where it came from.

    Raises:
        NotFound: no id starts so.
        UsageError: several do, or the text is no hexadecimal number.
    """
    from mlpdata.inspection import frame_json

    if not 4 <= len(prefix) <= 32 or set(prefix.lower()) - set("0123456789abcdef"):
        raise UsageError(f"expected 4 to 32 hexadecimal digits of an id, found {prefix!r}.")
    table = snapshot.sql(  # the prefix was just found to be hexadecimal digits
        "SELECT c.id, c.formula, c.calculation_id, c.kind, c.license, c.theory, s.path AS source, c.source_line AS line, "
        "c.source_index, c.segment, c.calculation_record, s.reader FROM configurations c "
        "JOIN sources s USING (calculation_record, source_index) "
        f"WHERE starts_with(lower(hex(c.id)), '{prefix.lower()}') ORDER BY c.id, source LIMIT 2"
    )
    rows = table.to_pylist()
    if not rows:
        raise NotFound(
            f'expected a configuration whose id starts with {prefix}, found none. Try: mlpdata sql "SELECT hex(id) FROM configurations".'
        )
    if len({row["id"] for row in rows}) > 1:
        raise UsageError(f"expected one configuration whose id starts with {prefix}, found several. Give more digits.")
    row = rows[0]
    row["segment"] = snapshot.opened.state.segments[row["segment"]]
    history = snapshot.opened.history(row["segment"], row["calculation_record"])
    return {
        **frame_json(snapshot.read([row["id"]]), 0),
        **row,
        "id": row["id"].hex(),
        "calculation": row["calculation_id"],
        "history": [step._asdict() for step in history],
    }


def _show_snapshot(snapshot: Any, json: bool) -> None:
    table = snapshot.sql(
        "SELECT formula, kind, count(*) AS configurations, count(DISTINCT calculation_id) AS calculations, "
        "any_value(functional) AS functional, any_value(license) AS license "
        "FROM configurations GROUP BY ALL ORDER BY ALL"
    )
    if json:
        say_json({**snapshot.record.as_json(), "id": snapshot.record.id, "composition": table.to_pylist()})
        return
    say(repr(snapshot))
    say_table(table, "table", None)


methods = typer.Typer(help="Levels of theory and settings, as the outputs state them.", no_args_is_help=True)
app.add_typer(methods, name="method")


@methods.command("show")
def method_show(
    which: Annotated[
        str | None, typer.Argument(help="Id of a method or theory or its start, or an output; none: all of the store.")
    ] = None,
    store: StoreOption = STORE,
    at: AtOption = None,
    json: JsonOption = False,
) -> None:
    """Print the DFT record of a method, as YAML: code, functional, cutoff, k points, convergence, potentials."""
    import yaml

    from mlpdata.api import Store
    from mlpdata.methods import file_records, method_records

    path = Path(which) if which is not None else None
    if path is not None and (path.is_file() or "!" in str(path)):
        found = file_records(path)
    else:
        found = method_records(Store(store).snapshot(at), which)
    documents = [one.as_json() for one in found]
    if json:
        for document in documents:
            say_json(document)
    else:
        say(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=120).rstrip())


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT, DESCRIBE or EXPLAIN; none: a prompt.")] = None,
    store: StoreOption = STORE,
    at: AtOption = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="table, csv, json (a line a row) or parquet; else as --out ends, or table."
        ),
    ] = None,
    out: OutOption = None,
    json: JsonOption = False,
    emit: Annotated[bool, typer.Option("--emit", help="Print a script for the DuckDB command line instead.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Longest query [s].")] = 300.0,
) -> None:
    """Ask the snapshot: views configurations, calculations, methods, sources, splits, atoms."""
    from mlpdata.api import Store

    form = "json" if json else form or format_of(out)
    if form not in FORMATS:
        raise UsageError(f"expected one of the formats {', '.join(FORMATS)}, found {form!r}.")
    snapshot = Store(store).snapshot(at)
    if query is None and not emit and not sys.stdin.isatty():
        query = sys.stdin.read()
    if emit:
        from mlpdata.emit import emit_script

        say(emit_script(snapshot.opened, store, query))
    elif query is not None:
        say_table(snapshot.sql(query, timeout), form, out)
    else:
        prompt(snapshot, form)


def format_of(out: Path | None) -> str:
    """The format that the name of a file asks for; a table where there is none."""
    if out is None:
        return "table"
    ending = out.suffix.lower().removeprefix(".")
    return ending if ending in FORMATS else {"jsonl": "json", "ndjson": "json"}.get(ending, "csv")


def prompt(snapshot: Any, form: str) -> None:
    """Read statements until the end of input, answer each."""
    say(
        f"{snapshot!r}\nOne SELECT at a time, ended by ';'. Views: configurations, calculations, methods, sources, splits, atoms."
    )
    statement = ""
    while True:
        try:
            statement += input("mlpdata> " if not statement else "    ...> ") + "\n"
        except EOFError:
            return
        if statement.strip() in ("", "exit", "quit", ".quit"):
            if statement.strip():
                return
            statement = ""
        elif statement.rstrip().endswith(";"):
            try:
                say_table(snapshot.sql(statement), form, None)
            except UsageError as error:
                say(str(error))
            statement = ""
