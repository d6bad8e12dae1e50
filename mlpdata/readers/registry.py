"""The table of readers, recognition by content, and the one loop through which every file is read."""

from __future__ import annotations

import fnmatch
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, NamedTuple

from numpy.typing import ArrayLike

from mlpdata.errors import MlpdataError, NotRecognised, ParseError
from mlpdata.frames import Frames, from_printed
from mlpdata.readers.archive import LIMITS, Input, Limits, open_head, open_input
from mlpdata.readers.place import Belonging, P, Place, beside
from mlpdata.schema.calculation import EnergyKind, ForcesAre, LeftOut, RunKind, Status
from mlpdata.schema.method import Method
from mlpdata.schema.properties import PROPERTIES
from mlpdata.schema.sidecar import Declared
from mlpdata.units import Conversion, Quantity, to_canonical

logger = logging.getLogger(__name__)
GROUP = "mlpdata.readers"
"""Entry points of packages that add readers."""


class Header(NamedTuple):
    """What is known of a run before its first frame."""

    method: Method
    identity: str
    """What tells this run from others: version, start date as printed, process id. Free of host and user."""
    run_kind: RunKind = "unknown"
    energy_kind: EnergyKind = "unknown"
    forces_are: ForcesAre = "physical"
    temperature_target: float | None = None
    """[K]"""
    basis_fixed_at: str | None = None
    charge: float | None = None
    """Of the system as the input states it; each frame has its own [e]."""
    multiplicity: int | None = None
    """2S + 1 as the input states it."""
    atomic_numbers: tuple[int, ...] = ()
    """Z of each atom as the input states them."""


class Printed(NamedTuple):
    """A block of frames as the file prints them: at most `frames.MAX_ATOMS_PER_BLOCK` atoms, or one frame."""

    n_atoms: ArrayLike
    arrays: Mapping[str, Quantity | ArrayLike]
    """By name of the registry of properties; a Quantity wherever the registry names a dimension. A row that is all
    NaN is absent; a printed NaN must have been refused by `text.numbers`."""


class Undeclared(NamedTuple):
    """A block of frames of a file that states no units and of which nobody said any: to be shown, never stored."""

    n_atoms: ArrayLike
    arrays: Mapping[str, ArrayLike]
    """The numbers as printed, by name of the registry of properties."""
    keys: Mapping[str, str]
    """Names that the file uses, by property."""


class Unplaced(NamedTuple):
    """Labels whose geometry no file holds: to be shown, never stored; `Ending.left_out` names each."""

    n_atoms: int
    """Of the one configuration."""
    arrays: Mapping[str, Quantity]
    """By name of the registry of properties, without positions."""

    def in_canonical_units(self) -> Unplaced:
        """The same numbers through the door."""
        arrays = {}
        for name, value in self.arrays.items():
            dimension = PROPERTIES[name].dimension or "dimensionless"
            values, entry = to_canonical(value, dimension, name)
            arrays[name] = Quantity(values, entry.canonical)
        return self._replace(arrays=arrays)


class Ending(NamedTuple):
    """What is known of a run after its last frame."""

    status: Status
    """complete only where the program's own end mark was found."""
    reason: str = ""
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    ledger: tuple[Conversion, ...] = ()
    """Filled in by `read`."""


class Reader(NamedTuple):
    """One row of the table."""

    name: str
    """`code/format`."""
    version: int
    """Raised when the reader gives other numbers for the same bytes."""
    patterns: tuple[str, ...]
    """File names, compression suffix removed; asked only where content does not decide."""
    magic: Callable[[bytes], bool]
    """Whether the first 64 KiB are of this format."""
    read: Callable[[Input], Iterator[Header | Printed | Undeclared | Unplaced | Ending]]
    """One or more runs, each a Header, Printed blocks, an Ending."""
    run_of: Callable[[str, bytes], str | None] = lambda _name, _head: None
    """From a file's name (compression suffix removed) and first 64 KiB: what it shares with the other files of the
    same run in the same folder, those of the other readers of this code. None: it stands for itself."""
    precedence: int = 0
    """Of several files of one run the one with the lowest gives the frames: it prints most digits."""
    companions: Callable[[Input], Belonging] = lambda _source: Belonging()
    """Which files beside a source hold a part of its run and are no outputs of their own. May look at the name of
    `path` and at `head` only."""


@dataclass
class Opened:
    """A recognised file and its runs."""

    input: Input
    reader: Reader

    def items(self) -> Iterator[Header | Frames | Undeclared | Unplaced | Ending]:
        """One or more runs: Header, blocks of Frames in canonical units, Ending with the ledger.

        Raises:
            ParseError: nothing could be read, at the line where it went wrong.
        """
        ledger: dict[tuple[str, str], Conversion] = {}  # a file may print one property in several units
        try:
            for item in self.reader.read(self.input):
                if isinstance(item, Printed):
                    frames, entries = from_printed(item.n_atoms, item.arrays)
                    ledger.update(((entry.name, entry.unit), entry) for entry in entries)
                    yield frames
                elif isinstance(item, Ending):
                    yield item._replace(ledger=(*item.ledger, *ledger.values()))
                    ledger = {}
                elif isinstance(item, Unplaced):
                    yield item.in_canonical_units()
                else:
                    yield item
        except MlpdataError as error:
            raise error.at(str(self.input.path)) from error.__cause__
        except (ValueError, IndexError, KeyError, TypeError, ArithmeticError, UnicodeError) as error:
            raise ParseError(
                f"expected {self.reader.name}, found something else ({type(error).__name__}: {error}). "
                "The file is damaged or of an unknown version; report it if the run is good.",
                path=str(self.input.path),
            ) from error


