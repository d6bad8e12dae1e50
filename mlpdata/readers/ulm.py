"""ULM containers, the form of GPAW's .gpw and ASE's .traj files: items of JSON that point at raw arrays.

A file is a magic and a tag, a table of offsets, and for each item its arrays followed by a JSON object. In the object
`name.` stands for `name`, whose value is an array `{"ndarray": [shape, dtype, offset]}` or a group of further names.
Parsed with json and numpy alone; every offset and length is held against the size of the file before it is used.

References:
    Layout: ase.io.ulm of ASE, https://wiki.fysik.dtu.dk/ase/ase/io/ulm.html. Files of before 2016 begin `AFFormat`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.readers.archive import Buffer

ByteOrder = Literal["<", ">"]
MAGICS = (b"- of Ulm", b"AFFormat")
HEADER_BYTES = 48
"""Magic (8), tag (16), then version, number of items and place of the table as 64-bit integers."""
MAX_JSON = 64 << 20
"""Bytes of JSON of one item; large things are arrays, so that real items have some kB."""
_INTEGERS = (f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
DTYPES = frozenset(("bool", "float32", "float64", "complex64", "complex128", *_INTEGERS))
"""Types that an array may have; no objects, no records."""


def tag_of(head: bytes) -> str | None:
    """The tag of a container that begins with `head`; None where it is no container."""
    return head[8:24].decode("latin-1").strip(" \0") if head[:8] in MAGICS and len(head) >= HEADER_BYTES else None


class Group(Mapping[str, Any]):
    """Names and values of an item: numbers, text, lists, arrays of numpy, further groups; arrays are read when asked."""

    def __init__(self, values: dict[str, Any], container: Ulm, byte_order: ByteOrder) -> None:
        self._values, self._container, self._order = values, container, byte_order

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        pointer = self._values[f"{name}."]
        if not isinstance(pointer, dict):
            raise ParseError(f"expected an array or a group as {name!r}, found {type(pointer).__name__}.")
        if "ndarray" in pointer:
            return array_at(name, pointer["ndarray"], self._container.data, self._order)
        return Group(pointer, self._container, self._order)

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(".") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)

    def group(self, name: str) -> Group:
        """The group `name`; an empty one where there is none."""
        value = self.get(name)
        return value if isinstance(value, Group) else Group({}, self._container, self._order)


class Ulm:
    """A container in a buffer.

    Raises:
        ParseError: no container, or its table of items lies outside the file.
    """

    def __init__(self, data: Buffer) -> None:
        self.data, self._size = data, len(data)
        tag = tag_of(data[:HEADER_BYTES])
        if tag is None:
            raise ParseError("expected an ULM container, found other bytes or too few of them.")
        self.tag = tag
        """What is in it: `ASE-Trajectory`, `GPAW`."""
        _, count, table = (int(n) for n in np.frombuffer(data[24:HEADER_BYTES], "<i8"))
        if count < 0 or table < 0 or table + 8 * count > self._size:
            raise ParseError(f"expected a table of {count} items at byte {table}, found {self._size} bytes in all.")
        self._offsets = np.frombuffer(data[table : table + 8 * count], "<i8").tolist()

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def whole(self) -> bool:
        """Whether the file reaches to the end of each item's JSON, which is written last."""
        ends = (offset + 8 + self._length(offset) for offset in self._offsets if 0 <= offset <= self._size)
        return max(self._offsets, default=0) <= self._size and all(end <= self._size for end in ends)

    def item(self, index: int) -> Group:
        """The names and values of an item.

        Raises:
            ParseError: its JSON lies outside the file, or is none.
            LimitExceeded: its JSON is larger than any real one.
        """
        values = parse_json(self._json(self._offsets[index]))
        if not isinstance(values, dict):
            raise ParseError(f"expected an object of names and values, found {type(values).__name__}.")
        return Group(values, self, "<" if values.pop("_little_endian", True) else ">")

    def _json(self, offset: int) -> bytes:
        start = offset + 8
        if not HEADER_BYTES <= offset <= self._size - 8:
            raise ParseError(f"expected an item at byte {offset}, found {self._size} bytes in all. The file is cut.")
        length = self._length(offset)
        if length > MAX_JSON:
            raise LimitExceeded(f"expected at most {MAX_JSON} bytes of JSON in an item, found {length}.")
        if length < 0 or start + length > self._size:
            raise ParseError(f"expected {length} bytes of JSON at byte {start}, found {self._size} bytes in all.")
        return self.data[start : start + length]

    def _length(self, offset: int) -> int:
        """Bytes of the JSON at an offset."""
        return int.from_bytes(self.data[offset : offset + 8], "little", signed=True)


def array_at(name: str, pointer: object, data: Buffer, byte_order: ByteOrder = "<") -> NDArray[Any]:
    """The array in `data` that a pointer `[shape, dtype, offset]` names.

    Raises:
        ParseError: it lies outside, or is of an unknown type.
    """
    match pointer:
        case [list() as shape, str() as dtype, int() as offset] if (
            dtype in DTYPES and offset >= 0 and all(type(n) is int and n >= 0 for n in shape)
        ):
            kind = np.dtype(dtype).newbyteorder(byte_order)
        case _:
            raise ParseError(f"expected shape, type and place of the array {name!r}, found {str(pointer)[:80]}.")
    stop = offset + math.prod(shape) * kind.itemsize
    if stop > len(data):
        raise ParseError(f"expected the array {name!r} up to byte {stop}, found {len(data)} bytes in all.")
    try:
        return np.frombuffer(data[offset:stop], kind).reshape(shape)
    except ValueError as error:
        raise ParseError(f"expected an array {name!r} that can be, found {str(error)[:80]}.") from error


def parse_json(text: bytes | str) -> Any:
    """The value that a JSON text spells.

    Raises:
        ParseError: not JSON, or nested deeper than any real one.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"expected JSON, found something else: {str(error)[:120]}.") from error
