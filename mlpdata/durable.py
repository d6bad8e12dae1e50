"""Write, rename, sync, lock: the only way bytes become durable.

Each durable operation calls `_operation` first, which a test replaces to kill the process, to fail the call, or
to record it. Nothing else in mlpdata writes to a store, a split, a view or a checkpoint.

References:
    T. S. Pillai et al., All File Systems Are Not Created Equal, OSDI 2014: why file, then rename, then folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from mlpdata.errors import CommitUncertain, StoreError, StoreLocked

Hook = Callable[[str, Path], int | None]
"""Called with an operation and what it is done to. None lets it pass. A number is how many bytes a write may take at
once; 0 leaves a sync out."""

_hook: Hook | None = None

SYNCS = 16
"""Files synced at a time."""
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "lustre", "beegfs", "ceph", "gpfs"}
)


def set_hook(hook: Hook | None) -> None:
    """Call `hook` before each durable operation; None removes it. For tests that inject faults."""
    global _hook  # noqa: PLW0603  one process, one disk
    _hook = hook


def _operation(name: str, path: Path) -> int | None:
    return None if _hook is None else _hook(name, path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an operating-system error into one that says what to do."""
    try:
        yield
    except OSError as error:
        cures = {
            errno.ENOSPC: "The disk is full; nothing was committed. Free space and try again.",
            errno.EDQUOT: "The disk quota is used up; nothing was committed. Free space and try again.",
            errno.EROFS: "The file system is read-only; mount it for writing or choose another --store.",
            errno.EACCES: "Writing is not permitted; check the owner and mode of the folder.",
            errno.EMFILE: "Too many files are open; raise the limit (ulimit -n) and try again.",
        }
        cure = cures.get(error.errno or 0, "Nothing was committed; try again once the disk is well.")
        raise StoreError(f"expected to write, found: {error.strerror}. {cure}", path=path) from error


def write(path: Path, data: bytes | memoryview | Iterable[bytes | memoryview]) -> None:
    """Write a new file and sync it. The folder must be synced by `sync_folder` before the name is durable.

    Raises:
        StoreError: the disk refused; the partial file is left for the caller's staging folder to discard.
    """
    stage(path, data)
    sync_file(path)


def stage(path: Path, data: bytes | memoryview | Iterable[bytes | memoryview]) -> None:
    """Write a new file of a staging folder; `sync_tree` on the folder makes all of them durable at once.

    One journal commit then serves many files, where a sync after each write would cost one a file.

    Raises:
        StoreError: the disk refused.
    """
    with Stream(path) as stream:
        for piece in [data] if isinstance(data, bytes | bytearray | memoryview) else data:
            stream.write(piece)


@contextmanager
def staged_by_library(path: Path) -> Iterator[None]:
    """Around the code of a library that writes the new file `path` of a staging folder. See `stage`.

    Raises:
        StoreError: the disk refused.
    """
    with _explained(path):
        _operation("write", path)
        yield