@functools.cache
def readers() -> tuple[Reader, ...]:
    """Our own readers, then those through other libraries, then those that other packages bring by an entry point."""
    from mlpdata.readers.foreign import adapter as foreign  # noqa: PLC0415  as below

    brought = tuple(plugin.reader for plugin in plugins() if plugin.reader is not None)
    return own_readers() + foreign.READERS + brought


OWN = (
    "vasp.xml",
    "vasp.outcar",
    "vasp.h5",
    "atomate2.taskdoc",
    "espresso.xml",
    "espresso.cp",
    "espresso.text",
    "gaussian.log",
    "gaussian.fchk",
    "orca.output",
    "orca.property",
    "orca.engrad",
    "orca.hess",
    "cp2k.log",
    "pyscf.output",
    "pyscf.chk",
    "gpaw.gpw",
    "gpaw.text",
    "ase.traj",
    "ase.db",
    "extxyz.frames",
)
"""Modules below `mlpdata.readers` that hold a READER, in the order in which they are asked."""


@functools.cache
def own_readers() -> tuple[Reader, ...]:
    """The readers that parse files themselves."""
    found: tuple[Reader, ...] = tuple(import_module(f"mlpdata.readers.{name}").READER for name in OWN)
    return found


class Plugin(NamedTuple):
    """A reader that another package brings, or why it does not."""

    name: str
    reader: Reader | None
    fault: str = ""


@functools.cache
def plugins() -> tuple[Plugin, ...]:
    """What other packages bring by the entry-point group `mlpdata.readers`; a broken one costs itself only."""
    return tuple(_loaded(point) for point in entry_points(group=GROUP))


def _loaded(point: EntryPoint) -> Plugin:
    try:
        found = point.load()
    except Exception as error:  # noqa: BLE001  foreign code may raise anything
        fault = f"{type(error).__name__}: {error}"
    else:
        if isinstance(found, Reader):
            return Plugin(point.name, found)
        fault = f"expected a Reader, found {type(found).__name__}"
    logger.warning("the reader %s (%s) is not there: %s", point.name, point.value, fault)
    return Plugin(point.name, None, fault)


def recognise(source: Input, likely: str = "") -> Reader:
    """The reader for a file: by its content first, then by its name.

    Args:
        source: the file.
        likely: name of the reader that knew it before; it is asked before the others.

    Raises:
        NotRecognised: no reader knows it.
    """
    head = source.head
    for reader in (*(reader for reader in readers() if reader.name == likely), *readers()):
        if reader.magic(head):
            return reader
    name = plain_name(source.path)
    for reader in readers():
        if any(fnmatch.fnmatch(name, pattern) for pattern in reader.patterns):
            return reader
    known = ", ".join(dict.fromkeys(reader.name.partition("/")[0] for reader in readers()))
    raise NotRecognised(f"expected an output of a known code ({known}), found something else.", path=str(source.path))


def plain_name(path: Place) -> str:
    """The name of a file without the suffixes of compressions."""
    name = path.name
    for suffix in (".gz", ".bz2", ".xz", ".zst"):
        name = name.removesuffix(suffix)
    return name


@contextmanager
def open_run(
    path: Place, limits: Limits = LIMITS, declared: Declared | None = None, likely: str = ""
) -> Iterator[Opened]:
    """Open and recognise a file and its companions, then `for item in opened.items(): ...`.

    Args:
        path: the file, or the member of an archive.
        limits: bounds of size.
        declared: what is said of numbers whose file states no units.
        likely: name of the reader that knew it before.

    Raises:
        InputError: it cannot be opened, or no reader knows it.
    """
    with ExitStack() as stack:
        source = stack.enter_context(open_input(path, limits))
        reader = recognise(source, likely)
        source.declared = declared
        companions = beside(path, reader.companions(source))
        source.companions = tuple(stack.enter_context(open_input(one, limits)) for one in companions)
        yield Opened(source, reader)


class Recognised(NamedTuple, Generic[P]):
    """What the first 64 KiB of a file tell."""

    reader: Reader
    run: str | None
    """What it shares with the other files of its run in the same folder, the code's name first; None: nothing."""
    belonging: Belonging
    """Which files beside it are parts of its run and no outputs of their own, whichever may come to lie there."""
    companions: tuple[P, ...]
    """Those that are there; of a member of an archive those around it."""


def recognise_file(path: P) -> Recognised[P]:
    """The reader for a file or a member and what else belongs to its run, from its first 64 KiB only.

    Raises:
        InputError: it cannot be opened, or no reader knows it.
    """
    with open_head(path) as source:
        reader = recognise(source)
        run = reader.run_of(plain_name(path), source.head)
        code = reader.name.partition("/")[0]
        belonging = reader.companions(source)
        shared = None if run is None else f"{code}:{run}"
        return Recognised(reader, shared, belonging, beside(path, belonging))


def reader_version(name: str) -> int | None:
    """Version of the reader `name`; None where there is no such reader any more."""
    return next((reader.version for reader in readers() if reader.name == name), None)


def precedence(name: str) -> int:
    """Precedence of the reader `name` among the files of one run; the last where there is no such reader any more."""
    return next((reader.precedence for reader in readers() if reader.name == name), 99)
