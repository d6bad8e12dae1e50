"""Shuffled batches of 64, store to array, and how quickly configurations in memory are written.

Files are read once from the disk, so that they are in memory. Each peer is opened beside a numpy memmap of the same
numbers and type that is opened anew, too. The two take turns batch by batch, in alternating order, and the CPU time of
all threads counts; so the ratio stands on a noisy machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mlpdata.frames import I64, Frames
from store.configurations import block
from store.peers import MEMMAP, MEMMAP_F32, OTHERS, OURS, Batch, Peer
from store.report import Spent, explained, read_anew, spent, table

N_ATOMS = (10, 30)
BATCH = 64
LATER_EPOCHS = 3
PATIENCE = 4.0
"""Most CPU time of one peer in one epoch [s]; what is slower reads a part of it."""

HEADER = ("what", "first epoch, of memmap", "later epochs, of memmap", "configurations/s", "checks what it reads", "of")

Reader = Callable[[I64], Batch]


def figures(folder: Path, n_configurations: int, only: Sequence[str] = ()) -> Iterator[str]:
    """Markdown: batches, then writing."""
    frames = block(n_configurations, N_ATOMS, seed=0)
    for memmap in (MEMMAP, MEMMAP_F32):
        memmap.write(_fresh(folder, memmap), frames)
        read_anew(place_of(folder, memmap))
    reading, writing = [], []
    for peer in (*OURS, *OTHERS):
        if only and not any(word in peer.name for word in only):
            continue
        part = frames if peer.most >= len(frames) else frames.select(np.arange(peer.most))
        place = _fresh(folder, peer)
        took = spent(lambda part=part, place=place, peer=peer: peer.write(place, part))
        read_anew(place)
        reading.append(_read(folder, peer, part))
        if peer.writes:
            writing.append((peer, len(part), took, _size(place)))
        shutil.rmtree(place)
        print(*reading[-1], f"written in {took.cpu:.1f} s", sep="  ", flush=True)
    yield f"## Shuffled batches of {BATCH}, store to array\n\n{explained(__doc__)}\n\n" + table(HEADER, reading)
    yield (
        "## Writing from memory\n\nUntil the library says that it is done; mlpdata stages, checks and commits.\n\n"
        + table(
            (
                "what",
                "configurations/s of CPU time",
                "of mlpdata",
                "configurations/s of wall time",
                "bytes a configuration",
            ),
            _written(writing),
        )
    )


def place_of(folder: Path, peer: Peer) -> Path:
    """Where a peer keeps its files."""
    return folder / peer.name.replace(",", "").replace(" ", "-")


def _fresh(folder: Path, peer: Peer) -> Path:
    place = place_of(folder, peer)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _read(folder: Path, peer: Peer, frames: Frames) -> tuple[str, ...]:
    """A line of the table of reading."""
    memmap = MEMMAP_F32 if peer.dtype == "float32" else MEMMAP
    mine, other = peer.open(place_of(folder, peer)), memmap.open(place_of(folder, memmap))
    return compared(peer, mine, other, len(frames))


def compared(
    peer: Peer, mine: Reader, other: Reader, n_configurations: int, most: int | None = None
) -> tuple[str, ...]:
    """A line of the table of reading: a first epoch and later ones, of at most `most` configurations each."""
    random = np.random.default_rng(0)
    epochs = [_epoch(mine, other, random.permutation(n_configurations)[:most], peer) for _ in range(1 + LATER_EPOCHS)]
    (first, n_first), later = epochs[0], epochs[1:]
    cpu, reference = (sum(took[which].cpu for took, _ in later) for which in (0, 1))
    of = f"{n_first:,} of {n_configurations:,}" if n_first < n_configurations else f"{n_configurations:,}"
    rate = f"{sum(n for _, n in later) / cpu:,.0f}"
    return peer.name, _ratio(first[1].cpu / first[0].cpu), _ratio(reference / cpu), rate, peer.verifies, of


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def _epoch(mine: Reader, other: Reader, order: I64, peer: Peer) -> tuple[tuple[Spent, Spent], int]:
    """What both took, and how many configurations they read."""
    took = (Spent(), Spent())
    found: list[Batch] = [{}, {}]
    for number, start in enumerate(range(0, len(order), BATCH)):
        rows = order[start : start + BATCH]
        for turn in (number % 2, 1 - number % 2):
            with took[turn].counting():
                found[turn] = (mine, other)[turn](rows)
        if number % 97 == 0:
            _same(*found, peer)
        if took[0].cpu > PATIENCE:
            return took, start + len(rows)
    return took, len(order)


def _same(mine: Batch, other: Batch, peer: Peer) -> None:
    for name, expected in other.items():
        assert np.array_equal(mine[name], expected), f"{peer.name} gives other {name}"
        assert mine[name].dtype == expected.dtype, f"{peer.name} gives {name} as {mine[name].dtype}"


def _written(rows: list[tuple[Peer, int, Spent, int]]) -> Iterator[tuple[str, ...]]:
    ours = next((n / took.cpu for peer, n, took, _ in rows if peer.packages == "mlpdata"), float("nan"))
    for peer, n, took, size in rows:
        name = peer.name if n == max(count for _, count, _, _ in rows) else f"{peer.name} ({n:,} configurations)"
        yield name, f"{n / took.cpu:,.0f}", f"{n / took.cpu / ours:.2f}", f"{n / took.wall:,.0f}", f"{size / n:,.0f}"
