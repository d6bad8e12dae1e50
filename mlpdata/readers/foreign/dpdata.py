"""dpdata: its parsers of single formats, asked directly.

Its front door turns cells into lower triangles (pitfall X1) and wraps atoms; the parsers below it do neither. They open
files by fixed names, so that each file is laid into a folder of its own, with nothing in it that leads elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlpdata.elements import ATOMIC_NUMBERS
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.foreign.frames import Reading, Snapshot, finite, whole_lines
from mlpdata.readers.foreign.table import Code
from mlpdata.readers.text import number
from mlpdata.schema.calculation import LeftOut

_INPUT_LINES = ("suffix", "md_dumpfreq")
"""Lines of ABACUS's input that its output is read by; those that name files are left away."""
_SIESTA_COLUMNS = 4
_SIESTA_FORCES = b"siesta: Atomic forces (eV/Ang):"
Known = Mapping[str, Any]


def read(source: Input, folder: Path, row: Code) -> Reading:
    """What dpdata makes of a file, of which it is given a copy in `folder`.

    Raises:
        ParseError: a file beside it is missing, or frames lost something on the way.
    """
    known = _PARSERS[row.parser](source, folder)
    reading = Reading()
    names = [str(name) for name in known["atom_names"]]
    if not all(name in ATOMIC_NUMBERS for name in names):
        raise ParseError(f"expected elements, found {', '.join(names)[:60]}. dpdata knows kinds by their labels only.")
    numbers = np.array([ATOMIC_NUMBERS[names[kind]] for kind in known["atom_types"]], np.uint8)
    n_frames, shape = len(known["coords"]), (len(numbers), 3)
    for name in ("cells", "energies", "forces"):
        if len(known.get(name, ())) not in (n_frames, 0):
            raise ParseError(f"expected {name} of {n_frames} frames, found {len(known[name])}. They cannot be paired.")
    for index in range(n_frames):
        frame = _snapshot(known, index, numbers, shape, row)
        if isinstance(frame, Snapshot):
            reading.frames.append(frame._replace(step=index))
        else:
            reading.left_out.append(LeftOut(line=0, reason=f"frame {index + 1} of dpdata: {frame}"))
    return reading


def _snapshot(known: Known, index: int, numbers: Any, shape: tuple[int, int], row: Code) -> Snapshot | str:
    """One frame; why it is none."""
    positions = finite(known["coords"][index], shape)
    energy = finite(np.ravel(known["energies"][index]), (1,)) if len(known.get("energies", ())) else None
    if positions is None or energy is None:
        return "expected coordinates and an energy, found others."
    cell = finite(known["cells"][index], (3, 3)) if "cells" in known else None
    if cell is None and "cells" in known:
        return "expected a cell, found none."
    forces = None
    if row.forces and len(known.get("forces", ())):
        forces = finite(known["forces"][index], shape)
        if forces is None:
            return f"expected forces of {shape[0]} atoms, found others."
    periodic = np.full(3, cell is not None, np.int8)
    return Snapshot(numbers, positions, cell, periodic, float(energy[0]), forces)


def _siesta(source: Input, folder: Path) -> Known:
    """SIESTA: one geometry, or the steps of a run."""
    from dpdata.formats.siesta import aiMD_output, output  # noqa: PLC0415  an extra

    tables = [match.end() for match in re.finditer(re.escape(_SIESTA_FORCES), source.data)]
    for table, start in enumerate(tables):
        rows = _rows(source, start)
        if (table == 0 and not rows) or any(len(row.split()) != _SIESTA_COLUMNS for row in rows):
            raise ParseError(
                "expected forces as rows of number, x, y, z, found others, whose columns dpdata would shift.",
                line=source.line(start),
            )
    path = _copy(source, folder / "out")
    several = source.data.find(b"siesta: E_KS(eV) =", source.data.find(b"siesta: E_KS(eV) =") + 1) >= 0
    found = aiMD_output.get_aiMD_frame(path) if several else output.obtain_frame(path)
    names = ("atom_names", "atom_numbs", "atom_types", "cells", "coords", "energies", "forces")
    return dict(zip(names, found, strict=False))


