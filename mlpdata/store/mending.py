"""Put files back into a store: each proven by its recorded sha256, put in place by rename, the damaged one kept aside."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlpdata import durable
from mlpdata.errors import StoreError
from mlpdata.store import layout

DAMAGED = "damaged"
"""Folder beside the store's scratch where damaged files go."""
_PIECE = 1 << 22
"""Bytes copied at a time."""


@dataclass(frozen=True)
class Mended:
    """A file that is again as it was written."""

    path: str
    how: str
    """Where its bytes came from."""


class Mender:
    """Puts files back.

    Args:
        store: folder of the store.
        scratch: folder of its own for files on their way.
    """

    def __init__(self, store: Path, scratch: Path) -> None:
        self.store, self.scratch = store, scratch
        self.damaged = layout.work_folder(store.absolute()) / DAMAGED
        self.mended: list[Mended] = []
        self.aside: list[str] = []
        """What was moved aside, by its place there."""

    def put(self, target: Path, source: Path | bytes, sha256: str, how: str) -> bool:
        """Give `target` the bytes of `source` if they have this sha256; whether they have.

        Raises:
            StoreError: the disk refused; the target is as it was.
            CommitUncertain: the disk refused after the rename.
        """
        temporary, found = self.scratch / secrets.token_hex(8), hashlib.sha256()
        try:
            durable.write(temporary, _hashed(source, found))
        except OSError:  # of the source; those of the target are explained
            temporary.unlink(missing_ok=True)
            return False
        if found.hexdigest() != sha256:
            temporary.unlink()
            return False
        self._place(temporary, target, how)
        return True

    def put_name(self, target: Path, snapshot: str, how: str) -> None:
        """Let HEAD or a tag name a snapshot."""
        temporary = self.scratch / secrets.token_hex(8)
        durable.write(temporary, f"{snapshot}\n".encode())
        self._place(temporary, target, how)

    def _place(self, temporary: Path, target: Path, how: str) -> None:
        durable.make_folder(target.parent)
        if target.exists():
            self._keep(target)
        durable.rename(temporary, target)
        self.mended.append(Mended(str(target), how))

    def _keep(self, target: Path) -> None:
        """Give a damaged file a second name aside, so that at no moment there is none."""
        aside = self._free_place(target)
        with suppress(StoreError):  # a file system without second names
            durable.link(target, aside)
            self.aside.append(str(aside))
            return
        durable.rename(target, aside)
        self.aside.append(str(aside))

    def take_away(self, path: Path) -> None:
        """Move a file aside that does not belong to the store."""
        aside = self._free_place(path)
        durable.rename(path, aside)
        self.aside.append(str(aside))

    def _free_place(self, path: Path) -> Path:
        place = self.damaged / path.relative_to(self.store)
        durable.make_folder(place.parent)
        taken = {one.name for one in place.parent.iterdir()}
        names = (place.name, *(f"{place.name}.{number}" for number in range(2, len(taken) + 3)))
        return place.with_name(next(name for name in names if name not in taken))


def _hashed(source: Path | bytes, found: hashlib._Hash) -> Iterator[bytes]:
    """The pieces of a source, each taken into a digest."""
    for piece in [source] if isinstance(source, bytes) else _pieces(source):
        found.update(piece)
        yield piece


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


@contextmanager
def mender(store: Path) -> Iterator[Mender]:
    """A mender with its scratch, which goes when the block ends; that of one that died goes with the next one or a commit.

    Raises:
        StoreError: the disk refused.
    """
    staging = layout.work_folder(store.absolute()) / "staging"
    durable.make_folder(staging)
    scratch = staging / secrets.token_hex(8)
    with durable.lock(staging.parent / "lock"):  # a commit sweeps what nobody marked
        for folder in staging.iterdir():
            durable.remove_dead(folder)
        durable.make_scratch(scratch)
        mark = durable.mark_alive(scratch)
    try:
        yield Mender(store, scratch)
    finally:
        if scratch.exists():
            durable.remove_tree(scratch)
        os.close(mark)


def nearest(names: Iterable[str], wrong: str) -> str | None:
    """The one name that differs from a damaged one in two characters at most; None where there is none or several."""
    near = [name for name in names if len(name) == len(wrong) and sum(map(str.__ne__, name, wrong)) <= 2]
    return near[0] if len(near) == 1 else None
