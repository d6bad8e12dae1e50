"""Store what can be read of a damaged segment once more: the same calculations give the same files.

Of a damaged array all blocks are mapped, the good ones and the bad; a calculation counts as saved where its ids, worked
out of its numbers as they are now, give what it added to content when it was stored, and where no bad block touches an
array that ids do not cover.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlpdata import digest, durable
from mlpdata.errors import CorruptError, InputError
from mlpdata.frames import Frames
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.noun import from_stored
from mlpdata.store import checked, layout, locate
from mlpdata.store.arrays import file_record
from mlpdata.store.index import Kept
from mlpdata.store.layout import ATOM_START, COUNTS, N_ATOMS, FileRecord, Manifest, Segment
from mlpdata.store.locate import Mask, Shard
from mlpdata.store.mapping import Mapped
from mlpdata.store.rows import pieces
from mlpdata.store.segment import Writer

_PIECE = 1 << 24
"""Bytes copied at a time."""


class Salvage(NamedTuple):
    """What became of the calculations of a damaged segment."""

    writer: Writer
    """Holds those that are sound, in their order."""
    saved: dict[str, Calculation]
    """By record, as stored."""
    lost: dict[str, Calculation]
    """By record, as stored."""
    kept: list[Kept]
    """All of them, as the table has them."""


@contextmanager
def salvaged(store: Path, name: str, segment: Segment, damaged: set[str], staging: Path) -> Iterator[Salvage]:
    """Stage the sound calculations of a segment; the scratch files go when the block ends.

    Args:
        store: folder of the store.
        name: of the segment.
        segment: its record.
        damaged: paths of its damaged files, relative to its folder.
        staging: folder for all stagings.

    Raises:
        CorruptError: nothing can be said of its calculations: their table, or the counts of atoms, are gone.
        StoreError: the disk refused.
    """
    kept, records = _table(store, name, segment)
    with durable.lock(staging.parent / "lock"):  # a commit sweeps what nobody marked
        writer = Writer(staging, lambda _: False)
    try:
        scratch = writer.folder / "patched"
        manifest, bad = patched(layout.segment_folder(store, name) / layout.ARRAYS, segment.arrays, damaged, scratch)
        saved: dict[str, Calculation] = {}
        lost: dict[str, Calculation] = {}
        with Mapped([(scratch, manifest)]) as mapped:
            for one, text in zip(kept, records, strict=True):
                calculation = from_stored(Calculation, text, name)
                sound = _stage(writer, mapped, one, calculation, bad)
                (saved if sound else lost)[one.record] = calculation
        yield Salvage(writer, saved, lost, kept)
    finally:
        writer.discard()


def _table(store: Path, name: str, segment: Segment) -> tuple[list[Kept], list[str]]:
    """The calculations of a segment and their records as text; the index beside the table may be damaged."""
    path = layout.segment_folder(store, name) / "calculations.parquet"
    columns = ["calculation_record", "content", "n_configurations", "first_row", "json"]
    rows = checked.read_table(path, layout.file_of(segment, path.name, path), columns).select(columns)
    kept = [
        Kept(name, record, int(content, 16), n_configurations, first_row)
        for record, content, n_configurations, first_row in zip(
            *(rows[column].to_pylist() for column in columns[:-1]), strict=True
        )
    ]
    return kept, rows["json"].to_pylist()


def _stage(writer: Writer, mapped: Mapped, one: Kept, calculation: Calculation, bad: Mask) -> bool:
    """Stage a calculation if it is sound; nothing is worked out of numbers that may be any."""
    if bad[one.first_row : one.first_row + one.n_configurations].any() or not _is_sound(mapped, one):
        return False
    writer.begin()
    for frames in _blocks(mapped, one):
        writer.append(frames)
    writer.end(calculation)
    return True


def _is_sound(mapped: Mapped, one: Kept) -> bool:
    """Whether the ids of a calculation give what it added to content when it was stored."""
    ids = [np.empty((0, digest.ID_BYTES), np.uint8)]
    try:
        for frames in _blocks(mapped, one):
            _refuse_partial(frames)
            ids.append(frames.ids())
    except (InputError, CorruptError):  # numbers that no configuration can have
        return False
    return digest.shown(one.record, np.concatenate(ids)) == one.content


def _blocks(mapped: Mapped, one: Kept) -> Iterator[Frames]:
    """The configurations of a calculation in pieces that fit in memory."""
    for start, stop in pieces(mapped.n_atoms, one.first_row, one.first_row + one.n_configurations):
        yield mapped.frames(np.arange(start, stop))


def _refuse_partial(frames: Frames) -> None:
    """Forces are there for all atoms of a configuration or for none; an id asks the first atom only.

    Raises:
        CorruptError: for some.
    """
    absent = np.isnan(frames.forces[:, 0])
    first = absent[np.minimum(frames.atom_start[:-1], max(len(absent) - 1, 0))] if len(absent) else absent[:0]
    if (absent != np.repeat(first, frames.n_atoms) if len(absent) else absent).any():
        raise CorruptError("expected forces on all atoms of a configuration or on none, found them on some.")


def patched(group: Path, manifest: Manifest, damaged: set[str], scratch: Path) -> tuple[Manifest, Mask]:
    """A copy of a group that can be mapped: links to the good shards, and what is left of the others at full size.

    Args:
        group: folder of the arrays of a segment.
        manifest: of these arrays.
        damaged: paths of damaged files, relative to the segment.
        scratch: folder to make.

    Returns:
        The manifest of the copy, and which configurations have a changed byte that their id would not show.

    Raises:
        CorruptError: both arrays that count atoms are damaged.
    """
    durable.make_scratch(scratch)
    shards, files, changed = locate.shards(manifest), dict(manifest.files), {}
    for name in manifest.arrays:
        durable.make_scratch(scratch / name)
    for place, shard in shards.items():
        if f"{layout.ARRAYS}/{place}" not in damaged:
            (scratch / place).symlink_to((group / place).absolute())
            continue
        files[place] = _stand_in(scratch / place, shard, _beginning(group / place, shard.rows * shard.array.row_bytes))
        changed[place] = locate.changed_blocks(scratch / place, manifest.files[place], shard.covered)
    bad_counts = {shards[place].name for place, blocks in changed.items() if len(blocks)} & set(COUNTS)
    if len(bad_counts) > 1:
        raise CorruptError("expected n_atoms or atom_start as it was written, found both damaged.", path=group)
    for name in bad_counts:
        files |= _recounted(scratch, manifest, name)
    copy = manifest.model_copy(update={"files": files})
    bad = np.zeros(manifest.n_configurations, bool)
    for place, blocks in changed.items():
        if shards[place].name not in (*digest.ROW_FIELDS, *COUNTS):
            bad |= locate.touched(scratch, copy, shards[place], blocks)
    return copy, bad


def _beginning(path: Path, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file, or as many as there are."""
    try:
        with path.open("rb") as file:
            while size > 0 and (piece := file.read(min(size, _PIECE))):
                yield piece
                size -= len(piece)
    except OSError:
        return