class Stream:
    """A file of a staging folder that grows piece by piece.

    Args:
        path: the file.
        mode: `w` for a new or emptied file, `a` to go on at the end of one.
    """

    def __init__(self, path: Path, mode: str = "w") -> None:
        self.path = path
        with _explained(path):
            _operation("open", path)
            self._file = path.open(f"{mode}b", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`.

        Raises:
            StoreError: the disk refused.
        """
        with _explained(self.path):
            rest = memoryview(data)
            while rest:  # a disk that is nearly full takes less than it was given
                most = _operation("write", self.path)
                rest = rest[self._file.write(rest[:most]) or 0 :]

    def truncate(self, size: int) -> None:
        """Forget everything after the first `size` bytes. For scratch files that nobody has mapped."""
        with _explained(self.path):
            _operation("truncate", self.path)
            self._file.seek(size)
            self._file.truncate()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def replace(path: Path, data: bytes) -> None:
    """Give `path` a new content atomically: temporary file, sync, rename, sync of the folder.

    Raises:
        StoreError: the disk refused before the rename; the old content stands.
        CommitUncertain: the disk refused after the rename.
    """
    temporary = path.with_name(path.name + ".tmp")
    write(temporary, data)
    rename(temporary, path)


def rename(source: Path, target: Path) -> None:
    """Rename within a file system and sync the target's folder.

    Raises:
        StoreError: the rename failed; nothing changed.
        CommitUncertain: the rename took place, but the folder could not be synced.
    """
    with _explained(target):
        _operation("rename", target)
        source.rename(target)
    try:
        sync_folder(target.parent)
    except StoreError as error:
        raise CommitUncertain(
            "expected the folder to sync after the rename, found an error. The new version is in place, but a power "
            "cut could undo it; run `mlpdata verify`, then repeat the command, which changes nothing if it was kept.",
            path=target,
        ) from error


def remove(path: Path) -> None:
    """Remove one file, and sync its folder.

    Raises:
        StoreError: the disk refused.
    """
    with _explained(path):
        _operation("unlink", path)
        path.unlink()
    sync_folder(path.parent)


def link(source: Path, target: Path) -> None:
    """Give a file a second name on the same file system, and sync the folder of that name.

    Raises:
        StoreError: the disk refused, or has no second names.
    """
    with _explained(target):
        _operation("link", target)
        target.hardlink_to(source)
    sync_folder(target.parent)


def keep_copy(path: Path, data: Iterable[bytes | memoryview]) -> None:
    """Put a copy of what can be had again at `path`: whole or not at all, and not synced. Its folder is made.

    Raises:
        StoreError: the disk refused.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            stage(temporary, data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def lay_out(path: Path, size: int, end: bytes) -> None:
    """Make `path` a sparse file of `size` bytes that ends in `end`; `patch` fills it. Its folder is made.

    A file that is there keeps its other bytes and its inode, since another process may have mapped it.

    Raises:
        StoreError: the disk refused.
    """
    with _explained(path):
        _operation("truncate", path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(handle, size)
            os.pwrite(handle, end, size - len(end))
        finally:
            os.close(handle)


def patch(path: Path, offset: int, data: memoryview) -> None:
    """Write `data` at `offset` of a copy laid out by `lay_out`; not synced.

    Raises:
        StoreError: the disk refused.
    """
    with _explained(path):
        _operation("write", path)
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            while data:
                written = os.pwrite(handle, data, offset)
                data, offset = data[written:], offset + written
        finally:
            os.close(handle)


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, each synced in its parent."""
    missing = [path, *path.parents]
    missing = missing[: next(i for i, folder in enumerate(missing) if folder.exists())]
    for folder in reversed(missing):
        with _explained(folder):
            _operation("mkdir", folder)
            folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def make_scratch(path: Path) -> None:
    """Create a folder in a staging area; `sync_folder` on its parent makes its name durable.

    Raises:
        StoreError: the disk refused, or the folder exists.
    """
    with _explained(path):
        _operation("mkdir", path)
        path.mkdir()


def sync_file(path: Path) -> None:
    """Sync a file that a library wrote."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Sync a folder, which makes the names in it durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    with _explained(path):
        if _operation("fsync", path) == 0:
            return
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_tree(path: Path) -> None:
    """Sync every file and folder below `path`, in any order: none of it has a name that anybody knows yet.

    Many at a time, since the journal commits together what is synced together; one by one where a test watches.
    """
    found = [(Path(folder), sorted(files)) for folder, _, files in os.walk(path, topdown=False)]
    steps = [
        *((sync_file, folder / name) for folder, names in found for name in names),
        *((sync_folder, folder) for folder, _ in found),
    ]
    if _hook is not None:
        for sync, one in steps:
            sync(one)
        return
    with ThreadPoolExecutor(min(SYNCS, len(steps))) as pool:
        for done in [pool.submit(sync, one) for sync, one in steps]:
            done.result()


def remove_tree(path: Path) -> None:
    """Remove a folder of scratch files, links not followed. Files are unlinked, never truncated: a mapping may live on.

    Raises:
        StoreError: the disk refused.
    """
    with _explained(path):
        for folder, folders, files in os.walk(path, topdown=False):
            for name in files:
                Path(folder, name).unlink(missing_ok=True)
            for name in folders:
                child = Path(folder, name)
                child.unlink() if child.is_symlink() else child.rmdir()
        path.rmdir()


@contextmanager
def lock(path: Path, timeout: float = 60.0) -> Iterator[None]:
    """Hold the exclusive lock `path`; the kernel releases it when the process ends, however it ends.

    Raises:
        StoreLocked: another process held it for longer than `timeout` [s].
    """
    with _explained(path):
        _operation("lock", path)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(handle, path, timeout)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise StoreLocked(
                    f"expected to lock the store within {timeout:g} s, found it held by process {holder}. "
                    "Wait for that process or end it; the lock goes with it.",
                    path=path,
                ) from None
            time.sleep(0.02)
        else:
            with suppress(OSError):  # a full disk: the lock holds all the same, only its holder stays unknown
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
            return


def mark_alive(folder: Path) -> int:
    """Lock a staging folder while the returned descriptor is open; the kernel lets go when the process ends."""
    with _explained(folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def remove_dead(folder: Path) -> bool:
    """Remove a staging folder unless a living process marked it; whether it was removed."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        remove_tree(folder)
        return True
    finally:
        os.close(handle)


def file_system(path: Path) -> str:
    """Type of the file system that holds `path`, such as ext4 or nfs4; empty where /proc does not say."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.read_text().splitlines():
        fields = line.split()
        point = fields[4].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind


def refuse_network(path: Path) -> None:
    """Refuse to write where locks and renames may not hold.

    Raises:
        StoreError: `path` is on a network file system and MLPDATA_TRUST_LOCKS is not set.
    """
    kind = file_system(path)
    if kind in NETWORK_FILE_SYSTEMS and not os.environ.get("MLPDATA_TRUST_LOCKS"):
        raise StoreError(
            f"expected a local file system, found {kind}. Locks may not hold there; "
            "set MLPDATA_TRUST_LOCKS=1 if they do.",
            path=path,
        )
