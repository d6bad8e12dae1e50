"""Memory under the rows of an array: one reserved address range, or a mapping a file where that is impossible."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import mmap
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import CorruptError, StoreError
from mlpdata.frames import I64
from mlpdata.store.keeper import keeper
from mlpdata.store.layout import ArrayRecord, FileRecord, Manifest

_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_HUGE_PAGE = 1 << 21
"""Linux maps large pieces of the page cache at once only where file and address agree modulo this: a third quicker."""
_BLANK_BYTES = 1 << 24
"""Size of the anonymous file that stands for absent rows; mapped again and again."""


@dataclass(frozen=True)
class Placed:
    """A shard, or a run of blank rows, and where it lies among the rows of all segments."""

    first_row: int
    """Row at which it begins."""
    rows: int
    """Rows with content, padding to whole chunks included."""
    path: Path | None
    """The file; None for blank rows."""
    record: FileRecord | None
    """Its checksums."""
    filled: int
    """Rows that configurations have: the first ones; nobody reads the padding after them."""


def open_shards(
    folder: Path, manifest: Manifest, name: str, rows: int, expected: ArrayRecord, *, base: int
) -> Iterator[Placed]:
    """The shards of the array `name` of one folder, from row `base` on; blank rows where the folder lacks it.

    Raises:
        CorruptError: a shard is missing, or its size or its index is not what the manifest says.
    """
    record = manifest.arrays.get(name)
    if record is None:
        yield Placed(base, rows, None, None, rows)
        return
    if (record.dtype, record.shape, record.rows) != (expected.dtype, expected.shape, rows):
        raise CorruptError(
            f"expected {name} of {rows} rows {expected.shape} {expected.dtype}, "
            f"found {record.rows} rows {record.shape} {record.dtype} in the manifest.",
            path=folder,
        )
    for shard in range(record.n_shards):
        place = record.shard_name(name, shard)
        file = manifest.files.get(place)
        if file is None:
            raise CorruptError(f"expected {place} in the manifest, found no such file.", path=folder)
        filled = record.rows_of(shard)
        padded = record.grid.padded(filled)
        _check_index(folder / place, file, record, shard)
        yield Placed(base + shard * record.shard_rows, padded, folder / place, file, filled)


def _check_index(path: Path, file: FileRecord, record: ArrayRecord, shard: int) -> None:
    index = record.grid.shard_index(record.rows_of(shard), record.row_bytes)
    size = record.grid.padded(record.rows_of(shard)) * record.row_bytes + len(index)
    keeper(path).lay_out(path, size, index)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CorruptError(f"expected a shard, found: {error.strerror}. Restore the file.", path=path) from error
    try:
        found = os.fstat(handle).st_size
        if not found == size == file.bytes:
            raise CorruptError(f"expected {size} bytes, found {found}. Restore the file.", path=path)
        if os.pread(handle, len(index), size - len(index)) != index:
            raise CorruptError("expected the shard index that was written, found another. Restore the file.", path=path)
    finally:
        os.close(handle)


class _Rows:
    """What both kinds of memory have in common: the type of a row."""

    def __init__(self, record: ArrayRecord) -> None:
        self.dtype = np.dtype(record.dtype).newbyteorder("<")
        self.shape = record.shape
        self.row_bytes = record.row_bytes


class Pages(_Rows):
    """One address range with every shard mapped into it (mmap, MAP_FIXED, read-only).

    Args:
        n_rows: length of the range.
        record: type of its rows.
        blank: what absent rows hold.
        placed: shards and blank runs.
    """

    def __init__(self, n_rows: int, record: ArrayRecord, blank: float, placed: list[Placed]) -> None:
        super().__init__(record)
        self._range = _Range(max(n_rows * self.row_bytes, mmap.PAGESIZE))
        for one in placed:
            offset, size = one.first_row * self.row_bytes, one.rows * self.row_bytes
            if one.path is not None:
                _map_file(self._range, offset, size, one.path)
            elif size:
                self._range.fill(offset, size, np.array(blank, self.dtype))
        self._array = self._range.array(self.dtype, (n_rows, *self.shape))
        self._bytes = self._range.array(np.dtype(np.uint8), (n_rows * self.row_bytes,))

    @staticmethod
    def possible() -> bool:
        """Whether this system can map files at chosen addresses."""
        return sys.platform == "linux" and sys.byteorder == "little" and sys.maxsize > 1 << 32

    def take(self, index: I64, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The rows at `index`, which the caller has checked to lie within shards."""
        return self._array.take(index, axis=0, out=out, mode="raise" if out is None else "clip")

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """Rows `start` to `stop` in place."""
        return self._array[start:stop]

    def bytes(self, start: int, stop: int) -> memoryview:
        """The bytes from `start` to `stop`, within one shard."""
        return self._bytes[start:stop].data


