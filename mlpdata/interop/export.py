"""Export: configurations of a snapshot as a file or folder of another program, with where they came from beside it.

Everything is written into a scratch folder beside the target, synced, and renamed: the sidecars first, the target last.
A killed export leaves the target as it was; what it left of scratch, the next one removes. A folder cannot be renamed
onto another: one that is replaced steps aside, and comes back with the next export if that moment was the last.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from mlpdata import durable
from mlpdata.digest import sha256_file
from mlpdata.errors import StoreError, UsageError
from mlpdata.interop.loss import Holder, Loss, Weighed, weigh
from mlpdata.interop.selection import Ids, Selection, Terms
from mlpdata.interop.sidecar import ATTRIBUTION, PROVENANCE, attribution, licenses, provenance
from mlpdata.store.snapshot import OpenSnapshot


class Format(NamedTuple):
    """One row of the table of formats."""

    endings: tuple[str, ...]
    """By which a target names it."""
    packages: tuple[str, ...]
    """What it needs beyond the core."""
    is_folder: bool = False
    """Whether it is a folder, sidecars inside."""


FORMATS = {
    "extxyz": Format((".extxyz", ".xyz"), ()),
    "ase-db": Format((".db",), ("ase",)),
    "aselmdb": Format((".aselmdb",), ("ase", "ase_db_backends", "lmdb")),
    "hdf5": Format((".h5", ".hdf5"), ()),
    "deepmd": Format((), (), is_folder=True),
}
"""Each is a module of this package."""


class Writer(Holder, Protocol):
    """A module that knows a format."""

    def write(self, selection: Selection, path: Path, terms: Terms) -> Selection | None:
        """Write a new file or folder; the selection in the order in which it was written, where that is another."""
        ...


class Export(NamedTuple):
    """What was written."""

    path: Path
    """The target."""
    format: str
    n_configurations: int
    n_calculations: int
    beside: tuple[Path, ...]
    """Provenance and attribution."""
    licenses: dict[str, int]
    """Configurations under each license."""
    loss: Loss
    """What the format does not hold."""

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        paths = {"path": str(self.path), "beside": [str(one) for one in self.beside]}
        return {**self._asdict(), **paths, "loss": self.loss.as_json()}


def export(
    snapshot: OpenSnapshot,
    target: Path,
    form: str | None = None,
    ids: Ids | None = None,
    *,
    query: str = "",
    prefix: str = "",
    force: bool = False,
) -> Export:
    """Write configurations for another program.

    Args:
        snapshot: where they are.
        target: file or folder; it appears whole or not at all.
        form: one of `FORMATS`; by default what the ending of `target` says.
        ids: those wanted, in this order, shape (n, 16); all by default. One that is named twice is written once.
        query: how they were chosen; recorded.
        prefix: put before energy, forces and stress in extended XYZ, such as `REF_`.
        force: replace what is there.

    Raises:
        UsageError: no such format, a package is missing, nothing is selected, or the target is there.
        NotFound: an id that the snapshot does not show.
        CorruptError: bytes are not those that were written.
        StoreError: the disk refused; what was there stands.
    """
    name = _format(target, form)
    if prefix and name != "extxyz":
        raise UsageError(f"expected a prefix for extxyz only, found one for {name}. Its names are fixed.")
    target = Path(os.path.normpath(Path.cwd() / target))
    places = _places(target, FORMATS[name])
    _refuse_target(snapshot, places, FORMATS[name], force=force)
    writer = cast(Writer, import_module(f"mlpdata.interop.{name.replace('-', '_')}"))
    weighed = weigh(Selection.of(snapshot, ids), writer)
    if not len(weighed.selection):
        raise UsageError(f"expected configurations that {name} can hold, found none: {next(iter(weighed.left_out))}.")
    about: dict[str, Any] = {
        "snapshot": snapshot.record.id,
        "content": snapshot.content,
        "query": query,
        "format": name,
    }
    with _scratch(target) as scratch:
        inside = _places(scratch / target.name, FORMATS[name])
        written = writer.write(weighed.selection, inside.target, Terms(weighed.present, about, prefix))
        selection = weighed.selection if written is None else written
        _write_sidecars(inside, weighed._replace(selection=selection), about)
        durable.sync_tree(scratch)
        _refuse_target(snapshot, places, FORMATS[name], force=force)
        _put(inside, places, FORMATS[name])
    beside = (places.provenance, places.attribution)
    n_calculations = len(selection.calculations)
    return Export(target, name, len(selection), n_calculations, beside, licenses(selection), weighed.loss)


class _Places(NamedTuple):
    """A target with what goes beside it, or, of a folder, in it."""

    target: Path
    provenance: Path
    attribution: Path


def _places(target: Path, form: Format) -> _Places:
    if form.is_folder:
        return _Places(target, target / PROVENANCE, target / ATTRIBUTION)
    return _Places(target, *(target.with_name(f"{target.name}.{one}") for one in (PROVENANCE, ATTRIBUTION)))


def _format(target: Path, form: str | None) -> str:
    """The format that is asked for, or that the target's ending names; its packages are there."""
    ending = target.suffix.lower()
    name = form or next((name for name, row in FORMATS.items() if ending in row.endings), None)
    if name not in FORMATS:
        found = f"found {form!r}" if form else f"found the ending {ending!r}. Name one by --format"
        raise UsageError(f"expected one of the formats {', '.join(FORMATS)}, {found}.")
    if name == "aselmdb" and ending != ".aselmdb":
        raise UsageError(f"expected a name that ends in .aselmdb, found {target.name!r}. Its readers go by the name.")
    for package in FORMATS[name].packages:
        if find_spec(package) is None:
            raise UsageError(
                f"expected the package {package}, found none. Install it by: pip install 'mlpdata[export]'"
            )
    return name


