"""Reaction paths: which image of a nudged elastic band a file belongs to, by the folders that VASP and neb.x write.

VASP has a folder for each image, `00` to `NN`, whose end points are often relaxations of their own; neb.x writes image
1 to N to `PREFIX_1` to `PREFIX_N`, beside `PREFIX.path`. Folders so named are also campaigns of any other kind, so that
an image is one only where an output or the INCAR above the folders says IMAGES, or where `PREFIX.path` lies there.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import NamedTuple

from mlpdata.errors import InputError
from mlpdata.readers.archive import open_head

_ESPRESSO_FOLDER = re.compile(r"(.{1,200})_(\d{1,3})")
_N_IMAGES = re.compile(rb"\bIMAGES\b[^\d\n#!]{0,24}(\d{1,3})\b")
"""In INCAR, in OUTCAR, which repeats it, and in vasprun.xml."""
_RUNS_IMAGES = (b"each image running on", b"CHAIN: Running the NEB")
OUTPUTS = ("OUTCAR*", "vasprun*")


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


def _is_vasp_path(path: Path) -> bool:
    """Whether the folders 00, 01, ... of a folder are images: as many as a file says, or all from 00 on."""
    try:
        folders = sorted(one for one in path.iterdir() if re.fullmatch(r"\d\d", one.name) and one.is_dir())
    except OSError:
        return False
    numbers = [int(one.name) for one in folders]
    says_images = False
    outputs = (file for folder in folders for name in OUTPUTS for file in sorted(folder.glob(name)))
    for file in itertools.chain([path / "INCAR"], outputs):
        head = _head(file)
        stated = _N_IMAGES.search(head)
        if stated and int(stated[1]):
            return numbers[-1] <= int(stated[1]) + 1
        says_images |= any(words in head for words in _RUNS_IMAGES)
    return says_images and numbers == list(range(len(numbers)))


def _head(file: Path) -> bytes:
    """The beginning of a file; nothing where it cannot be read."""
    try:
        with open_head(file) as source:
            return source.head
    except (InputError, OSError):
        return b""
