"""Who keeps the files of a store: this machine's disk, or a bucket for which a folder here stands.

All files of a store but HEAD and the tags are immutable and known by their checksums, so a copy is as good as the
original once these hold. What lies above reads paths, whoever keeps them, and asks the keeper for what is missing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from mlpdata import digest, durable
from mlpdata.errors import CorruptError, StoreError, UsageError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_ADDRESS = re.compile(r"([a-z][a-z0-9]+):(?:/+(.*))?")
"""Scheme and rest of an address; pathlib makes one slash of two, and none of a last one."""


class Block(NamedTuple):
    """A piece of a file that has a checksum of its own."""

    path: Path
    offset: int
    size: int
    checksum: int
    """xxh3."""


class Keeper:
    """Keeps stores on this machine's disk."""

    def beside(self, store: Path) -> Path:
        """The folder in which splits and parameters stand, and to which names of outputs are relative."""
        return store.absolute().parent

    def address(self, path: Path) -> str:
        """How messages name a file."""
        return str(path)

    def exists(self, path: Path) -> bool:
        """Whether there is such a file or store."""
        return path.exists()

    def pointer(self, path: Path) -> bytes:
        """What HEAD or a tag says now.

        Raises:
            OSError: there is none.
        """
        return path.read_bytes()

    def swap(self, path: Path, old: bytes | None, new: bytes) -> bool:  # noqa: ARG002  whoever commits holds the lock
        """Replace HEAD or a tag that says `old`, None where there is none.

        Returns:
            False where it says something else; nothing changed then.

        Raises:
            StoreError: nothing changed.
            CommitUncertain: it may have changed.
        """
        durable.replace(path, new)
        return True

    def publish(self, path: Path, record: bytes) -> None:
        """Put a record that nobody names yet in its place.

        Raises:
            StoreError: it may not be there.
        """
        durable.replace(path, record)

    def upload(self, staged: Path, target: Path) -> None:
        """Put the files of a finished segment where others find them, before the folder is renamed to `target`.

        Raises:
            StoreError: they may not all be there.
        """

    def names(self, folder: Path) -> list[str]:
        """The names in a folder of records or tags, sorted."""
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def files(self, folder: Path) -> list[Path]:
        """All files below a folder, sorted."""
        return sorted(path for path in folder.rglob("*") if not path.is_dir())

    def size(self, path: Path) -> int:
        """Bytes of a file as it is kept.

        Raises:
            OSError: there is none.
        """
        return path.stat().st_size

    def sha256(self, path: Path) -> str:
        """Digest of a file as it is kept."""
        return digest.sha256_file(path)

    def fetch(self, path: Path) -> bool:  # noqa: ARG002  the disk has no better copy
        """Bring a file that is missing or damaged here; whether there is now another one than before."""
        return False

    def fetch_blocks(self, blocks: Sequence[Block]) -> None:
        """Bring blocks that are missing or damaged here; those that are not as their checksums say are left out."""

    def lay_out(self, path: Path, size: int, index: bytes) -> None:
        """Make room for a shard of `size` bytes that ends in `index`, unless it is here."""

    def forget(self) -> None:
        """Drop copies of whole files, so that they are read once more from where they are kept."""


DISK = Keeper()
_mirrors: dict[Path, Keeper] = {}
"""By the folder that stands for a store elsewhere."""


def keeper(path: Path) -> Keeper:
    """Who keeps the store that `path` is, or is in."""
    if _mirrors:
        for folder in (path, *path.parents):
            if folder in _mirrors:
                return _mirrors[folder]
    return DISK


def opened(store: str | Path) -> Path:
    """The folder of a store: that itself, or the one that stands for `s3://bucket/path` on this machine.

    Raises:
        UsageError: an address without a bucket, or the package for object stores is not installed.
    """
    found = _ADDRESS.fullmatch(str(store))
    if found is None:
        return Path(store)
    if found[1] != "s3" or not found[2]:
        raise UsageError(f"expected a folder or s3://bucket/path, found the address {store}.")
    from mlpdata.store.mirror import Mirror  # noqa: PLC0415  only who asks for an object store loads what it takes

    mirror = Mirror.of(f"s3://{found[2].rstrip('/')}")
    _mirrors[mirror.folder] = mirror
    return mirror.folder


def refuse_bucket(store: Path, what: str) -> None:
    """Refuse what removes files where the store is kept elsewhere.

    Raises:
        StoreError: it is.
    """
    if keeper(store) is not DISK:
        raise StoreError(f"expected a store on a disk for {what}, found one in a bucket. Copy it to a disk, and back.")


def fetched(check: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let `check`, which names a damaged file in its CorruptError, check once more after the keeper brought the file."""

    @functools.wraps(check)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return check(*args, **kwargs)
        except CorruptError as error:
            path = Path(error.path or "")
            if not keeper(path).fetch(path):
                raise _of_keeper(error, path) from error.__cause__
        try:
            return check(*args, **kwargs)
        except CorruptError as error:
            raise _of_keeper(error, path) from error.__cause__

    return checked


def _of_keeper(error: CorruptError, path: Path) -> CorruptError:
    """The error with the file named as its keeper names it."""
    if error.path is not None:
        error.path = keeper(path).address(path)
    return error


def fetch_blocks(blocks: Sequence[Block]) -> None:
    """Let who keeps the files of `blocks` bring what is missing or damaged here."""
    found: dict[Keeper, list[Block]] = {}
    for block in blocks:
        found.setdefault(keeper(block.path), []).append(block)
    for who, some in found.items():
        who.fetch_blocks(some)
