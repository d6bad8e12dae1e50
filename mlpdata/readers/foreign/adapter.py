"""Further codes through other libraries: ASE, cclib and dpdata, each named as what read it.

The table in `foreign.table` says what recognises a code, which library reads it and what that library's numbers mean.
What the libraries do not tell is looked up in the text: the program's own end mark, failed loops, how many labels there
should be. Whatever a library raises becomes an error of ours; what it loses is listed.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import io
import re
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import LimitExceeded, MlpdataError, ParseError, Unavailable
from mlpdata.frames import by_block
from mlpdata.readers.archive import Input
from mlpdata.readers.foreign import ase as foreign_ase
from mlpdata.readers.foreign import cclib as foreign_cclib
from mlpdata.readers.foreign import dpdata as foreign_dpdata
from mlpdata.readers.foreign.frames import Reading, Snapshot
from mlpdata.readers.foreign.guard import TooLong, within
from mlpdata.readers.foreign.table import CODES, Code
from mlpdata.readers.place import Belonging
from mlpdata.readers.registry import Ending, Header, Printed, Reader
from mlpdata.schema.calculation import LeftOut, Status
from mlpdata.schema.functionals import LIBXC
from mlpdata.schema.method import Method
from mlpdata.schema.properties import NO, YES
from mlpdata.units import Quantity

MOST_BYTES = 1 << 30
"""Libraries hold a file in memory, several times over."""
LONGEST_LINE = 1 << 20
"""No output of a code of the table has such lines; regular expressions of the libraries are not made for them."""
SECONDS, BYTES_PER_SECOND = 5.0, 100_000
"""Time that a library may take: the slowest reads some MB a second."""
_FUNCTIONALS = {name.lower(): name for name in (*LIBXC, "HF")}


def reader(row: Code) -> Reader:
    """The reader of one row."""
    return Reader(
        row.name,
        1,
        (),
        row.recognises,
        lambda source: _read(source, row),
        companions=lambda _: _companions(row),
    )


def _companions(row: Code) -> Belonging:
    """Files that the library needs, where they are there."""
    globs = [name for name in row.companions if "*" in name]
    names = tuple(name for name in row.companions if "*" not in name)
    return Belonging(names, "|".join(map(fnmatch.translate, globs)))


def _read(source: Input, row: Code) -> Iterator[Header | Printed | Ending]:
    """One run: what the library makes of the file.

    Raises:
        ParseError: the library could not read it, or is known to read such runs wrongly.
        LimitExceeded: larger than a library can be given, or a line that no output has.
    """
    _bounded(source)
    _accepted(source, row)
    reading = _guarded(source, row)
    _drop_last(source, row, reading)
    level = _method(source, row, reading)
    masked = any(_mask(frame) is not None and (_mask(frame) == NO).any() for frame in reading.frames)
    has_forces = any(frame.forces is not None for frame in reading.frames)
    start = sha256(reading.frames[0].positions.tobytes()) if reading.frames else None
    yield Header(
        method=level,
        identity=sha256_json({"code": row.code, "method": level.theory, "version": level.code_version, "start": start}),
        energy_kind=row.energy_kind,
        forces_are="absent" if not has_forces else "zeroed_on_fixed" if masked else "physical",
    )
    for batch in by_block((len(frame.atomic_numbers), frame) for frame in reading.frames):
        for _, alike in groupby(batch, _held):
            yield _printed(list(alike), row, reading)
    lost = _lost(source, row, reading)
    status, reason = _status(source, row)
    yield Ending(status, reason, (*reading.left_out, *lost), tuple(_notes(row, reading)))


def _bounded(source: Input) -> None:
    """Refuse what a library must not be given."""
    size = len(source.data)
    if size > min(MOST_BYTES, source.limits.expanded_bytes):
        raise LimitExceeded(f"expected at most {MOST_BYTES} bytes for a library that reads whole files, found {size}.")
    start = 0
    while size - start > LONGEST_LINE:
        end = source.data.rfind(b"\n", start, start + LONGEST_LINE)
        if end < 0:
            raise LimitExceeded(f"expected lines of at most {LONGEST_LINE} bytes, found a longer one.")
        start = end + 1


def _accepted(source: Input, row: Code) -> None:
    """Refuse runs that the library is known to read wrongly."""
    for refused in row.refused:
        place = source.data.find(refused.words)
        if place >= 0:
            raise ParseError(
                f"expected a run that {row.library} reads right, found {refused.reason}. "
                "A reader of this code's own is needed.",
                line=source.line(place + len(refused.words) - len(refused.words.lstrip())),
            )
    if row.unconverged and (place := source.data.find(row.unconverged)) >= 0:
        raise ParseError(
            f"expected loops that converged, found one that failed. {row.library} does not say which frame it is of.",
            line=source.line(place),
        )
    if row.shifted and (match := re.search(row.shifted, source.data)):
        raise ParseError(
            "expected columns with blanks between, found some that touch.", line=source.line(match.start() + 1)
        )
    if row.single and _count(source, row.labels) > 1:
        raise ParseError(f"expected one geometry, found several. {row.library} mixes the numbers of several.")


def _count(source: Input, words: bytes) -> int:
    """How often a code prints some words."""
    return sum(1 for _ in re.finditer(re.escape(words), source.data)) if words else 0


def _guarded(source: Input, row: Code) -> Reading:
    """What the library makes of the file, without its words on the screen, its warnings or its exceptions.

    Raises:
        Unavailable: it is not installed.
        LimitExceeded: it does not come to an end.
        ParseError: it raised an exception.
    """
    try:
        importlib.import_module(row.library)
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"expected the package {error.name}, which reads {row.code}, found none. "
            "Install it by: pip install 'mlpdata[adapters]'"
        ) from None
    silent = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        warnings.simplefilter("ignore")  # files that a library left open close in here
        try:
            return within(SECONDS + len(source.data) / BYTES_PER_SECOND, lambda: _asked(source, row))
        except MlpdataError:
            raise
        except TooLong:
            fault: MlpdataError = LimitExceeded(
                f"expected {row.library} to read it in time, found that it goes on and on. The file is damaged."
            )
        except Exception as error:  # noqa: BLE001  a library may raise anything
            words = " ".join(str(error).split())[:200]
            fault = ParseError(
                f"expected an output of {row.code} that {row.library} can read, found {type(error).__name__}: {words}. "
                "The file is damaged, or of a version that the library does not know."
            )
    raise fault


def _asked(source: Input, row: Code) -> Reading:
    """Ask the library, in a folder that goes away."""
    if row.library == "cclib":
        return foreign_cclib.read(source, row)
    read = foreign_ase.read if row.library == "ase" else foreign_dpdata.read
    with tempfile.TemporaryDirectory() as folder:
        return read(source, Path(folder), row)


def _drop_last(source: Input, row: Code, reading: Reading) -> None:
    """Leave out the last frame where it may hold numbers of another one: of a run that did not end, or by rule."""
    if not reading.frames or row.library == "cclib":  # which is watched line by line
        return
    cut = _status(source, row)[0] != "complete" if row.ends else source.data[-1:] != b"\n"
    if cut:
        reason = f"expected the end of the run, found none: what {row.library} gives as the last frame may be of two."
    elif row.last_mispaired and source.data.find(row.last_mispaired) >= 0:
        reason = f"expected the geometry of the last step, found that of another one: {row.library} mixes them up."
    else:
        return
    reading.frames.pop()
    reading.left_out.append(LeftOut(line=0, reason=reason))


def _method(source: Input, row: Code, reading: Reading) -> Method:
    """The level of theory as far as the library and the text tell."""
    known = {name: value for name, value in reading.method.items() if value is not None}
    code_version = known.pop("code_version", None) or _found(source, row.version)
    printed = known.pop("functional_as_printed", None) or _found(source, row.functional)
    functional = _FUNCTIONALS.get(printed.lower().removesuffix(" gradient-corrected functionals")) if printed else None
    solvent = row.solvent and re.search(re.escape(row.solvent), source.data, re.IGNORECASE)
    return Method(
        code=row.code,
        code_version=code_version,
        functional=row.b3lyp if functional == "B3LYP" else functional,
        functional_as_printed=printed,
        solvent="unspecified" if solvent else None,
        settings_as_printed={"read by": f"{row.library} {version(row.library)}"},
        **known,
    )


def _found(source: Input, pattern: bytes) -> str | None:
    """What a pattern finds in the first 4 MiB."""
    match = re.search(pattern, source.data[: 1 << 22]) if pattern else None
    return match[1].decode("latin-1").strip() if match else None


def _held(frame: Snapshot) -> tuple[bool, ...]:
    """Which labels a frame has: blocks hold frames with the same."""
    return frame.cell is None, frame.forces is None, frame.stress is None, frame.fixed is None


def _mask(frame: Snapshot) -> Any:
    """0 for atoms that are held and whose force is exactly zero where they are: a constraint was put on it."""
    if frame.fixed is None or frame.forces is None:
        return None
    return np.where(((frame.forces == 0) & (frame.fixed == YES)).any(axis=1), NO, YES).astype(np.int8)


def _printed(frames: list[Snapshot], row: Code, reading: Reading) -> Printed:
    """A block of frames with the same labels."""
    first, units = frames[0], row.units
    sign = -1 if row.library == "cclib" else 1
    arrays: dict[str, Quantity | ArrayLike] = {
        "atomic_numbers": np.concatenate([frame.atomic_numbers for frame in frames]),
        "positions": Quantity(np.concatenate([frame.positions for frame in frames]), units.length),
        "pbc": np.stack([frame.pbc for frame in frames]),
        "energy": Quantity(np.array([frame.energy for frame in frames]), units.energy),
        "charge": Quantity(np.full(len(frames), reading.charge), "e"),
        "multiplicity": np.full(len(frames), reading.multiplicity),
        "step": [frame.step for frame in frames],
        "source_line": [frame.line for frame in frames],
    }
    if first.cell is not None:
        arrays["cell"] = Quantity(np.stack([np.asarray(frame.cell) for frame in frames]), units.length)
    if first.forces is not None:
        forces = np.concatenate([np.asarray(frame.forces) for frame in frames])
        arrays["forces"] = Quantity(forces, units.force, sign=sign)
    if first.stress is not None:
        arrays["stress"] = Quantity(np.stack([np.asarray(frame.stress) for frame in frames]), units.stress)
    if first.fixed is not None:
        arrays["fixed"] = np.concatenate([np.asarray(frame.fixed) for frame in frames])
        if first.forces is not None:
            arrays["force_mask"] = np.concatenate([_mask(frame) for frame in frames])
    return Printed([len(frame.atomic_numbers) for frame in frames], arrays)


def _lost(source: Input, row: Code, reading: Reading) -> list[LeftOut]:
    """What the code printed and the library did not give."""
    known = len(reading.frames) + sum(one.frames for one in reading.left_out)
    failed = _count(source, row.lost)
    lost = [LeftOut(line=0, reason="expected a loop that converged, found one that failed.", frames=failed)] * bool(
        failed
    )
    expected = _count(source, row.labels)
    if expected > known:
        reason = f"expected {expected} labelled geometries, found {len(reading.frames)} by {row.library}."
        return [*lost, LeftOut(line=0, reason=reason, frames=expected - known)]
    if not known and not lost:
        return [LeftOut(line=0, reason=f"expected a labelled geometry, found none by {row.library}.")]
    return lost


def _status(source: Input, row: Code) -> tuple[Status, str]:
    """Complete where the program's own end mark is there; libraries do not tell."""
    if not row.ends:
        return "truncated", f"{row.code} prints no end mark in this file"
    if source.cut:
        return "truncated", "the compressed stream ends early"
    if any(source.data.rfind(end) >= 0 for end in row.ends):
        return "complete", ""
    return "truncated", "the program's end mark is missing"


def _notes(row: Code, reading: Reading) -> Iterator[str]:
    """What whoever takes the frames should know."""
    yield from reading.warnings
    if row.note:
        yield row.note
    if not row.forces:
        yield f"energies and geometries only: no forces of {row.code} by {row.library} could be shown to be right"


READERS = tuple(reader(row) for row in CODES)
"""One reader a row of the table."""
