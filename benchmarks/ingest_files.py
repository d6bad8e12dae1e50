"""Ingest of outputs, file to committed snapshot, all checks on: many small files, and one large one.

Small files are relaxations of eight silicon atoms by pw.x (`examples/silicon`, 77 kB, 11 configurations each) with digits
of energy and forces changed so that no two files are the same, and single points of 64 atoms in VASP's layout (27 kB).
The large one is molecular dynamics as `read_vasprun.py` builds it. Files per second of wall time, since processes
share the work, beside the CPU time of all of them, which does not count what else the machine does.

    python benchmarks/ingest_files.py [--files 10000] [--jobs 1 2] [--megabytes 200]
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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import read_vasprun as vasprun

ROOT = Path(__file__).parents[1]
TEMPLATE = sorted((ROOT / "examples/silicon/raw/equilibrium").glob("*.out.xz"))[0]
PER_FOLDER = 500


def relaxations(files: int) -> Iterator[str]:
    """Distinct outputs of pw.x."""
    text = lzma.decompress(TEMPLATE.read_bytes()).decode()
    at = text.index("!    total energy")
    place = text.index(" Ry", at) - 4  # the last four of eight decimals
    force = text.index("force =", at) + len("force =")
    end = text.index(".", force) + 5  # four of eight decimals of the first component
    for number in range(files):
        first, second = divmod(number, 10_000)
        changed = text[:end] + f"{first:04d}" + text[end + 4 :]
        yield changed[:place] + f"{second:04d}" + changed[place + 4 :]


def single_points(files: int) -> Iterator[str]:
    """Distinct vasprun.xml of one step: a hundred steps, a run for each second of a day."""
    random, cell = np.random.default_rng(0), np.diag([10.86, 10.86, 10.86])
    atoms = "\n".join(["    <rc><c>Si</c><c>   1</c></rc>"] * vasprun.N_ATOMS)
    texts = []
    for _ in range(100):
        start = random.random((vasprun.N_ATOMS, 3))
        header = vasprun.HEADER.format(
            structure=vasprun.structure(cell, start, "primitive_cell"),
            atoms=atoms,
            initial=vasprun.structure(cell, start, "initialpos"),
        )
        texts.append(f"{header}{vasprun.step(random, cell, start)}\n</modeling>\n")
    for number in range(files):
        started = f"{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
        yield texts[number % 100].replace(">00:00:00 <", f">{started} <", 1)


def write(folder: Path, texts: Iterator[str], ending: str) -> int:
    """Outputs in folders of 500; their bytes."""
    size = 0
    for number, text in enumerate(texts):
        parent = folder / f"{number // PER_FOLDER:03d}"
        parent.mkdir(parents=True, exist_ok=True)
        size += (parent / f"{number:06d}{ending}").write_text(text)
    return size


def ingest(folder: Path, raw: str, jobs: int) -> tuple[float, float, str]:
    """Wall time and CPU time of `mlpdata ingest` [s], and what it says."""
    shutil.rmtree(folder / "store", ignore_errors=True)
    command = [Path(sys.executable).with_name("mlpdata"), "ingest", raw, "--license", "CC0-1.0", "--jobs", str(jobs)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def many(
    folder: Path, name: str, texts: Callable[[int], Iterator[str]], ending: str, options: argparse.Namespace
) -> None:
    """Print a line for each number of processes."""
    size = write(folder / name, texts(options.files), ending)
    for jobs in options.jobs:
        seconds, cpu, said = ingest(folder, name, jobs)
        assert f"of {options.files} calculations" in said, said
        print(
            f"{options.files} {name}, {size / 1e6:.0f} MB, --jobs {jobs}: {options.files / seconds:.0f} files/s "
            f"({seconds:.1f} s; CPU {1e3 * cpu / options.files:.1f} ms a file, {size / 1e6 / cpu:.0f} MB/s)",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--megabytes", type=float, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many(folder, "relaxations", relaxations, ".out", options)
        many(folder, "single-points", single_points, ".xml", options)
        (folder / "long").mkdir()
        vasprun.write(folder / "long/vasprun.xml", options.megabytes)
        size = (folder / "long/vasprun.xml").stat().st_size
        seconds, cpu, _ = ingest(folder, "long", 1)
        print(f"one vasprun.xml of {size / 1e6:.0f} MB: {size / 1e6 / cpu:.0f} MB/s of CPU ({seconds:.1f} s)")


if __name__ == "__main__":
    main()
