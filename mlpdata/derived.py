"""Derived: what a project made of its store. Splits, views, checkpoints and reports say themselves what they rest on.

There is no registry to keep: it is rebuilt from the records where they lie, so that it cannot be out of date.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpdata.curate.freeze import read_ids
from mlpdata.digest import ID_BYTES, is_hex
from mlpdata.errors import CorruptError, MlpdataError, NotFound
from mlpdata.schema.noun import from_stored
from mlpdata.schema.records import Split

WEIGHTS = ".safetensors"
BEST = f"best{WEIGHTS}"
"""The finished potential in the folder of a model."""
MOST_HEADER = 1 << 28
"""Bytes of the header of a checkpoint or the head of a report; a larger one is none."""
_META = re.compile(r'<meta name="mlpdata-(content|split|view|model)" content="([0-9a-f]{64})">')
Ids = NDArray[np.bytes_]


@dataclass(frozen=True)
class Derived:
    """Something that was made of a store."""

    what: str
    """split, view, checkpoint or report."""
    path: Path
    """Where it lies."""
    id: str = ""
    """What it is called by; a report has none."""
    rests_on: Mapping[str, str] = field(default_factory=dict)
    """Ids of the content, split, view and model that it names."""
    parts: Mapping[str, Ids] = field(default_factory=dict)
    """Ids of configurations by part; of a checkpoint or report they are those of its view."""
    fault: str = ""
    """Why nothing is known of it; empty where all is well."""

    def as_json(self) -> dict[str, Any]:
        """The thing as JSON values, without the ids of its configurations."""
        counts = {name: len(ids) for name, ids in self.parts.items()}
        return {"what": self.what, "path": str(self.path), "id": self.id, **self.rests_on, "parts": counts}


def derived_of(project: Path) -> list[Derived]:
    """All that lies in the folders splits, views, models, checkpoints and results of a project.

    What cannot be read is there with its fault.
    """
    return [read_derived(path) for path in _places(project)]


def _places(project: Path) -> Iterator[Path]:
    yield from sorted((project / "splits").rglob("*.json"))
    yield from sorted(path.parent for path in (project / "views").rglob("view.json"))
    for folder in ("models", "checkpoints"):
        yield from sorted((project / folder).rglob(f"*{WEIGHTS}"))
    yield from sorted((project / "results").rglob("*.html"))


def read_derived(path: Path) -> Derived:
    """A split, view, checkpoint or report by its path; `fault` says why it is none."""
    what, read = _reader(path)
    try:
        return read(path)
    except (MlpdataError, OSError, ValueError, KeyError, TypeError) as error:
        why = error.message if isinstance(error, MlpdataError) else f"expected a {what}, found: {error}."
        return Derived(what, path, fault=why)


def is_derived(path: Path) -> bool:
    """Whether a path leads to a split, view, checkpoint or report, as far as its name tells."""
    if path.is_dir():
        return (path / "view.json").is_file() or (path / BEST).is_file()
    return path.is_file() and path.suffix in (".json", WEIGHTS, ".html")


def _reader(path: Path) -> tuple[str, Callable[[Path], Derived]]:
    if path.suffix == WEIGHTS or (path / BEST).is_file():
        return "checkpoint", _checkpoint
    return {".json": ("split", _split), ".html": ("report", _report)}.get(path.suffix, ("view", _view))


def _split(path: Path) -> Derived:
    split = from_stored(Split, path.read_bytes(), str(path))
    parts = {name: np.frombuffer(bytes.fromhex("".join(ids)), f"S{ID_BYTES}") for name, ids in split.parts.items()}
    rests_on = {"content": split.content} | ({"split": split.parent} if split.parent else {})
    return Derived("split", path, split.id, rests_on, parts)


def _view(path: Path) -> Derived:
    view, ids = read_ids(path)
    keys = ids.view(f"S{ID_BYTES}").reshape(-1)
    rests_on = {"content": view.content} | ({"split": view.split} if view.split else {})
    parts = {name: keys[first:end] for name, (first, end) in view.parts.items()}
    return Derived("view", path, view.id, rests_on, parts)


def _checkpoint(path: Path) -> Derived:
    """Read from the header alone: tensors, and torch, are not needed to say where they came from."""
    file = path / BEST if path.is_dir() else path
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > MOST_HEADER:
            raise CorruptError("expected a checkpoint, found a file that is none. Restore it.", path=file)
        stated = json.loads(json.loads(opened.read(length))["__metadata__"]["mlpdata"])
    provenance = stated["record"]["provenance"]
    return Derived("checkpoint", file, str(stated["id"]), _named(provenance))


def _report(path: Path) -> Derived:
    with path.open(encoding="utf-8") as opened:
        head = opened.read(1 << 16)
    named = {what: html.unescape(name) for what, name in _META.findall(head)}
    if "content" not in named:
        raise NotFound("expected a report that names what it was made of, found another page.", path=path)
    return Derived("report", path, "", named)


def _named(provenance: Mapping[str, Any]) -> dict[str, str]:
    """The ids among what a checkpoint says of its origin."""
    names = {what: provenance.get(what) for what in ("content", "split", "view")}
    return {what: name for what, name in names.items() if isinstance(name, str) and is_hex(name)}