def _refuse_target(snapshot: OpenSnapshot, places: _Places, form: Format, *, force: bool) -> None:
    """Refuse to replace what is there unasked, and what no export wrote at all.

    Raises:
        UsageError: says why.
    """
    target = places.target
    store = snapshot.store.resolve()
    if store == target.resolve() or store in target.resolve().parents or target.resolve() in store.parents:
        raise UsageError("expected a place outside the store, found one in it or around it. Name another.", path=target)
    there = [place for place in ((target,) if form.is_folder else places) if os.path.lexists(place)]
    if there and not force:
        raise UsageError("expected a new name, found something there. --force replaces it.", path=there[0])
    for place in there:
        if form.is_folder and place.is_dir() and not places.provenance.is_file() and any(place.iterdir()):
            raise UsageError("expected an earlier export to replace, found another folder. Remove it.", path=place)
        if place.is_dir() != form.is_folder:
            kind = "folder" if form.is_folder else "file"
            raise UsageError(f"expected a {kind} to replace, found something else. Remove it.", path=place)


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A folder beside the target for as long as it is written to; one that a killed export left is removed before.

    Raises:
        StoreError: another export writes to this target, or the disk refused.
    """
    durable.make_folder(target.parent)
    scratch = target.with_name(f".{target.name}.mlpdata-export")
    if os.path.lexists(scratch) and not durable.remove_dead(scratch):
        raise StoreError("expected to write there alone, found another export at it. Wait for it.", path=target)
    _bring_back(target)
    durable.make_scratch(scratch)
    alive = durable.mark_alive(scratch)
    try:
        yield scratch
    finally:
        os.close(alive)
        durable.remove_tree(scratch)


def _write_sidecars(inside: _Places, weighed: Weighed, about: dict[str, Any]) -> None:
    selection, loss, present, left_out = weighed
    durable.stage(inside.attribution, attribution(selection, about))
    target = inside.target
    whole = [target] if target.is_file() else sorted(path for path in target.rglob("*") if path.is_file())
    base = target.parent if target.is_file() else target
    files = {str(path.relative_to(base)): {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in whole}
    durable.stage(inside.provenance, provenance(selection, about, loss, present, left_out, files))


def _put(inside: _Places, places: _Places, form: Format) -> None:
    """Rename what is finished into place: sidecars, then the target; an older folder steps aside and returns on failure."""
    if not form.is_folder:
        for source, place in zip(reversed(inside), reversed(places), strict=True):
            durable.rename(source, place)
        return
    try:
        if places.target.exists():
            durable.rename(places.target, _aside(places.target))
        durable.rename(inside.target, places.target)
    finally:
        _bring_back(places.target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.mlpdata-replaced")


def _bring_back(target: Path) -> None:
    """Let a folder that stepped aside return to its name, or go where another has taken it."""
    aside = _aside(target)
    if aside.exists() and not target.exists():
        durable.rename(aside, target)
    elif aside.exists():
        durable.remove_tree(aside)
