"""Composition: what a selection consists of, counted."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpdata.curate.links import Table, column

WINDOWS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, np.inf)
"""Edges of the energy windows above the lowest energy of the same reduced formula [eV/atom]."""


def composition(table: Table) -> dict[str, Any]:
    """Counts of configurations by kind, temperature, formula, elements and energy, and of groups by kind.

    Args:
        table: rows of configurations; columns that it lacks are left out of the answer.
    """
    names = set(table.column_names if hasattr(table, "column_names") else table)
    answer: dict[str, Any] = {"n_configurations": len(column(table, next(iter(sorted(names)))))} if names else {}
    for name in ("kind", "config_type", "formula", "code", "functional", "forces_are", "license"):
        if name in names:
            answer[name] = counts(column(table, name))
    if "temperature_target" in names:
        answer["temperature"] = _temperatures(column(table, "temperature_target"))
    if "elements" in names:
        answer["elements"] = counts([symbol for symbols in column(table, "elements") for symbol in symbols])
    if {"kind", "group"} <= names:
        answer["groups"] = _groups(column(table, "kind"), column(table, "group"))
    if {"energy_per_atom", "reduced_formula"} <= names:
        answer["energy_windows"] = _windows(column(table, "energy_per_atom"), column(table, "reduced_formula"))
    return answer


def counts(values: Any) -> dict[str, int]:
    """How often each value occurs, the most frequent first; what is not known counts as "unknown"."""
    counted = Counter("unknown" if value is None else str(value) for value in values)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _temperatures(values: NDArray[Any]) -> dict[str, int]:
    """By set point [K], ascending; static runs have none."""
    kelvin = np.array([np.nan if value is None else value for value in values], np.float64)
    points, number = np.unique(kelvin[~np.isnan(kelvin)], return_counts=True)
    found = {f"{point:g} K": int(n) for point, n in zip(points, number, strict=True)}
    static = int(np.isnan(kelvin).sum())
    return {**found, "none": static} if static else found


def _groups(kinds: NDArray[Any], groups: NDArray[Any]) -> dict[str, int]:
    """Independent groups of each kind."""
    return counts([kind for kind, _ in {(str(kind), str(group)) for kind, group in zip(kinds, groups, strict=True)}])


def _windows(energy: NDArray[Any], formula: NDArray[Any]) -> dict[str, int]:
    """Configurations by energy above the lowest of the same reduced formula [eV/atom]."""
    values = np.array([np.nan if value is None else value for value in energy], np.float64)
    known = ~np.isnan(values)
    index = np.unique(formula.astype(str)[known], return_inverse=True)[1]
    lowest = np.full(int(index.max(initial=-1)) + 1, np.inf)
    np.minimum.at(lowest, index, values[known])
    number, _ = np.histogram(values[known] - lowest[index], WINDOWS)
    labels = [
        f"{low:g} to {high:g} eV/atom" if np.isfinite(high) else f"above {low:g} eV/atom"
        for low, high in pairwise(WINDOWS)
    ]
    return dict(zip(labels, number.tolist(), strict=True))
