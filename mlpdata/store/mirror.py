"""A folder that stands for a store in a bucket: what was read once is here, and is read from here.

Shards are sparse files of full size, so that they are mapped as ever; a block that was not read yet is a hole, whose
checksum does not hold, and is fetched then. HEAD and tags are asked for each time and never kept here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import xxhash

from mlpdata import digest, durable
from mlpdata.errors import CommitUncertain
from mlpdata.schema.records import Snapshot
from mlpdata.store import layout
from mlpdata.store.bucket import PIECE, Bucket, Unreachable
from mlpdata.store.keeper import Block, Keeper

WAITS = (0.1, 0.3, 1.0, 3.0)
"""Pauses before HEAD is tried again after an answer was lost [s]."""


class Mirror(Keeper):
    """A bucket's store with its copy on this machine.

    Args:
        folder: what stands for the store.
        bucket: where its files are kept.
    """

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self.folder = folder
        self.bucket = bucket

    @classmethod
    def of(cls, url: str) -> Mirror:
        """The mirror of the store at `url` in the cache: MLPDATA_CACHE, or mlpdata/ in XDG_CACHE_HOME."""
        bucket = Bucket(url)
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlpdata"
        cache = Path(os.environ.get("MLPDATA_CACHE") or usual).absolute()
        return cls(cache / digest.sha256(f"{bucket.endpoint} {url}".encode()) / "store", bucket)

    def beside(self, store: Path) -> Path:  # noqa: ARG002
        """The working folder: nothing of the user's stands in a cache."""
        return Path.cwd()

    def address(self, path: Path) -> str:
        """The object's."""
        return f"{self.bucket.url}/{self._name(path)}".removesuffix("/")

    def exists(self, path: Path) -> bool:
        """Whether the bucket has the object, a small one; a store is there if its HEAD is."""
        return self.bucket.read(self._name(path) or layout.HEAD) is not None

    def pointer(self, path: Path) -> bytes:
        """What HEAD or a tag says in the bucket now."""
        content = self.bucket.read(self._name(path))
        if content is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", self.address(path))
        return content

    def swap(self, path: Path, old: bytes | None, new: bytes) -> bool:
        """Replace HEAD or a tag by a conditional request; one whose answer was lost is sent again.

        The condition lets it take place once at most, and HEAD tells whether it did: it says `new`, or a snapshot
        that another writer built upon that.
        """
        name = self._name(path)
        for wait in (*WAITS, None):
            try:
                return self.bucket.swap(name, old, new) or self._has_followed(name, old, new)
            except Unreachable as error:
                if wait is None:
                    raise CommitUncertain(
                        "expected an answer to the commit, found none. It may have taken place: look by `mlpdata log`, or "
                        "repeat the command, which changes nothing if it did.",
                        path=self.address(path),
                    ) from error
                time.sleep(wait)
        raise AssertionError

    def _has_followed(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Whether a pointer says `new`, or HEAD a snapshot that came after it."""
        present = self.bucket.read(name)
        if name != layout.HEAD or present is None:
            return present == new
        waiting = {present}
        while waiting:
            one = waiting.pop()
            if one == new:
                return True
            if one != old and digest.is_hex(one.decode("ascii", "replace")[:-1]):
                waiting |= {f"{parent}\n".encode() for parent in self._parents(one.decode()[:-1])}
        return False

    def _parents(self, snapshot: str) -> tuple[str, ...]:
        return layout.read_record(Snapshot, layout.snapshot_file(self.folder, snapshot), snapshot).parents

    def publish(self, path: Path, record: bytes) -> None:
        """Put a record into the bucket, and keep a copy."""
        self.bucket.put(self._name(path), record)
        durable.keep_copy(path, [record])

    def upload(self, staged: Path, target: Path) -> None:
        """Put the files of a segment into the bucket, its record last: where that is, all are."""
        record = self._name(target / layout.SEGMENT_RECORD)
        if self.bucket.size(record) is not None:
            return
        files = {self._name(target / path.relative_to(staged)): path for path in super().files(staged)}
        last = files.pop(record)
        self.bucket.put_all(list(files.items()))
        self.bucket.put(record, last)

    def names(self, folder: Path) -> list[str]:
        """The names in a folder of the bucket, sorted."""
        return [path.name for path in self.files(folder)]

    def files(self, folder: Path) -> list[Path]:
        """All objects below a folder, as paths of the mirror, sorted."""
        return sorted(self.folder / name for name in self.bucket.sizes(self._name(folder)))

    def size(self, path: Path) -> int:
        """Bytes of an object."""
        size = self.bucket.size(self._name(path))
        if size is None:
            raise FileNotFoundError(errno.ENOENT, "no such object", self.address(path))
        return size

    def sha256(self, path: Path) -> str:
        """Digest of an object as the bucket has it."""
        found = hashlib.sha256()
        for piece in self.bucket.pieces(self._name(path)) or ():
            found.update(piece)
        return found.hexdigest()

    def fetch(self, path: Path) -> bool:
        """Bring a whole object here."""
        pieces = self.bucket.pieces(self._name(path))
        if pieces is None:
            return False
        durable.keep_copy(path, pieces)
        return True

    def fetch_blocks(self, blocks: Sequence[Block]) -> None:
        """Bring blocks here, neighbours together; what the bucket has damaged never replaces what another process reads."""
        runs = list(_runs(sorted(set(blocks))))
        ranges = [(self._name(run[0].path), run[0].offset, sum(block.size for block in run)) for run in runs]
        for run, content in zip(runs, self.bucket.ranges(ranges), strict=True):
            for block in run:
                at = block.offset - run[0].offset
                piece = content[at : at + block.size]
                if xxhash.xxh3_64_intdigest(piece) == block.checksum:
                    durable.patch(block.path, block.offset, piece)

    def lay_out(self, path: Path, size: int, index: bytes) -> None:
        """Make a shard that is all holes: sizes and indices follow from the manifest, so that opening asks for nothing."""
        try:
            with path.open("rb") as file:
                file.seek(max(size - len(index), 0))
                if file.read() == index:
                    return
        except FileNotFoundError:
            pass
        durable.lay_out(path, size, index)

    def forget(self) -> None:
        """Drop copies of whole files; shards stay, whose blocks have checksums that are looked at."""
        for path in super().files(self.folder):
            if layout.ARRAYS not in path.relative_to(self.folder).parts:
                path.unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        name = path.relative_to(self.folder).as_posix()
        return "" if name == "." else name


def _runs(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Sorted blocks cut where the next one is in another file, not the neighbour, or too much for one request."""
    run: list[Block] = []
    for block in blocks:
        last = run[-1] if run else block
        follows = (last.path, last.offset + last.size) == (block.path, block.offset)
        if run and not (follows and block.offset + block.size - run[0].offset <= PIECE):
            yield run
            run = []
        run.append(block)
    if run:
        yield run
