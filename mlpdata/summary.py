"""Summary: results as tables, for the terminal and the report alike."""

from __future__ import annotations

from typing import Any

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
