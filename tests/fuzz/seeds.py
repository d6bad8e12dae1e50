"""Seeds: the fixtures, and what the tests of the readers build in code.

As a plugin of pytest this module writes each input that a reader is given into a folder, sorted by target::

    MLPDATA_FUZZ_SEEDS=build/fuzz/seeds python -m pytest -p seeds tests/unit/readers tests/contract
"""

from __future__ import annotations

import ast
import bz2
import gzip
import hashlib
import lzma
import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard
from targets import FOLDER, TARGETS, bundled

from mlpdata.digest import canonical_json
from mlpdata.errors import MlpdataError
from mlpdata.readers import archive
from mlpdata.readers.archive import Input
from mlpdata.readers.place import beside
from mlpdata.readers.registry import Reader, own_readers, recognise
from mlpdata.schema.records import Retraction, Snapshot, Split
from mlpdata.store import layout
from mlpdata.testing.samples import calculation

LARGEST = 49_152
"""Bytes of a seed; a larger one costs more time than it is worth."""
FOUND = FOLDER / "fuzz"
"""What earlier runs found."""
INFRASTRUCTURE = ("archive", "registry")
"""Modules of readers that every reader imports and that hold nothing of a format."""
SIDECARS = (
    b"license: CC-BY-4.0\ncitation: A. Author\nkind: aimd\ntemperature: 300\ngroup: folder\ntags: {a: b, c: d}\n",
    b"units: {energy: eV, length: angstrom, stress: kbar}\nnames: {energy: REF_energy, virial: virial}\n"
    b"energy_kind: free\nstress_sign: compression\nmethod:\n  code: vasp\n  functional: PBE\n",
    b"# nothing\n", b"a: &a [x, x]\ntags: {b: *a}\n", b"{}",
)  # fmt: skip


def of_target(name: str, collected: Path) -> dict[str, bytes]:
    """The seeds of a target by digest: fixtures, inputs collected from tests, what earlier runs found."""
    folder = TARGETS[name].folder
    contents = fixtures(name)
    for place in (collected / folder, FOUND / folder):
        contents += [path.read_bytes() for path in sorted(place.glob("*")) if path.is_file()]
    return {hashlib.sha256(content).hexdigest()[:16]: content for content in contents if len(content) <= LARGEST}


def fixtures(name: str) -> list[bytes]:
    """The seeds of a target that are committed: files of tests/data, or samples of what is no output."""
    made = {"archive": _archives, "records": _records, "sidecar": lambda: iter(SIDECARS)}
    return list(made[name]() if name in made else _fixtures(name))


def _fixtures(name: str) -> Iterator[bytes]:
    reader = next(reader for reader in own_readers() if reader.name == name)
    for path in sorted(FOLDER.rglob("*")):
        if not path.is_file() or FOUND in path.parents:
            continue
        with archive.open_input(path) as source:
            if reader.magic(source.head):
                yield with_companions(reader, Input(path, bytes(source.data), "", 0))


def with_companions(reader: Reader, source: Input) -> bytes:
    """The bundle of a file and what lies beside it."""
    there = beside(source.path, reader.companions(source))
    parts = source.companions or [Input(one, Path(str(one)).read_bytes(), "", 0) for one in there]
    return bundled([("", bytes(source.data)), *((one.path.name, bytes(one.data)) for one in parts)])


def _archives() -> Iterator[bytes]:
    text = b"vasprun 0.125 0.250\n" * 40
    yield from (b"", text, b"x" * 500, b"short\n" * 20 + b"x" * 300)
    for compress in (gzip.compress, bz2.compress, lzma.compress, zstandard.compress):
        yield compress(text)
        yield compress(text) + compress(b"second stream\n")
        yield compress(text)[:-9]
        yield compress(text) + b"\0" * 20
        yield compress(text) + b"rest"
        yield compress(b"")
        yield compress(bytes(3 << 20))


