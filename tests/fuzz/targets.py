"""What is fuzzed: each reader, the decompressors, the records of a store and the sidecars, as functions of bytes.

Only an MlpdataError is an answer; whatever else comes out of `read` is a finding. A reader that has companions takes a
bundle: its output, then each companion after a line `==> NAME <==`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mlpdata.errors import MlpdataError
from mlpdata.frames import from_printed
from mlpdata.readers.archive import Input, Limits, open_head, open_input
from mlpdata.readers.registry import Printed, Reader, own_readers, plain_name
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.noun import Noun, from_stored, from_yaml
from mlpdata.schema.records import Snapshot, Split
from mlpdata.schema.sidecar import Declared, Sidecar
from mlpdata.store.layout import Segment, read_record

FOLDER = Path(__file__).parents[1] / "data"
"""Where companions are looked for: a folder that is there."""
NAMES = {"vasp/outcar": "OUTCAR", "cp2k/out": "water.out", "orca/hess": "opt.hess"}
"""Names of files that readers look at."""
COMPANION = re.compile(rb"^==> ([\w.+-]{1,60}) <==\n", re.MULTILINE)
LIMITS = Limits(stored_bytes=1 << 26, expanded_bytes=1 << 26, atoms=100_000)
TINY = Limits(stored_bytes=2_000, expanded_bytes=10_000, ratio=1, line_bytes=100)
"""Bounds that small inputs exceed."""

_EV = {"energy": "eV", "length": "angstrom", "stress": "eV/angstrom^3", "velocity": "angstrom/fs"}
_SAID: tuple[Declared | None, ...] = (
    None,
    Declared(units=_EV),
    Declared(units={"energy": "hartree", "length": "bohr"}, names={"energy": "REF_energy", "virial": "virial"}),
    Declared(units={**_EV, "stress": "kbar"}, names={"stress": "stress", "forces": "none"}, stress_sign="compression"),
)
"""What is said of formats that state no units, one reading each."""
_WITHOUT_UNITS = {"extxyz/frames", "ase/traj", "ase/db"}

Entry = Callable[[bytes], None]


class Target(NamedTuple):
    """One thing that takes bytes from outside."""

    name: str
    read: Entry
    """Raises where the bytes are not of its format: an MlpdataError, or there is a bug."""

    @property
    def folder(self) -> str:
        """Name of the folder of its corpus."""
        return self.name.replace("/", "_")


def bundle(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The parts of a bundle: the output, of which the name is empty, then its companions."""
    name, start = "", 0
    for heading in COMPANION.finditer(content):
        yield name, content[start : heading.start()]
        name, start = heading[1].decode(), heading.end()
    yield name, content[start:]


def _reader(reader: Reader) -> Target:
    name = NAMES.get(reader.name, "fuzzed")
    said = _SAID if reader.name in _WITHOUT_UNITS else (None,)

    def read(content: bytes) -> None:
        (_, output), *beside = bundle(content)
        source = _input(FOLDER / name, output)
        reader.magic(source.head)
        reader.run_of(plain_name(source.path), source.head)
        reader.companions(source)
        faults = []
        for declared in said:
            source = _input(FOLDER / name, output)
            source.declared = declared
            source.companions = tuple(_input(FOLDER / one, text) for one, text in beside)
            try:
                _take_all(reader, source)
            except MlpdataError as error:
                faults.append(error)
        if faults:
            raise faults[0]

    return Target(reader.name, read)


def _input(path: Path, content: bytes) -> Input:
    """A file that is on no disk: as if it had been expanded, which a database asks for."""
    return Input(path, content, "0" * 64, len(content), "gz", limits=LIMITS)


def _take_all(reader: Reader, source: Input) -> None:
    """As `registry.Opened.items`, which makes a ParseError of a ValueError: here that is a finding too."""
    for item in reader.read(source):
        if isinstance(item, Printed):
            from_printed(item.n_atoms, item.arrays)


def _scratch() -> Path:
    """A file of this process, in memory where there is such a place."""
    memory = Path("/dev/shm")
    folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"mlpdata-fuzz-{os.getpid()}"


def _with_file(content: bytes, read: Callable[[Path], object]) -> None:
    path = _scratch()
    path.write_bytes(content)
    try:
        read(path)
    finally:
        path.unlink()


def _archive(content: bytes) -> None:
    refusals = []
    for limits in (LIMITS, TINY):
        try:
            _with_file(content, lambda path, limits=limits: _expanded(path, limits))
        except MlpdataError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _expanded(path: Path, limits: Limits) -> None:
    with open_head(path) as begin, open_input(path, limits) as source:
        assert source.data[: len(begin.data)] == begin.data, "the head differs from what follows"
        source.line(len(source.data))


def _records(content: bytes) -> None:
    """As each record that a store keeps, under the name that fits its bytes."""
    refusals = []
    for kind in (Snapshot, Segment):
        try:
            _with_file(content, lambda path, kind=kind: read_record(kind, path, hashlib.sha256(content).hexdigest()))
        except MlpdataError as error:
            refusals.append(error)
    for kind in (Calculation, Split):
        try:
            record: Noun = from_stored(kind, content, "fuzzed")
            _ = record.id
        except MlpdataError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _sidecar(content: bytes) -> None:
    def read(path: Path) -> None:
        said = from_yaml(Sidecar, path)
        Sidecar.from_declared(said.over(said).declared())
        _ = said.of_numbers

    _with_file(content, read)


TARGETS = {
    target.name: target
    for target in (
        *map(_reader, own_readers()),
        Target("archive", _archive),
        Target("records", _records),
        Target("sidecar", _sidecar),
    )
}


def refused(target: Target, content: bytes) -> bool:
    """Whether a target refuses bytes; anything but a refusal of ours passes through."""
    try:
        target.read(content)
    except MlpdataError:
        return True
    return False


def bundled(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """The bundle of an output and its companions."""
    return b"".join(content if not name else b"==> %b <==\n%b" % (name.encode(), content) for name, content in parts)
