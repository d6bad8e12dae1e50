"""Coverage-guided fuzzing of all that takes bytes from outside; `make fuzz` runs it.

::

    python tests/fuzz/fuzz_readers.py --runs 60000                   # each target, one after the other
    python tests/fuzz/fuzz_readers.py --runs 60000 orca/out archive  # some

Each target runs in processes of its own, since HDF5 and SQLite may crash in C; what ends one is kept and the next
goes on. Below build/fuzz lie corpus/TARGET, what reached more, findings/TARGET, inputs that a target did not stand, one for
each place, and runs.json, the executions so far.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
BUILD = Path("build/fuzz")
SEEDS = BUILD / "seeds"
SLOW = 1.0
"""Seconds of CPU that one input may take."""
GREEDY = 500 << 10
"""KiB of memory that one input may take."""
HANG = 100
"""Seconds without another input after which the last one is a hang and its process is killed."""
START = 300
"""Seconds that a process may take to its first input."""
ROOM = 1 << 20
"""Bytes of the file that holds the input being read."""
SECOND_CLASS = (ValueError, IndexError, KeyError, TypeError, ArithmeticError, Warning)
"""What `registry.Opened` makes a ParseError of, without a line."""


class Findings:
    """Inputs that a target did not stand, one for each place in the code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.known = Counter(path.stem for path in folder.glob("*.txt"))

    def add(self, kind: str, content: bytes, said: str) -> None:
        """Keep an input, the smallest of its kind."""
        name = "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in kind)[:150]
        held = self.folder / f"{name}.bin"
        if name not in self.known or len(content) < held.stat().st_size:
            held.write_bytes(content)
            (self.folder / f"{name}.txt").write_text(said)
        self.known[name] += 1


def place(error: BaseException) -> str:
    """Where an exception came from: its class, the last of our modules it went through, and the line."""
    ours = [one for one in traceback.extract_tb(error.__traceback__) if "/mlpdata/" in one.filename]
    at = f"{Path(ours[-1].filename).stem}.{ours[-1].name}.{ours[-1].lineno}" if ours else "elsewhere"
    grade = 2 if isinstance(error, SECOND_CLASS) and not isinstance(error, OverflowError) else 1
    return f"{grade}-{type(error).__name__}-{at}"


def fuzz(name: str, runs: int) -> None:
    """Fuzz one target in this process until `runs` inputs were read; never returns."""
    import atheris

    with atheris.instrument_imports(include=["mlpdata.readers"]):
        import seeds
        from mutations import Mutator
        from targets import TARGETS, refused
    target = TARGETS[name]
    corpus, start = BUILD / "corpus" / target.folder, BUILD / "start" / target.folder
    corpus.mkdir(parents=True, exist_ok=True)
    start.mkdir(parents=True, exist_ok=True)
    found = Findings(BUILD / "findings" / target.folder)
    pool = seeds.of_target(name, SEEDS)
    for digest, content in pool.items():
        (start / digest).write_bytes(content)
    words = seeds.headings(name)
    (BUILD / f"{target.folder}.dict").write_text(seeds.dictionary(words))
    counter, reading = _shared(target.folder, "count", 8), _shared(target.folder, "reading", ROOM)
    warnings.simplefilter("error")

    def one(content: bytes) -> None:
        reading[: 8 + len(content)] = struct.pack("<q", len(content)) + content
        before, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            refused(target, content)
        except BaseException as error:  # noqa: BLE001  which one it is, is the question
            found.add(place(error), content, "".join(traceback.format_exception(error))[-4000:])
        seconds = time.process_time() - before
        if seconds > SLOW:
            found.add(f"1-slow-{int(seconds)}s", content, f"{seconds:.2f} s")
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak > GREEDY:
            found.add("1-memory", content, "more than 500 MB")
        counter[:8] = struct.pack("<q", struct.unpack("<q", counter[:8])[0] + 1)

    def any_bytes(content: bytes, limit: int) -> bytes:
        return bytes(atheris.Mutate(content, limit))

    mutator = Mutator(words, list(pool.values()), seeds.fixtures(name), any_bytes)
    longest = max(16_384, *(len(content) for content in pool.values())) if pool else 16_384
    options = [
        f"-runs={runs}", f"-max_len={longest}", "-len_control=0", "-timeout=1000", "-rss_limit_mb=3000",
        f"-dict={BUILD / target.folder}.dict", f"-artifact_prefix={found.folder}/", "-verbosity=0", "-reload=0",
        "-entropic_scale_per_exec_time=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus), str(start)], one, custom_mutator=mutator)
    atheris.Fuzz()


def _shared(folder: str, kind: str, size: int) -> mmap.mmap:
    """Bytes that outlive a crash: how many inputs a target has read, and the one that it is reading."""
    path = BUILD / f"{folder}.{kind}"
    if not path.exists():
        path.write_bytes(bytes(size))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), size)