def _records() -> Iterator[bytes]:
    digest = "0123456789abcdef" * 4
    snapshot = Snapshot(
        parents=(digest,), segments=(digest, digest), retracted=(Retraction(segment=digest, calculation=digest, reason="x"),),
        content=digest, n_configurations=3, n_calculations=1, time="2024-01-01T00:00:00Z", message="first",
    )  # fmt: skip
    array = layout.ArrayRecord(level="atom", dtype="float64", shape=(3,), rows=128, chunk_rows=64, shard_rows=128)
    file = layout.FileRecord(bytes=10, sha256=digest, blocks="0123456789abcdef")
    manifest = layout.Manifest(
        n_configurations=3, n_atoms=128, arrays={"positions": array}, files={"positions/c.0": file}
    )
    segment = layout.Segment(n_calculations=1, content=digest, arrays=manifest, files={"ids.bin": file})
    split = Split(content=digest, recipe={"seed": 1}, parts={"train": (digest[:32],), "test": ()}, notes=("x",))
    for record in (snapshot, segment, split, calculation(1)):
        yield canonical_json(record.as_json())


def headings(name: str) -> list[bytes]:
    """Words of a target's format: the literals of its reader's modules, regular expressions cut at their operators."""
    words: set[bytes] = set()
    for path in modules(name):
        for node in ast.walk(ast.parse(path.read_text())):
            literal = node.value if isinstance(node, ast.Constant) else None
            if isinstance(literal, bytes | str) and len(literal) < 400:
                text = literal if isinstance(literal, bytes) else literal.encode()
                words.update(_WORDS.findall(text) if isinstance(literal, bytes) else _NAMES.findall(text))
    return sorted(word.strip() for word in words) or [b"0"]


_WORDS = re.compile(rb"[A-Za-z0-9<!#%&*=][A-Za-z0-9 _=:(/,<>\"|'#!%&*~-]{2,60}")
_NAMES = re.compile(rb"\A[A-Za-z0-9_./:+-]{2,40}\Z")


def modules(name: str) -> list[Path]:
    """The files of the modules that only readers of this code import, the target's own first; none for other targets."""
    reader = next((reader for reader in own_readers() if reader.name == name), None)
    if reader is None:
        return []
    seen: dict[str, None] = {}
    waiting = [reader.read.__module__]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen[module] = None
        values: Mapping[str, Any] = vars(sys.modules[module])
        homes = {getattr(one, "__name__", "") for one in values.values() if isinstance(one, type(sys))}
        homes |= {str(getattr(one, "__module__", "")) for one in values.values()}
        waiting += [home for home in homes if _is_of_a_format(home)]
    return [Path(str(sys.modules[module].__file__)) for module in seen]


def _is_of_a_format(module: str) -> bool:
    return module.startswith("mlpdata.readers.") and module.rpartition(".")[2] not in INFRASTRUCTURE


def dictionary(words: Sequence[bytes]) -> str:
    """Words in the form of libFuzzer's dictionaries."""
    escaped = ("".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\x{c:02x}" for c in word) for word in words)
    return "".join(f'"{word}"\n' for word in escaped if word)


def _packed(content: bytes) -> bytes:
    """A SQLite database in pages of 512 bytes, a tenth of its size; nothing for what is none."""
    if not content.startswith(b"SQLite format 3\0"):
        return b""
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        Path(file.name).write_bytes(content)
        database = sqlite3.connect(file.name)
        try:
            database.executescript("PRAGMA page_size = 512; VACUUM;")
        except sqlite3.Error:
            return b""
        finally:
            database.close()
        return Path(file.name).read_bytes()


def pytest_configure() -> None:
    """Note the inputs of all readers from now on."""
    folder = Path(os.environ["MLPDATA_FUZZ_SEEDS"])
    known: set[str] = set()

    def noting(reader: Reader, source: Input) -> None:
        content = _packed(bytes(source.data)) if reader.name == "ase/db" else b""
        if not content and len(source.data) <= LARGEST:
            content = with_companions(reader, source)
        name = hashlib.sha256(content).hexdigest()[:16]
        if content and name not in known and len(content) <= LARGEST:
            known.add(name)
            place = folder / TARGETS[reader.name].folder
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)

    born = Input.__init__

    def remembered(source: Input, *args: Any, **named: Any) -> None:
        born(source, *args, **named)
        try:
            reader = recognise(source)
            if reader.name in TARGETS:
                noting(reader, source)
        except (MlpdataError, OSError):
            return

    Input.__init__ = remembered  # type: ignore[method-assign]
