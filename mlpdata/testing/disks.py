"""Disks made for a test: an ext4 file system whose power can be cut, and one in memory that is really full.

Both need Linux and the right to mount; `why_no_mounts` says what is missing.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXT4_OPTIONS = (
    "data=ordered",
    "data=ordered,noauto_da_alloc",
    "data=writeback,noauto_da_alloc",
    "data=writeback,noauto_da_alloc,nobarrier",
    "data=journal",
)
"""Ways in which ext4 orders bytes and names. `auto_da_alloc` would sync what a rename replaces, asked or not."""
NEVER = "commit=3600,noatime"
"""Nothing reaches the disk by the passing of time."""
IMAGE_BYTES = 6 << 20
MANY_FILES = 1 << 16


@functools.cache
def why_no_mounts() -> str:
    """Why no file system can be mounted here; empty where it can."""
    missing = [name for name in ("mount", "umount", "mkfs.ext4") if shutil.which(name) is None]
    if os.name != "posix" or os.geteuid() != 0:
        return "mounting needs root"
    if missing:
        return f"{', '.join(missing)} is not installed"
    try:
        with tempfile.TemporaryDirectory() as folder, ext4(Path(folder)) as disk:
            disk.copy(Path(folder) / "copy")
    except subprocess.CalledProcessError as error:
        return f"no file system can be mounted: {error.stderr.decode(errors='replace').strip()}"
    return ""


class Ext4:
    """A mounted ext4 file system in a file.

    Args:
        image: the file: what the disk holds, without what the kernel still keeps in memory.
        folder: where it is mounted.
    """

    def __init__(self, image: Path, folder: Path) -> None:
        self.image, self.folder = image, folder

    def copy(self, target: Path) -> None:
        """Copy what is on the disk now, as a power cut would leave it."""
        shutil.copyfile(self.image, target)


@contextmanager
def ext4(folder: Path, options: str = EXT4_OPTIONS[0]) -> Iterator[Ext4]:
    """A new, empty ext4 file system, mounted below `folder` while the block runs.

    Raises:
        CalledProcessError: it cannot be made or mounted.
    """
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", "-b", "1024", "-m", "0", "-N", "1024", "-J", "size=1", os.fspath(image))
    with mounted(image, folder / "disk", f"{options},{NEVER}") as disk:
        yield disk


@contextmanager
def mounted(image: Path, folder: Path, options: str = "noatime") -> Iterator[Ext4]:
    """An image mounted at `folder`, its journal replayed, while the block runs.

    Raises:
        CalledProcessError: it cannot be mounted.
    """
    folder.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", f"loop,{options}", os.fspath(image), os.fspath(folder))
    try:
        yield Ext4(image, folder)
    finally:
        _run("umount", "-l", os.fspath(folder))  # a test that failed may still have something mapped


@contextmanager
def memory_disk(folder: Path, n_bytes: int, n_files: int = MANY_FILES) -> Iterator[None]:
    """A file system in memory of at most `n_bytes` and `n_files`, at `folder` while the block runs.

    Raises:
        CalledProcessError: it cannot be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", _size(n_bytes, n_files), "tmpfs", os.fspath(folder))
    try:
        yield
    finally:
        _run("umount", "-l", os.fspath(folder))  # a test that failed may still have something mapped


def resize(folder: Path, n_bytes: int, n_files: int = MANY_FILES) -> None:
    """Give a mounted `memory_disk` another size."""
    _run("mount", "-o", f"remount,{_size(n_bytes, n_files)}", os.fspath(folder))


def _size(n_bytes: int, n_files: int) -> str:
    return f"size={max(n_bytes, 1)},nr_inodes={max(n_files, 1)}"  # 0 would be no limit


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  names of our own
