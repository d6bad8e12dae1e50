"""Refs: tags, each a file with the id of the snapshot that it stands for. A tag is a promise: it never moves silently."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from mlpdata import digest, durable
from mlpdata.errors import CorruptError, NotFound, UsageError
from mlpdata.store import layout

SHORTEST_PREFIX = 8
"""Digits of an id that stand for a snapshot."""
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_UNFINISHED = ".tmp"


def read_tags(store: Path) -> dict[str, str]:
    """Snapshot ids by tag, in order of name.

    Raises:
        CorruptError: a tag holds something else.
    """
    folder = store / layout.REFS
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: named_id(path.read_bytes(), path) for path in files if not path.name.endswith(_UNFINISHED)}


def tagged(store: Path, name: str) -> str | None:
    """The id of the snapshot that a tag stands for; None where there is no such tag."""
    path = store / layout.REFS / name
    return named_id(path.read_bytes(), path) if _is_name(name) and path.is_file() else None


def put_tag(store: Path, name: str, snapshot: str, *, move: bool = False) -> None:
    """Let `name` stand for a snapshot; the caller holds the lock of the store.

    Raises:
        UsageError: not a name, one that `--at` would take for an id or a date, or a tag that stands for another snapshot.
        StoreError: the disk refused.
    """
    _refuse_misleading(name)
    before = tagged(store, name)
    if before == snapshot:
        return
    if before is not None and not move:
        raise UsageError(
            f"expected a new tag, found {name}, which stands for snapshot {before[:12]}. --move moves it to {snapshot[:12]}."
        )
    durable.make_folder(store / layout.REFS)
    durable.replace(store / layout.REFS / name, f"{snapshot}\n".encode())


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
