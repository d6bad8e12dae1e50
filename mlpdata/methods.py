"""Methods: the DFT records of a snapshot or of one output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlpdata.api import Snapshot
from mlpdata.curate.record import dft_records, environment, records
from mlpdata.discover import Output
from mlpdata.errors import InputError, NotFound, NotRecognised
from mlpdata.frames import Frames
from mlpdata.inspection import outputs_below
from mlpdata.runs import read_output
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.dft_record import DftRecord
from mlpdata.schema.sidecar import Sidecar
from mlpdata.store.columns import composition_columns


def make_record(snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
    """The DFT parameters of every method of a snapshot as YAML, and the software at hand."""
    return records(snapshot.calculations(), _systems(snapshot)), environment()


def method_records(snapshot: Snapshot, start: str | None = None) -> list[DftRecord]:
    """The DFT records of a snapshot whose method or theory begins with `start`; all of them where it is None.

    Raises:
        NotFound: there is none.
    """
    found = dft_records(snapshot.calculations(), _systems(snapshot))
    chosen = [one for one in found if one.method.startswith(start or "") or one.theory.startswith(start or "")]
    if not chosen:
        raise NotFound(f"expected a method or theory that starts with {start!r}, found {len(found)} others.")
    return chosen


def _systems(snapshot: Snapshot) -> list[dict[str, Any]]:
    table = snapshot.sql(
        "SELECT method_id, formula, charge, multiplicity, count(*) AS configurations FROM configurations "
        "GROUP BY ALL ORDER BY ALL"
    )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def file_records(path: Path) -> list[DftRecord]:
    """The DFT records of one output, or of those in an archive, which need not be in a store.

    Args:
        path: a file, or a member of an archive such as runs.tar.gz!a/OUTCAR.

    Raises:
        UsageError: nothing is there.
        InputError: nothing could be read.
    """
    calculations: list[Calculation] = []
    rows: list[dict[str, Any]] = []
    refused: InputError | None = None
    for place in outputs_below([path]):
        met: list[dict[str, Any]] = []
        try:
            for event in read_output(Output(place, place.name, Sidecar())):
                if isinstance(event, Frames):
                    met += _compositions(event)
                elif isinstance(event, Calculation):
                    calculations.append(event)
                    rows += [{"method_id": event.method.id, **row} for row in met]
                    met = []
        except InputError as error:
            refused = refused or error
    if not calculations:
        raise refused or NotRecognised("expected outputs of a known code, found none.", path=path)
    return dft_records(calculations, rows)


def _compositions(frames: Frames) -> list[dict[str, Any]]:
    """Formula, charge and multiplicity of each configuration, as a query would give them."""
    charges, multiplicities = frames.get("charge").tolist(), frames.get("multiplicity").tolist()
    return [
        {
            "formula": formula,
            "configurations": 1,
            "charge": None if charge != charge else charge,  # noqa: PLR0124  NaN
            "multiplicity": multiplicity or None,
        }
        for formula, charge, multiplicity in zip(
            composition_columns(frames)["formula"].to_pylist(), charges, multiplicities, strict=True
        )
    ]
