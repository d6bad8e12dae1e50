"""What the benchmarks of readers share: our own reading of a file, and its speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

TIMES = 4
"""Ours is read so often, the first time on a cold interpreter; peers take minutes and are read once."""


def ours(path: Path) -> int:
    """How many frames mlpdata reads, recognition and the file's digest included."""
    from mlpdata.frames import Frames
    from mlpdata.readers.registry import open_run

    with open_run(path) as opened:
        return sum(len(item) for item in opened.items() if isinstance(item, Frames))


def speed(read: Callable[[Path], int], path: Path) -> tuple[float, int]:
    """MB a second of CPU time, the best of `TIMES` for ours, and the number of frames."""
    best, count = float("inf"), 0
    for _ in range(TIMES if read is ours else 1):
        begin = time.process_time()
        count = read(path)
        best = min(best, time.process_time() - begin)
    return path.stat().st_size / 1e6 / best, count
