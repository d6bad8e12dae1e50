"""A tree of many run folders, from nothing to a store that is up to date: `mlpdata status` and `sync`, twice each.

Folders are named and filled as people do: `system_017/500K/run_0042` with input files and a log of the queue, a few
hundred distinct outputs of six codes hard-linked into them, 2 % failed, 1 % unfinished, chains of custodian, reaction
paths of five images. Identical files are read once, as anywhere: the tree costs what walking and recognising costs.
Each verb is a process of its own: wall time, CPU time with that of its workers, and the most memory of one process.

    python benchmarks/tree.py [--folders 100000] [--distinct 300] [--jobs 2] [--peers] [--tar 10000] [--archives]
"""

from __future__ import annotations

import argparse
import errno
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ingest_files import single_points

from mlpdata.testing.layouts import LAYOUTS, UNITS, files
from mlpdata.testing.springs import Run

MLPDATA = Path(sys.executable).with_name("mlpdata")
INPUTS = {
    "INCAR": "ENCUT = 400\nIBRION = 0\n",
    "KPOINTS": "mesh\n0\nGamma\n1 1 1\n",
    "slurm-4711.out": "job 4711 ended\n",
}
GOALS = {"second status": (60.0, 500.0)}
"""Seconds and MB."""
PER_SYSTEM, PER_TEMPERATURE = 500, 100


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    cpu: float
    megabytes: float
    """The most memory of it or one of its workers."""
    said: str
    code: int

    def __str__(self) -> str:
        return f"{self.seconds:8.1f} s   CPU {self.cpu:8.1f} s   {self.megabytes:6.0f} MB"


def measured(*command: object) -> Cost:
    """The cost of a command."""
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        out.seek(0)
        said = out.read().decode()
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said, child.returncode)


def distinct(folder: Path, count: int) -> list[Path]:
    """Folders of one run each, of all codes in turn: 2 % failed, 1 % unfinished."""
    random, codes = np.random.default_rng(0), list(LAYOUTS)
    for number in range(count):
        end = random.choice(["finished", "failed", "running"], p=[0.97, 0.02, 0.01])
        run = Run(codes[number % len(codes)], number, n_steps=int(random.integers(1, 9)), end=end, started=number)
        home = folder / f"{number:05d}"
        home.mkdir(parents=True)
        for name, content in files(run).items():
            (home / name).write_bytes(content)
    return sorted(folder.iterdir())


def chain(folder: Path) -> Path:
    """A run in three stages with the archive of an error, as custodian leaves them."""
    folder.mkdir()
    for number in range(3):
        end = f".relax{number + 1}.gz" if number < 2 else ""
        for name, content in files(
            Run("vasp", 10**6, first=3 * number, n_steps=4, end="finished", started=number)
        ).items():
            (folder / f"{name}{end}").write_bytes(gzip.compress(content) if end else content)
    with tarfile.open(folder / "error.1.tar.gz", "w:gz") as archive:
        archive.add(folder / "OUTCAR", "OUTCAR")
    return folder


def path(folder: Path) -> Path:
    """A reaction path of five images."""
    for image in range(5):
        home = folder / f"{image:02d}"
        home.mkdir(parents=True)
        run = Run("outcar", 10**6 + 1, first=4 * image, n_steps=2, end="finished")
        (home / "OUTCAR").write_bytes(files(run)["OUTCAR"])
    (folder / "INCAR").write_text("IMAGES = 3\nIBRION = 3\n")
    return folder


def packed(folder: Path, among: list[Path]) -> Path:
    """A folder that holds an archive of ten runs."""
    folder.mkdir()
    with tarfile.open(folder / "runs.tar.gz", "w:gz") as archive:
        for home in among[:10]:
            archive.add(home, home.name)
    return folder


def build(tree: Path, pool: Path, options: argparse.Namespace) -> int:
    """Hard links of the pool in folders of people; how many files there are."""
    runs = distinct(pool / "runs", options.distinct)
    special = {20: chain(pool / "chain"), 50: path(pool / "path")}
    if options.archives:
        special[97] = packed(pool / "packed", runs)
    inputs = pool / "inputs"
    inputs.mkdir()
    for name, text in INPUTS.items():
        (inputs / name).write_text(text)
    tree.mkdir()
    (tree / "mlpdata.yaml").write_text(f"license: CC0-1.0\n{UNITS}")
    n_files = 1
    for number in range(options.folders):
        system, temperature = number // PER_SYSTEM, 300 + 100 * (number // PER_TEMPERATURE % 5)
        home = tree / f"system_{system:03d}" / f"{temperature}K" / f"run_{number % PER_TEMPERATURE:04d}"
        source = special.get(number % 100, runs[number % len(runs)])
        shutil.copytree(source, home, copy_function=link)
        shutil.copytree(inputs, home, copy_function=_link_where_free, dirs_exist_ok=True)
        n_files += sum(1 for _ in home.iterdir())
    return n_files