def _rows(source: Input, start: int) -> list[bytes]:
    """The rows of a table that begins at `start`, without those that SIESTA prints once more behind its name."""
    end = source.data.find(b"siesta:", start)
    ruled = source.data.find(b"---", start)
    end = min(place for place in (end, ruled, len(source.data)) if place >= 0)
    return [line for line in source.data[start:end].splitlines() if line.strip()]


def _abacus(source: Input, folder: Path) -> Known:
    """ABACUS: its log in `OUT.suffix/` with the input, structure and trajectory beside and above it."""
    from dpdata.formats.abacus import md, relax, scf  # noqa: PLC0415  an extra

    beside = {one.path.name: one for one in source.companions}
    log = re.match(r"running_(scf|md|relax|cell-relax)\.log", source.path.name)
    if log is None or not {"INPUT", "STRU"} <= beside.keys():
        raise ParseError("expected OUT.*/running_*.log with INPUT and STRU in the folder above, found no such files.")
    settings = beside["INPUT"].data[:].decode("utf-8", "replace").splitlines()
    kept = [line for line in settings if line.split()[:1] and line.split()[0] in _INPUT_LINES]
    suffix = next((line.split()[1] for line in kept if line.split()[0] == "suffix" and len(line.split()) > 1), "ABACUS")
    if not re.fullmatch(r"[\w.\-]{1,80}", suffix):
        raise ParseError(f"expected a suffix of letters and digits, found {suffix[:40]!r}.")
    out = folder / f"OUT.{suffix}"
    out.mkdir()
    _copy(source, out / log[0])
    for name, one in beside.items():
        _copy(one, (folder if name == "STRU" else out) / name)
    with (folder / "STRU").open("ab") as structure:
        structure.write(b"\n")  # dpdata goes round in circles where the last line is a heading
    kind = log[1].removeprefix("cell-")
    (folder / "INPUT").write_text("\n".join([*kept, f"calculation {log[1]}", ""]))
    return {"scf": scf, "md": md, "relax": relax}[kind].get_frame(str(folder))  # type: ignore[no-any-return]


def _pwmat(source: Input, folder: Path) -> Known:
    """PWmat: MOVEMENT."""
    from dpdata.formats.pwmat import movement  # noqa: PLC0415  an extra

    found = movement.get_frames(_copy(source, folder / "MOVEMENT"))
    return dict(zip(("atom_names", "atom_numbs", "atom_types", "cells", "coords", "energies", "forces"), found,
                    strict=False))  # fmt: skip


def _dftb(source: Input, folder: Path) -> Known:
    """DFTB+: `detailed.out` with the geometry of `dftb_pin.hsd`."""
    from dpdata.formats.dftbplus import output  # noqa: PLC0415  an extra

    if not source.companions:
        raise ParseError("expected dftb_pin.hsd beside it, found none. It holds the geometry.")
    text = source.data[: 1 << 22]
    entropy = re.search(rb"\nTS: +(\S{1,30}) H", text)
    if entropy is None or number(entropy[1]) != 0:
        raise ParseError(
            "expected occupations without entropy, found others. dpdata takes the energy with it left out."
        )
    geometry = _copy(source.companions[0], folder / "dftb_pin.hsd")
    symbols, coordinates, energy, forces = output.read_dftb_plus(geometry, _copy(source, folder / "detailed.out"))
    names = sorted(set(symbols))
    return {"atom_names": names, "atom_types": [names.index(one) for one in symbols], "coords": [coordinates],
            "energies": [energy], "forces": [forces]}  # fmt: skip


_PARSERS: dict[str, Callable[[Input, Path], Known]] = {
    "siesta/output": _siesta,
    "abacus": _abacus,
    "pwmat/movement": _pwmat,
    "dftbplus": _dftb,
}


def _copy(source: Input, path: Path) -> str:
    """The expanded bytes of a file under another name."""
    path.write_bytes(whole_lines(source))
    return str(path)
