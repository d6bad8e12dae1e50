"""Finding task documents in JSON: one document, an array of them, or one after the other, bare or inside a job's record.

A task document has a list `calcs_reversed`, the newest run first. What cannot be parsed is told and costs the documents
that it is in, no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mlpdata.errors import LimitExceeded
from mlpdata.readers.archive import Input
from mlpdata.schema.calculation import LeftOut

LARGEST = 256 << 20
"""Bytes of a file; parsed, a document takes some ten times as much."""
RUNS = "calcs_reversed"
_AROUND = ("output", "response", "data")
"""Where a job's record and the answer of a server have the document."""
_BETWEEN = re.compile(r"[\s,]*+")


class Run(NamedTuple):
    """One run of a task document."""

    record: dict[str, Any]
    """An entry of `calcs_reversed`."""
    line: int
    """Where the document begins, counted from 1."""


def runs(source: Input) -> Iterator[Run | LeftOut]:
    """The runs of all documents of a file in the order in which they were made, and what of it could not be parsed.

    Raises:
        LimitExceeded: larger than can be parsed in memory.
    """
    for value, line in _values(source):
        if isinstance(value, LeftOut):
            yield value
            continue
        for document in _documents(value):
            for record in reversed(document[RUNS]):
                if isinstance(record, dict):
                    yield Run(record, line)


def _values(source: Input) -> Iterator[tuple[Any, int]]:
    """The values of a file, or of the array that it is, each with its line."""
    if len(source.data) > LARGEST:
        raise LimitExceeded(
            f"expected at most {LARGEST >> 20} MiB of JSON, found {len(source.data) >> 20}. "
            "Export fewer documents a file, or read the outputs that they were made from."
        )
    text = source.data[:].decode("utf-8", "replace")
    place = _after_blanks(text, 0)
    is_array = text[place : place + 1] == "["
    place = _after_blanks(text, place + is_array)
    line, counted = 1, 0
    decoder = json.JSONDecoder()
    while place < len(text) and not (is_array and text[place] == "]"):
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            broken = line + text.count("\n", counted, error.pos)
            yield LeftOut(line=broken, reason=f"expected JSON, found none: {error.msg}. The file is cut or damaged."), 0
            following = text.find("\n{", error.pos)
            place = following if following >= 0 else len(text)
            is_array = is_array and place < len(text)
        except (RecursionError, ValueError) as error:
            yield LeftOut(line=line, reason=f"expected a task document, found JSON beyond bounds: {error}."), 0
            return
        else:
            yield value, line
        place = _after_blanks(text, place)
    if source.cut or (is_array and place >= len(text)):
        yield LeftOut(line=line, reason="expected the end of the array or file, found none. It was cut."), 0


def _after_blanks(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return found.end() if found else place


def _documents(value: Any, depth: int = 4) -> Iterator[dict[str, Any]]:
    """The task documents in a value: itself, those of an array, the output of a job."""
    if isinstance(value, list) and depth:
        for one in value:
            yield from _documents(one, depth - 1)
    elif isinstance(value, dict) and isinstance(value.get(RUNS), list):
        yield value
    elif isinstance(value, dict) and depth:
        for key in _AROUND:
            yield from _documents(value.get(key), depth - 1)
