"""Refs: tags, each a file with the id of the snapshot that it stands for. A tag is a promise: it never moves silently."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from mlpdata import digest, durable
from mlpdata.errors import CorruptError, NotFound, StoreError, UsageError
from mlpdata.store import layout
from mlpdata.store.keeper import DISK, keeper, refuse_bucket

SHORTEST_PREFIX = 8
"""Digits of an id that stand for a snapshot."""
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_UNFINISHED = ".tmp"


def read_tags(store: Path) -> dict[str, str]:
    """Snapshot ids by tag, in order of name.

    Raises:
        CorruptError: a tag holds something else.
    """
    folder, keep = store / layout.REFS, keeper(store)
    names = [name for name in keep.names(folder) if not name.endswith(_UNFINISHED)]
    return {name: named_id(keep.pointer(folder / name), folder / name) for name in names}


def tagged(store: Path, name: str) -> str | None:
    """The id of the snapshot that a tag stands for; None where there is no such tag."""
    path, keep = store / layout.REFS / name, keeper(store)
    if not _is_name(name):
        return None
    try:
        return named_id(keep.pointer(path), path)
    except OSError:
        return None


def put_tag(store: Path, name: str, snapshot: str, *, move: bool = False) -> None:
    """Let `name` stand for a snapshot; the caller holds the lock of the store.

    Raises:
        UsageError: not a name, one that `--at` would take for an id or a date, or a tag that stands for another snapshot.
        StoreError: the disk refused.
    """
    _refuse_misleading(name)
    before = tagged(store, name)
    if before == snapshot:
        if keeper(store) is DISK:  # whoever renamed onto the tag may have died before this
            durable.sync_folder(store / layout.REFS)
        return
    if before is not None and not move:
        raise UsageError(
            f"expected a new tag, found {name}, which stands for snapshot {before[:12]}. --move moves it to {snapshot[:12]}."
        )
    durable.make_folder(store / layout.REFS)
    old = None if before is None else f"{before}\n".encode()
    if not keeper(store).swap(store / layout.REFS / name, old, f"{snapshot}\n".encode()):
        raise StoreError(f"expected to move the tag {name}, found another writer moving it. Look, and tag again.")


def remove_tag(store: Path, name: str) -> str:
    """Forget a tag; the caller holds the lock of the store.

    Returns:
        The snapshot that it stood for.

    Raises:
        NotFound: no such tag.
        StoreError: the disk refused.
    """
    snapshot = tagged(store, name)
    if snapshot is None:
        raise NotFound(f"expected a tag of this store, found no {name!r}. `mlpdata tags` lists them.", path=store)
    refuse_bucket(store, "taking tags back")
    durable.remove(store / layout.REFS / name)
    return snapshot


def named_id(content: bytes, path: Path) -> str:
    """The snapshot id that HEAD or a tag holds.

    Raises:
        CorruptError: it holds something else.
    """
    name = content.decode("ascii", "replace")
    if not (name.endswith("\n") and digest.is_hex(name[:-1])):
        raise CorruptError("expected the id of a snapshot, found something else. Restore the file.", path=path)
    return name[:-1]


def _is_name(name: str) -> bool:
    return _TAG.fullmatch(name) is not None and not name.endswith(_UNFINISHED)


def _refuse_misleading(name: str) -> None:
    if not _is_name(name):
        raise UsageError(f"expected letters, digits, '.', '_' and '-', found the tag {name!r}.")
    if len(name) >= SHORTEST_PREFIX and digest.is_hex(name, len(name)):
        raise UsageError(f"expected a tag that is no start of an id, found {name!r}. Add a letter after f, or a dot.")
    try:
        datetime.fromisoformat(name)
    except ValueError:
        return
    raise UsageError(f"expected a tag that is no date, found {name!r}, which --at would read as one. Try v{name}.")