class Pieces(_Rows):
    """The same, with a mapping of its own for each file: slower, and possible everywhere. See `Pages`."""

    def __init__(self, n_rows: int, record: ArrayRecord, blank: float, placed: list[Placed]) -> None:
        super().__init__(record)
        self._first = np.array([one.first_row for one in placed] + [n_rows], np.int64)
        self._pieces = [self._open(one, blank) for one in placed]

    def _open(self, one: Placed, blank: float) -> NDArray[Any]:
        shape = (one.rows, *self.shape)
        if one.path is None or one.rows == 0:
            return np.broadcast_to(np.array(blank, self.dtype), shape)
        return np.memmap(one.path, self.dtype, "r", shape=shape)

    def take(self, index: I64, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The rows at `index`, which the caller has checked to lie within shards."""
        taken = np.empty((len(index), *self.shape), self.dtype) if out is None else out
        piece = np.searchsorted(self._first, index, side="right") - 1
        for one in np.unique(piece).tolist():
            here = piece == one
            taken[here] = self._pieces[one][index[here] - self._first[one]]
        return taken

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """Rows `start` to `stop`, copied."""
        return self.take(np.arange(start, stop))

    def bytes(self, start: int, stop: int) -> memoryview:
        """The bytes from `start` to `stop`, within one shard."""
        piece = int(np.searchsorted(self._first * self.row_bytes, start, side="right")) - 1
        offset = int(self._first[piece]) * self.row_bytes
        flat = self._pieces[piece].reshape(-1).view(np.uint8)
        return flat[start - offset : stop - offset].data


class _Range:
    """Reserved addresses, given back when the last array over them is gone."""

    def __init__(self, size: int) -> None:
        self._size = size + _HUGE_PAGE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._reserved = _mmap(None, self._size, mmap.PROT_READ, flags, -1)
        self._address = -(-self._reserved // _HUGE_PAGE) * _HUGE_PAGE

    def place(self, offset: int, size: int, handle: int) -> None:
        """Map the first `size` bytes of the file open as `handle` at `offset`."""
        _mmap(self._address + offset, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, handle)

    def fill(self, offset: int, size: int, value: NDArray[Any]) -> None:
        """Show `value` again and again from `offset` on, in memory that does not grow with `size`."""
        handle = os.memfd_create("blank", os.MFD_CLOEXEC)
        try:
            period = min(-(-size // mmap.PAGESIZE) * mmap.PAGESIZE, _BLANK_BYTES)
            os.write(handle, np.full(period // value.itemsize, value).tobytes())
            for at in range(0, size, period):
                self.place(offset + at, min(period, size - at), handle)
        finally:
            os.close(handle)

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """A read-only array from the start of the range; it keeps the range alive."""
        return np.asarray(_Interface(self, self._address, dtype, shape))

    def __del__(self) -> None:
        reserved = getattr(self, "_reserved", None)
        if reserved is not None:
            _libc().munmap(reserved, self._size)


class _Interface:
    """numpy's array protocol over an address; numpy keeps this object, and so the range, as the array's base."""

    def __init__(self, owner: _Range, address: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._owner = owner
        self.__array_interface__ = {"data": (address, True), "shape": shape, "typestr": dtype.str, "version": 3}


def _map_file(target: _Range, offset: int, size: int, path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target.place(offset, size, handle)
    finally:
        os.close(handle)


@functools.cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
    ]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return library


def _mmap(address: int | None, size: int, protection: int, flags: int, handle: int) -> int:
    found = _libc().mmap(address, size, protection, flags, handle, 0)
    if found in (None, ctypes.c_void_p(-1).value):
        raise StoreError(
            f"expected to map {size} bytes, found: {os.strerror(ctypes.get_errno())}. "
            "Raise vm.max_map_count or the limit of address space (ulimit -v)."
        )
    return int(found)
