"""Ingest of many small outputs, file to committed snapshot, all checks on: files per second.

Each file is a single point of eight silicon atoms that pw.x computed (`examples/silicon`), with digits of its energy and
forces changed so that no two files are the same. Wall time of `mlpdata ingest --jobs`, since processes share the work.

    python benchmarks/ingest_files.py [--files 10000] [--jobs 1 2]
"""

from __future__ import annotations

import argparse
import lzma
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEMPLATE = sorted((ROOT / "examples/silicon/raw/equilibrium").glob("*.out.xz"))[0]
PER_FOLDER = 500


def write(folder: Path, files: int) -> int:
    """`files` distinct outputs in folders of 500; their bytes."""
    text = lzma.decompress(TEMPLATE.read_bytes()).decode()
    at = text.index("!    total energy")
    place = text.index(" Ry", at) - 4  # the last four of eight decimals
    force = text.index("force =", at) + len("force =")
    end = text.index(".", force) + 5  # four of eight decimals of the first component
    for number in range(files):
        parent = folder / f"{number // PER_FOLDER:03d}"
        parent.mkdir(exist_ok=True)
        first, second = divmod(number, 10_000)
        changed = text[:end] + f"{first:04d}" + text[end + 4 :]
        changed = changed[:place] + f"{second:04d}" + changed[place + 4 :]
        (parent / f"{number:06d}.out").write_text(changed)
    return len(text) * files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw").mkdir()
        size = write(folder / "raw", options.files)
        for jobs in options.jobs:
            shutil.rmtree(folder / "store", ignore_errors=True)
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            command = [
                Path(sys.executable).with_name("mlpdata"),
                "ingest",
                "raw",
                "--license",
                "CC0-1.0",
                "--jobs",
                str(jobs),
            ]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - started
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(
                f"{options.files} files, {size / 1e6:.0f} MB, --jobs {jobs}: {options.files / seconds:.0f} files/s "
                f"({seconds:.1f} s, {cpu:.1f} s of CPU, {size / 1e6 / cpu:.0f} MB/s of CPU)"
            )
            assert f"{options.files} configurations of {options.files} calculations" in done.stdout, done.stdout


if __name__ == "__main__":
    main()
