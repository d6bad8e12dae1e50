"""Safe HDF5: one file and nothing beyond it, read in place, no array larger than what is stored can explain."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlpdata.errors import InputError, LimitExceeded, ParseError, Unavailable
from mlpdata.readers.archive import Buffer
from mlpdata.units import F64

SMALL, GROWTH = 16 << 20, 1000
"""Arrays of more bytes than `SMALL` must not be `GROWTH` times what they take in the file: zlib reaches 1030."""
_FAULTS = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    AttributeError,
    MemoryError,
)
"""What h5py raises for files that are cut or damaged."""


class _View(io.RawIOBase):
    """A buffer as a file, so that HDF5 reads it in place."""

    def __init__(self, data: Buffer) -> None:
        super().__init__()
        self._data, self._place = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._data)}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        piece = self._data[self._place : self._place + len(buffer)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)


class File:
    """An HDF5 file of which only what is plainly in it can be reached."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def has(self, path: str) -> bool:
        """Whether there is something at `path`."""
        return self._find(path) is not None

    def _find(self, path: str) -> Any:
        import h5py  # noqa: PLC0415

        node = self._root
        for name in path.split("/"):
            link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise ParseError(
                    f"expected {path} in the file, found a link to elsewhere. No code of this field writes one."
                )
            node = node[name]
        return node

    def names(self, path: str) -> list[str]:
        """What a group holds."""
        group = self._find(path)
        return [] if group is None else list(group)

    def dataset(self, path: str) -> Any:
        """A dataset that can be sliced.

        Raises:
            ParseError: none there, or one whose numbers lie in another file.
            LimitExceeded: a shape that the file cannot fill.
        """
        import h5py  # noqa: PLC0415

        found = self._find(path)
        if not isinstance(found, h5py.Dataset):
            raise ParseError(f"expected the dataset {path}, found none. The run was cut before it was written.")
        if found.is_virtual or found.external:
            raise ParseError(
                f"expected {path} in the file, found that it lies in another one. No code of this field writes such."
            )
        size = (found.size or 0) * found.dtype.itemsize
        if size > SMALL and size > GROWTH * found.id.get_storage_size():
            raise LimitExceeded(f"expected {path} as large as its stored bytes, found the shape {found.shape}.")
        return found

    def numbers(self, path: str, shape: tuple[int, ...], steps: slice | None = None) -> F64:
        """Real numbers of `shape`, those of `steps` where a dataset has a row for each step.

        Raises:
            ParseError: none there, or of another shape.
        """
        dataset = self.dataset(path)
        if dataset.dtype.kind not in "fiu" or dataset.shape is None:
            raise ParseError(f"expected real numbers in {path}, found {dataset.dtype}.")
        values = np.asarray(dataset[()] if steps is None else dataset[steps], np.float64)
        if values.shape != shape:
            raise ParseError(f"expected {path} of shape {shape}, found {values.shape}.")
        return values


@contextmanager
def own_errors() -> Iterator[None]:
    """Turn what h5py raises for damaged files into ParseError."""
    try:
        yield
    except InputError:
        raise
    except _FAULTS as error:
        raise ParseError(f"expected HDF5, found: {error}. The file is cut or damaged.") from None


@contextmanager
def opened(data: Buffer) -> Iterator[File]:
    """Open the HDF5 file that a buffer holds.

    Raises:
        ParseError: it is none, or cut or damaged.
        Unavailable: h5py is not installed.
    """
    try:
        import h5py  # noqa: PLC0415  heavy, and of few files only
    except ImportError:
        raise Unavailable("expected h5py to read HDF5, found none. Install it: pip install h5py.") from None
    with own_errors():
        root = h5py.File(_View(data), "r")
    with root:
        yield File(root)
