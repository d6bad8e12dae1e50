"""Reaction paths: which image of a nudged elastic band a file belongs to, by the folders that VASP and neb.x write.

VASP has a folder for each image, `00` to `NN`, whose end points are often relaxations of their own; neb.x writes image
1 to N to `PREFIX_1` to `PREFIX_N`, beside `PREFIX.path`. Folders so named are also campaigns of any other kind, so that
an image is one only where an output or the INCAR above the folders says IMAGES, or where `PREFIX.path` lies there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mlpdata.errors import InputError
from mlpdata.readers.archive import open_head

_ESPRESSO_FOLDER = re.compile(r"(.{1,200})_(\d{1,3})")
_N_IMAGES = re.compile(rb"\bIMAGES\b[^\d\n#!]{0,24}(\d{1,3})\b")
"""In INCAR, in OUTCAR, which repeats it, and in vasprun.xml."""
_RUNS_IMAGES = (b"each image running on", b"CHAIN: Running the NEB")
OUTPUTS = ("OUTCAR*", "vasprun*")
_STATES = re.compile(r"(?:INCAR|OUTCAR|vasprun).*")
"""Names of files that may say how many images there are."""


class Image(NamedTuple):
    """A place on a reaction path."""

    number: int
    """Counted from 0."""
    folder: Path
    """The one that holds the folders of all images."""


class Images:
    """The images of the folders of one search: each path is looked at once."""

    def __init__(self) -> None:
        self._vasp: dict[Path, bool] = {}

    def of(self, file: Path) -> Image | None:
        """The image that an output belongs to; None where it is on no path or cannot be told."""
        folder = file.parent.parent if file.parent.suffix == ".save" else file.parent
        path = folder.parent
        if re.fullmatch(r"\d\d", folder.name):
            if path not in self._vasp:
                self._vasp[path] = _is_vasp_path(path)
            return Image(int(folder.name), path) if self._vasp[path] else None
        named = _ESPRESSO_FOLDER.fullmatch(folder.name)
        if named and int(named[2]) and (path / f"{named[1]}.path").is_file():
            return Image(int(named[2]) - 1, path)
        return None


class ImagesInArchive:
    """The images of an archive, from what was noted of its members when they were looked at."""

    def __init__(self) -> None:
        self._folders: dict[str, set[str]] = {}
        """Two-digit folders by the folder that holds them."""
        self._statements: dict[str, list[str]] = {}

    def add(self, path: str, statement: str) -> None:
        """A member and what `statement_of` gave for it."""
        folder, _, name = path.rpartition("/")
        above, _, last = folder.rpartition("/")
        if re.fullmatch(r"\d\d", last):
            self._folders.setdefault(above, set()).add(last)
            self._statements.setdefault(above, []).append(statement)
        if name.startswith("INCAR"):
            self._statements.setdefault(folder, []).insert(0, statement)

    def of(self, path: str) -> Image | None:
        """The image that a member belongs to."""
        folder = path.rpartition("/")[0]
        above, _, last = folder.rpartition("/")
        if last not in self._folders.get(above, ()):
            return None
        are_images = _are_images(sorted(map(int, self._folders[above])), self._statements.get(above, []))
        return Image(int(last), Path(above)) if are_images else None


def may_state(name: str) -> bool:
    """Whether a file may say how many images there are."""
    return _STATES.fullmatch(name) is not None


def statement_of(head: bytes) -> str:
    """What the beginning of a file says of images: their number, `some`, or nothing."""
    stated = _N_IMAGES.search(head)
    if stated and int(stated[1]):
        return stated[1].decode()
    return "some" if any(words in head for words in _RUNS_IMAGES) else ""


def _is_vasp_path(path: Path) -> bool:
    """Whether the folders 00, 01, ... of a folder are images."""
    try:
        folders = sorted(one for one in path.iterdir() if re.fullmatch(r"\d\d", one.name) and one.is_dir())
    except OSError:
        return False
    outputs = (file for folder in folders for name in OUTPUTS for file in sorted(folder.glob(name)))
    heads = map(_head, itertools.chain([path / "INCAR"], outputs))
    return _are_images([int(one.name) for one in folders], map(statement_of, heads))


def _are_images(numbers: Sequence[int], statements: Iterable[str]) -> bool:
    """Whether folders are images: as many as the first file that says so says, or all from 00 on."""
    some = False
    for statement in statements:
        if statement.isdigit():
            return numbers[-1] <= int(statement) + 1
        some |= bool(statement)
    return some and list(numbers) == list(range(len(numbers)))


def _head(file: Path) -> bytes:
    """The beginning of a file; nothing where it cannot be read."""
    try:
        with open_head(file) as source:
            return source.head
    except (InputError, OSError):
        return b""
