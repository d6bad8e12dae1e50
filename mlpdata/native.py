"""Native: the numbers of a configuration as its files printed them, worked back through the ledger."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mlpdata.frames import Frames
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.properties import PROPERTIES
from mlpdata.units import F64, Conversion


class Printed(NamedTuple):
    """One property as a file prints it."""

    values: F64
    """In the unit, sign and basis of the file, rounded to its decimals."""
    unit: str
    """Of the file."""
    decimals: int | None
    """Fixed number of them, where the format has one."""
    note: str
    """What differs from the store beside the unit: the opposite sign, fractional coordinates."""
    source: str
    """The file."""

    def as_text(self) -> Any:
        """The numbers as text, nested like `values`."""
        return _as_text(self.values, self.decimals)


def printed(frames: Frames, index: int, calculation: Calculation) -> dict[str, Printed]:
    """The properties of configuration `index` with a unit, by name, as the sources of `calculation` print them."""
    one = frames.select([index])
    place = int(one.get("source_index")[0])
    out: dict[str, Printed] = {}
    for name in one.arrays:
        values = one.get(name)
        entries = [entry for entry in calculation.ledger if entry.name == name]
        if PROPERTIES[name].dimension is None or not entries or np.isnan(values).all():
            continue
        cell = None if np.isnan(one.cell[0]).any() else one.cell[0]
        entry = min(entries, key=lambda entry: (entry.source != place, _error(entry, values, cell)))
        numbers = entry.printed(values, cell)
        source = calculation.sources[min(entry.source, len(calculation.sources) - 1)].path
        out[name] = Printed(
            numbers[0] if PROPERTIES[name].level == "configuration" else numbers,
            "1" if entry.basis == "fractional" else entry.unit,
            entry.decimals,
            _note(entry),
            source,
        )
    return out


def _error(entry: Conversion, values: F64, cell: F64 | None) -> float:
    """How badly the numbers come back from their printed form: a file may print one property in several units."""
    if entry.decimals is None or entry.basis == "fractional":
        return 0.0
    back = entry.printed(values, cell) * entry.sign * entry.factor
    return float(np.nanmax(np.abs(back - values) / (np.abs(values) + 1e-300), initial=0.0))


def _note(entry: Conversion) -> str:
    notes = [
        "along the lattice vectors" if entry.basis == "fractional" else "",
        "with the opposite sign" if entry.sign < 0 else "",
    ]
    return ", ".join(note for note in notes if note)


def _as_text(values: Any, decimals: int | None) -> Any:
    if np.ndim(values):
        return [_as_text(one, decimals) for one in values]
    return f"{values:.{decimals}f}" if decimals is not None else f"{values:.15g}"