def executions(folder: str) -> int:
    """Inputs that a target has read so far."""
    path = BUILD / f"{folder}.count"
    return int(struct.unpack("<q", path.read_bytes())[0]) if path.exists() else 0


def fuzz_in_processes(name: str, runs: int) -> None:
    """Fuzz one target in processes of its own, a new one where one crashed."""
    from targets import TARGETS

    folder = TARGETS[name].folder
    start = time.monotonic()
    goal, fruitless = executions(folder) + runs, 0
    while (left := goal - executions(folder)) > 0 and fruitless < 5:
        before = executions(folder)
        with (BUILD / f"{folder}.log").open("ab") as log:
            command = [sys.executable, __file__, "--runs", str(left), "--inside", name]
            code = _watched(subprocess.Popen(command, stdout=log, stderr=log), folder)
        if code == 0:
            break
        if executions(folder) > before:
            kind = "1-hang" if code == -signal.SIGKILL else f"1-crash{code}"
            Findings(BUILD / "findings" / folder).add(kind, _last_read(folder), f"the process ended with {code}")
        fruitless = fruitless + 1 if executions(folder) - before < 100 else 0
        print(f"{name}: a process ended with {code}, see {folder}.log", flush=True)
    kinds = sorted(path.stem for path in (BUILD / "findings" / folder).glob("*.txt"))
    rate = (executions(folder) - goal + runs) / (time.monotonic() - start)
    print(
        f"{name}: {executions(folder):,} executions, {rate:.0f}/s, {len(kinds)} findings",
        *kinds,
        sep="\n  ",
        flush=True,
    )
    _write_runs()


def _last_read(folder: str) -> bytes:
    """The input that a process was reading at its end."""
    held = (BUILD / f"{folder}.reading").read_bytes()
    return held[8 : 8 + int(struct.unpack("<q", held[:8])[0])]


def _watched(process: subprocess.Popen[bytes], folder: str) -> int:
    """The exit code of a process, killed where it reads one input for long."""
    first, count, since = executions(folder), -1, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=2)
        if (now := executions(folder)) != count:
            count, since = now, time.monotonic()
        elif time.monotonic() - since > (HANG if count > first else START):
            process.kill()


def _write_runs() -> None:
    counts = {path.stem: executions(path.stem) for path in sorted(BUILD.glob("*.count"))}
    (BUILD / "runs.json").write_text(json.dumps({**counts, "all": sum(counts.values())}, indent=1))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="names of readers, archive, records, sidecar; none: all")
    parser.add_argument("--runs", type=int, default=45_000, help="inputs for each target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    BUILD.mkdir(parents=True, exist_ok=True)
    if given.inside:
        fuzz(given.targets[0], given.runs)
    from targets import TARGETS

    for name in given.targets or TARGETS:
        fuzz_in_processes(name, given.runs)


if __name__ == "__main__":
    main()
