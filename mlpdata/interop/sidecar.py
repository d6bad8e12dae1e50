"""What goes with every export: where each configuration came from, in JSON, and whom to thank, in Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpdata.interop.loss import Loss
from mlpdata.interop.selection import Selection
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.properties import PROPERTIES

ATTRIBUTION = "ATTRIBUTION.md"
PROVENANCE = "provenance.json"
LAYOUT = "mlpdata/export/1"
UNITS = {"energy": "eV", "length": "angstrom", "force": "eV/angstrom", "stress": "eV/angstrom^3", "charge": "e",
         "magnetic_moment": "muB", "time": "fs", "velocity": "angstrom/fs", "mass": "u"}  # fmt: skip
_AT_ONCE = 4096
NONE_STATED = "none stated"


def provenance(
    selection: Selection,
    about: Mapping[str, Any],
    loss: Loss,
    present: Mapping[str, int],
    left_out: Mapping[str, list[str]],
    files: Mapping[str, Mapping[str, Any]],
) -> Iterator[bytes]:
    """The sidecar in pieces; configurations are columns, in the order of the export."""
    beginning = {
        "layout": LAYOUT,
        **about,
        "n_configurations": len(selection),
        "n_atoms": int(selection.n_atoms.sum()),
        "units": UNITS,
        "properties": {
            name: {"unit": PROPERTIES[name].unit, "meaning": PROPERTIES[name].meaning, "configurations": count}
            for name, count in present.items()
        },
        "loss": loss.as_json(),
        "left_out": left_out,
        "files": files,
        "methods": {one.method.id: one.method.as_json() for one in selection.calculations},
    }
    yield json.dumps(beginning, allow_nan=False)[:-1].encode()
    sizes = np.bincount(selection.of_row, minlength=len(selection.calculations)).tolist()
    records = (_record(one, size) for one, size in zip(selection.calculations, sizes, strict=True))
    yield b', "calculations": ['
    yield from _listed(records)
    yield b'], "configurations": {"id": ['
    yield from _listed(one.tobytes().hex() for one in selection.ids)
    yield b'], "calculation": ['
    yield from _listed(selection.of_row.tolist())
    yield b'], "source": ['
    yield from _listed(_sources(selection))
    yield b"]}}\n"


def _listed(values: Iterable[Any]) -> Iterator[bytes]:
    """The items of a JSON list, some thousand at a time."""
    piece: list[str] = []
    between = ""
    for value in values:
        piece.append(json.dumps(value, allow_nan=False))
        if len(piece) == _AT_ONCE:
            yield (between + ", ".join(piece)).encode()
            piece, between = [], ", "
    if piece:
        yield (between + ", ".join(piece)).encode()


def _record(calculation: Calculation, n_configurations: int) -> dict[str, Any]:
    """What is to be known of a calculation; its ledger and warnings stay in the store."""
    found: dict[str, Any] = {"id": calculation.id, "path": calculation.path, "configurations": n_configurations}
    found["sources"] = [source.as_json() for source in calculation.sources]
    found["method"] = calculation.method.id
    for name in ("license", "citation", "status", "run_kind", "kind", "energy_kind", "forces_are", "group", "system",
                 "temperature_target", "continues", "tags"):  # fmt: skip
        found[name] = getattr(calculation, name)
    return found


def _sources(selection: Selection) -> Iterator[str]:
    """Where the labels of each configuration stand: path:line, the path alone where no line is known."""
    where = selection.snapshot.mapped.gather_many(("source_line", "source_index"), selection.rows)
    lines, places = where["source_line"].tolist(), where["source_index"].tolist()
    for line, place, number in zip(lines, places, selection.of_row.tolist(), strict=True):
        path = selection.calculations[number].sources[place].path
        yield path if line < 1 else f"{path}:{line}"


def licenses(selection: Selection) -> dict[str, int]:
    """How many configurations are under each license."""
    count: Counter[str] = Counter()
    sizes: NDArray[np.int64] = np.bincount(selection.of_row, minlength=len(selection.calculations))
    for one, size in zip(selection.calculations, sizes.tolist(), strict=True):
        count[one.license or NONE_STATED] += size
    return dict(sorted(count.items()))


def attribution(selection: Selection, about: Mapping[str, Any]) -> Iterator[bytes]:
    """License and citation of every calculation, in pieces, those that are alike below one heading."""
    yield (
        f"# Attribution\n\n{len(selection)} configurations of {len(selection.calculations)} calculations, exported from "
        f"snapshot {about['snapshot']} (content {about['content']}).\n"
    ).encode()
    alike: dict[tuple[str, str], list[int]] = {}
    for place, one in enumerate(selection.calculations):
        alike.setdefault((one.license or "", one.citation or ""), []).append(place)
    sizes = np.bincount(selection.of_row, minlength=len(selection.calculations)).tolist()
    for (license_, citation), places in sorted(alike.items()):
        total = sum(sizes[place] for place in places)
        yield f"\n## {_cell(license_) or 'No license stated: ask before it is passed on'}\n\n".encode()
        yield f"Cite: {_cell(citation) or 'nobody is named'}\n\n{total} configurations:\n\n".encode()
        yield b"| calculation | configurations | license | citation |\n| --- | --- | --- | --- |\n"
        yield from _rows(selection.calculations, places, sizes)


def _rows(calculations: Sequence[Calculation], places: Sequence[int], sizes: Sequence[int]) -> Iterator[bytes]:
    for place in sorted(places, key=lambda place: calculations[place].path):
        one = calculations[place]
        cells = one.path, str(sizes[place]), one.license or NONE_STATED, one.citation or NONE_STATED
        yield ("| " + " | ".join(map(_cell, cells)) + " |\n").encode(errors="backslashreplace")


def _cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
