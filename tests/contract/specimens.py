"""The fixtures of the built-in readers: all small files in tests/data/<code>/, each by the reader that knows it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mlpdata.errors import NotRecognised
from mlpdata.readers.registry import Reader, readers, recognise_file
from mlpdata.schema.sidecar import SIDECAR, Declared
from mlpdata.testing import ReaderContract

DATA = Path(__file__).parents[1] / "data"
APART = {"silicon", "fuzz", "foreign", "failures", "stores"}
"""Folders of other tests: real outputs, damaged ones that fuzzing found, those that other libraries read, logs."""

END_MARKS = {
    "vasp/xml": b"</modeling>",
    "espresso/text": b"JOB DONE.",
    "espresso/xml": b"</qes:espresso>",
    "espresso/cp": b"JOB DONE.",
    "orca/out": b"ORCA TERMINATED NORMALLY",
    "vasp/outcar": b"General timing and accounting",
    "gaussian/log": b"Normal termination",
    "cp2k/out": b"PROGRAM ENDED AT",
}
"""What the program prints at its end."""
WITHOUT_END: set[str] = {"extxyz/frames", "pyscf/out"}
"""Formats in which a file that ends between two frames is whole."""
DECLARED: dict[str, Declared] = {
    "extxyz/frames": Declared(units={"energy": "eV", "length": "angstrom", "stress": "eV/angstrom^3"}),
}
"""What has to be said of formats that state no units."""


class Found(NamedTuple):
    """What lies in the folders of fixtures."""

    fixtures: dict[str, list[Path]]
    """By name of the reader."""
    strays: list[Path]
    """Files that no reader knows and that are no companion of a fixture."""


def find() -> Found:
    """Sort the files below tests/data by reader."""
    fixtures: dict[str, list[Path]] = {reader.name: [] for reader in readers()}
    unknown, companions = [], set()
    for path in sorted(DATA.rglob("*")):
        if not path.is_file() or path.name == SIDECAR or path.relative_to(DATA).parts[0] in APART:
            continue
        try:
            known = recognise_file(path)
        except NotRecognised:
            unknown.append(path)
        else:
            fixtures[known.reader.name].append(path)
            companions |= set(known.companions)
    alone = {name: [path for path in paths if path not in companions] for name, paths in fixtures.items()}
    return Found(alone, [path for path in unknown if path not in companions])


FOUND = find()


def contract(reader: Reader, limit: int | None) -> type[ReaderContract]:
    """The contract of one built-in reader on its fixtures."""
    name = "Test" + "".join(word.capitalize() for word in reader.name.replace("-", "/").split("/"))
    return type(
        name,
        (ReaderContract,),
        {
            "reader": reader,
            "fixtures": FOUND.fixtures[reader.name],
            "end_mark": END_MARKS.get(reader.name),
            "has_end": reader.name not in WITHOUT_END,
            "declared": DECLARED.get(reader.name),
            "limit": limit,
        },
    )