def _stand_in(path: Path, shard: Shard, pieces: Iterator[bytes]) -> FileRecord:
    """A shard of the right size, with the right padding and index; rows that are missing are zero."""
    array = shard.array
    padding = np.full((array.grid.padded(shard.rows) - shard.rows, *array.shape), layout.blank_of(shard.name))
    with durable.Stream(path) as stream:
        for piece in pieces:
            stream.write(piece)
        stream.truncate(shard.rows * array.row_bytes)
        stream.write(padding.astype(np.dtype(array.dtype).newbyteorder("<")).tobytes() + shard.closing)
    return file_record(path, shard.covered)


def _recounted(scratch: Path, manifest: Manifest, name: str) -> dict[str, FileRecord]:
    """The shards of one of the two arrays that count atoms, from the other one."""
    if name == ATOM_START:
        counts = locate.read_array(scratch, manifest, N_ATOMS)
        whole = np.cumsum(counts) - counts
    else:
        whole = np.diff(locate.read_array(scratch, manifest, ATOM_START), append=manifest.n_atoms)
    files = {}
    for place, shard in locate.shards(manifest).items():
        if shard.name == name:
            rows = whole[shard.first_row : shard.first_row + shard.rows].astype("<i8")
            (scratch / place).unlink()
            files[place] = _stand_in(scratch / place, shard, iter([rows.tobytes()]))
    return files
