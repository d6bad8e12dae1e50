"""Summary: results as tables, for the terminal and the report alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlpdata.digest import is_hex

if TYPE_CHECKING:
    from mlpdata.differences import Differences

_ASKED = ("mae", "rmse", "r2")
ERROR_COLUMNS = ("kind", "configurations", "energy MAE [meV/atom]", "RMSE", "R2", "force MAE [meV/angstrom]", "RMSE",
                 "R2", "stress MAE [GPa]")  # fmt: skip


def error_rows(metrics: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The table of errors: a row for all, a row a kind, and for the forces a row an element."""
    of_elements = {symbol: {"forces": errors} for symbol, errors in metrics["elements"].items()}
    rows = []
    for name, errors in {"all": metrics["all"], **metrics["kinds"], **of_elements}.items():
        asked = [("energy", key) for key in _ASKED] + [("forces", key) for key in _ASKED] + [("stress", "mae")]
        numbers = (errors.get(label, {}).get(key) for label, key in asked)
        rows.append(
            (name, errors.get("n_configurations"), *(None if one is None else round(one, 3) for one in numbers))
        )
    return ERROR_COLUMNS, rows


DYNAMICS_COLUMNS = ("run", "ensemble", "length [ps]", "step [fs]", "temperature [K]", "drift [meV/atom/ps]", "outcome")


def dynamics_rows(summary: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The table of molecular dynamics: a row a run."""
    return DYNAMICS_COLUMNS, [
        (run["label"], run["ensemble"], round(run["duration"], 3), run["timestep"], _with_error(run["temperature"], 0),
         _with_error(run["drift"], 4), run["failure"] or "to the end")
        for run in summary["runs"]
    ]  # fmt: skip


def _with_error(estimate: dict[str, float] | None, decimals: int) -> str | None:
    if estimate is None:
        return None
    return f"{estimate['value']:.{decimals}f} +- {estimate['error']:.{decimals}f}"


MOST_ROWS, MOST_VALUES = 20, 5
"""Calculations of a difference, and values of an attribute, that a person is shown; JSON has all."""


def difference_lines(found: Differences) -> list[str]:
    """What changed between two snapshots, in sentences."""
    if found.none:
        return ["Both show the same."]
    lines = [f"{found.added} configurations added, {found.removed} removed, {found.relabelled} relabelled."]
    for what, spread, unit in (("Energies", found.energy, "meV/atom"), ("Forces", found.forces, "meV/angstrom")):
        if spread.n:
            lines.append(
                f"{what} of {spread.n} relabelled moved by at most {spread.largest:.4g}, on average {spread.mean:.4g} {unit}."
            )
    for verb, paths in (("added", found.attributes.added), ("removed", found.attributes.removed)):
        if paths:
            lines.append(f"{verb.capitalize()}: {_calculations(paths)}.")
    for method in found.attributes.methods:
        settings = "; ".join(f"{name} {_word(old)} -> {_word(new)}" for name, (old, new) in method.settings.items())
        lines.append(f"method {settings}: {_calculations(method.paths)}")
    return lines + _attribute_lines(found)


def _attribute_lines(found: Differences) -> list[str]:
    """Old and new values, the commonest first; of an attribute with many values the others are counted."""
    lines, shown = [], Counter[str]()
    for change in found.attributes.changed:
        shown[change.name] += 1
        if shown[change.name] <= MOST_VALUES:
            words = f"{change.name} {_word(change.old)} -> {_word(change.new)}"
            lines.append(f"{words}: {_calculations(change.paths)}")
    lines += [
        f"{name}: {number - MOST_VALUES} further values" for name, number in shown.items() if number > MOST_VALUES
    ]
    return lines


def difference_rows(found: Differences) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows: what changed of the configurations of each calculation, the first ones by path."""
    columns = [
        "calculation",
        "added",
        "removed",
        "relabelled",
        "max dE [meV/atom]",
        "mean dE",
        "max dF [meV/angstrom]",
        "mean dF",
    ]
    table = found.calculations.slice(0, MOST_ROWS).drop_columns(["calculation_id"])
    return columns, [tuple(row.values()) for row in table.to_pylist()]


def _calculations(paths: Sequence[str]) -> str:
    """`1 calculation, a/OUTCAR`."""
    return f"1 calculation, {paths[0]}" if len(paths) == 1 else f"{len(paths)} calculations, such as {paths[0]}"


def _word(value: Any) -> str:
    if value in (None, ""):
        return "none"
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if is_hex(text) else text