def link(source: str, target: str) -> None:
    """A hard link; where the file system allows no more of them, to a new copy that takes its place in the pool."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        shutil.copy2(source, target)
        Path(source).unlink()
        os.link(target, source)


def _link_where_free(source: str, target: str) -> None:
    """The INCAR of a reaction path stays."""
    if not Path(target).exists():
        link(source, target)


def say(name: str, cost: Cost, *, of: float | None = None) -> None:
    """One figure, its goal and its ratio to the time of a floor."""
    line = f"{name:22s} {cost}"
    if name in GOALS and not cost.code:
        seconds, megabytes = GOALS[name]
        kept = cost.seconds <= seconds and cost.megabytes <= megabytes
        line += f"   goal {seconds:g} s, {megabytes:g} MB: {'kept' if kept else 'missed'}"
    if of:
        line += f"   {cost.seconds / of:.1f} x the floor"
    if cost.code:
        line += f"   ended with {cost.code}: {cost.said.strip().splitlines()[-1][:100] if cost.said.strip() else ''}"
    print(line, flush=True)


FLOORS = {
    "walk and stat": "import os,sys\nfor f, _, n in os.walk(sys.argv[1]):\n  for x in n: os.stat(os.path.join(f, x))",
    "walk and sha256": (
        "import hashlib,os,sys\nfor f, _, n in os.walk(sys.argv[1]):\n"
        "  for x in n: hashlib.sha256(open(os.path.join(f, x), 'rb').read()).digest()"
    ),
}
"""What nothing that looks at all files can do without, in plain Python."""


def follow(folder: Path, options: argparse.Namespace) -> None:
    """Build the tree and print a line for each verb."""
    tree, store = folder / "tree", folder / "store"
    started = time.perf_counter()
    n_files = build(tree, folder / "pool", options)
    print(f"{options.folders} folders, {n_files} files, built in {time.perf_counter() - started:.0f} s", flush=True)
    floor: dict[str, float] = {}
    if options.peers:
        for name, script in FLOORS.items():
            cost = measured(sys.executable, "-c", script, tree)
            floor[name] = cost.seconds
            say(name, cost)
    of = {"first": floor.get("walk and sha256"), "second": floor.get("walk and stat")}
    for time_ in ("first", "second"):
        for verb in ("status", "sync"):
            options_of_verb = ["--jobs", options.jobs] if verb == "sync" else []
            say(f"{time_} {verb}", measured(MLPDATA, verb, tree, "--store", store, *options_of_verb), of=of[time_])


def members(archive: Path, count: int) -> int:
    """A tarball of distinct single points; its bytes."""
    with tarfile.open(archive, "w") as tar:
        for number, text in enumerate(single_points(count)):
            content = text.encode()
            member = tarfile.TarInfo(f"runs/{number:05d}/vasprun.xml")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.stat().st_size


def tarball(folder: Path, options: argparse.Namespace) -> None:
    """Ingest of an archive as it lies, beside that of its unpacked files and reading all members as the floor."""
    archive, count = folder / "runs.tar", options.tar
    print(f"a tarball of {count} members, {members(archive, count) / 1e6:.0f} MB")
    script = "import hashlib,sys,tarfile\nfor m in (t := tarfile.open(sys.argv[1])): m.isfile() and hashlib.sha256(t.extractfile(m).read())"
    floor = measured(sys.executable, "-c", script, archive)
    say("members and sha256", floor)
    ingest = (MLPDATA, "ingest", "--license", "CC0-1.0", "--jobs", options.jobs)
    say("ingest of the tarball", measured(*ingest, archive, "--store", folder / "store"), of=floor.seconds)
    if options.peers:
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        say("ingest unpacked", measured(*ingest, folder / "unpacked", "--store", folder / "other"), of=floor.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=int, default=100_000)
    parser.add_argument("--distinct", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--peers", action="store_true", help="floors in plain Python, and unpacked archives")
    parser.add_argument("--archives", action="store_true", help="an archive of ten runs in each hundredth folder")
    parser.add_argument("--tar", type=int, default=0, help="ingest a tarball of so many members, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.folders:
            follow(Path(name), options)
    if options.tar:
        with tempfile.TemporaryDirectory() as name:
            tarball(Path(name), options)


if __name__ == "__main__":
    main()
