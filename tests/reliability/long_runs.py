"""The tests of this folder in large numbers, into benchmarks/reliability.md.

::

    python tests/reliability/long_runs.py --seconds 600 --rows "kill -9" damage

Trials are numbered and each is drawn from its number. A row goes on after the last trial that its report counts, unless the
library has changed since; so a run can be stopped at any time.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from datetime import date
from pathlib import Path
from random import Random
from typing import NamedTuple

from crowd import Crowd
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from power import cut_on_ext4, is_noticed, is_noticed_on_ext4, record_of, records_of_retries, violations
from rot import Damaged, everything, many
from store_commits import COMMITS, Ground
from store_machine import StoreMachine
from trials import FAULTS, after_fault, after_kills, small_disk

from mlpdata.testing.disks import EXT4_OPTIONS, why_no_mounts
from mlpdata.testing.faults import recorded

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "benchmarks" / "reliability.md"
HEAD = """# What a store survives

Five kinds of commits (a first ingest, an ingest, one that amends, a retraction with a restoration, a tag) are killed, starved
and cut off. Afterwards the store must show the old version or the new one, `verify` must find no fault, what was
acknowledged must be there, and the same commit done again must come to its end. Damaged bytes must be reported by `verify`
and never be read as other numbers. Written by `make reliability`, which goes on where it was stopped; a violation is
anything else than that.

| test | how many | goal | violations | seconds | date | commit |
| --- | --- | --- | --- | --- | --- | --- |
"""
ALL = "all"
"""Goal of a row whose trials came to their end."""
_ROW = re.compile(r"\| (.+?) \| ([\d,]+) \| (.+?) \| ([\d,]+) \| ([\d,]+) \| (\S+) \| (\S+) \|")
SAVE_EVERY = 20.0
"""Seconds between two writings of the report."""
FEW = 5
"""Histories from one seed."""

Faults = list[str]
Trials = Callable[[Path, int], Generator[Faults]]
"""All trials from the given number on, in a folder: what was wrong in each."""


class Row(NamedTuple):
    """One line of the report."""

    name: str
    goal: int | None
    """None where the trials come to an end."""
    trials: Trials


class Count(NamedTuple):
    """How far a row has come."""

    done: int = 0
    violations: int = 0
    seconds: float = 0.0
    date: str = ""
    commit: str = ""
    goal: str = ""


def grounds(folder: Path) -> list[tuple[Ground, int]]:
    """All commits, with the number of their durable operations."""
    found = []
    for number, commit in enumerate(COMMITS):
        ground = Ground(commit, folder / str(number))
        ground.renew()
        found.append((ground, len(recorded(ground.act))))
        ground.renew()
    return found


def kills(folder: Path, first: int) -> Generator[Faults]:
    """One to three kills in a row, half of them before a durable operation, half at any time."""
    places = grounds(folder)
    for number in itertools.count(first):
        random = Random(number)
        ground, most = random.choice(places)
        yield after_kills(
            ground,
            *(
                random.randint(1, most) if random.random() < 0.5 else random.random() * 0.05
                for _ in range(random.choice((1, 1, 2, 3)))
            ),
        )


def disk_errors(folder: Path, first: int) -> Generator[Faults]:
    """Every operation of every commit with every fault; what comes after the last operation is no fault."""
    every = [(ground, fault, nth) for ground, most in grounds(folder) for fault in FAULTS for nth in range(1, most + 1)]
    for ground, fault, nth in every[first:]:
        yield after_fault(ground, fault, nth)


def full_disks(folder: Path, first: int) -> Generator[Faults]:
    """Room for some of the bytes, or of the files, that an ingest needs."""
    with small_disk(Ground(COMMITS[2], folder)) as disk:
        n_bytes, n_files = disk.needed
        for number in itertools.count(first):
            random = Random(number)
            if random.random() < 0.8:
                yield disk.faults(random.randrange(n_bytes + 8192))
            else:
                yield disk.faults(n_bytes, random.randrange(1, n_files + 2))


def worked_out_cuts(folder: Path, first: int) -> Generator[Faults]:
    """Every moment of every commit, and the end of every retry after a kill, in every state."""
    for number, commit in enumerate(COMMITS):
        ground = Ground(commit, folder / str(number))
        record = record_of(ground)
        for moment in range(record.end + 1):
            if first <= 0:
                yield list(violations(ground, record, [moment]))
            first -= 1
        for _, again in records_of_retries(ground, record):
            if first <= 0:
                yield list(violations(ground, again, [again.end]))
            first -= 1


def cuts_on_ext4(folder: Path, first: int) -> Generator[Faults]:
    """Every operation of every commit, with the ways of ext4 in turn; a run stands for all of its cuts."""
    for number, (options, commit) in enumerate(itertools.cycle(itertools.product(EXT4_OPTIONS, COMMITS))):
        nth = list(range(1, 200)) if first <= 0 else []
        cuts = list(cut_on_ext4(commit, folder / str(number), options, nth))
        yield from ([f"{options}, {commit}, {cut}: {one}" for one in faults] for cut, faults in cuts if first <= 0)
        first -= cuts[-1][0]


def left_out_syncs(folder: Path, first: int) -> Generator[Faults]:
    """Each sync that is left out is noticed in a state that is worked out; see the quick test for the six that repeat."""
    for number, commit in enumerate(COMMITS[1:]):
        ground = Ground(commit, folder / str(number))
        record = record_of(ground)
        for sync in record.syncs:
            if first <= 0:
                noticed = is_noticed(ground, record, {sync})
                yield [] if noticed else [f"{commit}: the sync of {record.moments[sync].path} is missed by nobody"]
            first -= 1


def left_out_syncs_on_ext4(folder: Path, first: int) -> Generator[Faults]:
    """Each sync of a file, and the last one: the journal of ext4 carries other names along with any later sync."""
    options = "data=writeback,noauto_da_alloc"
    for number, commit in enumerate(COMMITS[1:]):
        ground = Ground(commit, folder / f"count{number}")
        ground.renew()
        operations = recorded(ground.act)
        syncs = [nth for nth, one in enumerate(operations, 1) if one.name == "fsync"]
        for nth in [nth for nth in syncs if "." in operations[nth - 1].path.name or nth == syncs[-1]]:
            if first <= 0:
                noticed = is_noticed_on_ext4(commit, folder / f"{number}-{nth}", options, nth)
                yield [] if noticed else [f"{commit}: the sync of {operations[nth - 1].path} is missed by nobody"]
            first -= 1


def damages(folder: Path, first: int) -> Generator[Faults]:
    """Bits of a small store, then one in fifty of a larger one; and every file lost, cut, longer, another."""
    small, large = Damaged(everything, folder / "small", first), Damaged(many, folder / "large", first)
    if first == 0:
        lost = f"missing {small.store / 'refs' / 'paper'}"  # nothing tells it from a tag that was never there
        yield from (
            [] if str(damage).startswith(lost) else small.faults(damage, all_reads=True) for damage in small.losses()
        )
    bits, others = small.flips(1 << 30), large.flips(1 << 30)
    for number in itertools.count(1):
        yield large.faults(next(others)) if number % 50 == 0 else small.faults(next(bits))


def crowds(folder: Path, first: int, n_writers: int = 8, n_ingests: int = 25) -> Generator[Faults]:
    """One round of many processes is as many trials as it has ingests."""
    for number in itertools.count(first):
        outcome = Crowd(folder / str(number) / "store", n_writers, n_ingests).outcome()
        missing = n_writers * n_ingests - outcome.n_present
        faults = outcome.faults + ([f"{missing} ingests are missing"] if missing else [])
        yield faults
        yield from ([] for _ in range(n_writers * n_ingests - 1))


def histories(_: Path, first: int) -> Generator[Faults]:
    """Histories of 500 steps, drawn a few at a time, each few from a seed."""
    for number in itertools.count(first // FEW):
        rules = settings(
            max_examples=FEW + 1,  # the first one that is drawn is always the shortest there is
            stateful_step_count=500,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        faults = []
        try:
            run_state_machine_as_test(seed(number)(type("Numbered", (StoreMachine,), {})), settings=rules)
        except Exception as error:  # noqa: BLE001  whatever it is, it is what this looks for
            faults = [f"seed {number}: {error}"]
        yield faults
        yield from ([] for _ in range(FEW - 1))


ROWS = (
    Row("kill -9, up to three times in a row, at a durable operation or any time", 20_000, kills),
    Row("ENOSPC, EIO, EDQUOT, EROFS, EMFILE, a write cut short, at each operation", None, disk_errors),
    Row("disk really full: tmpfs with room for some bytes or files", 1_500, full_disks),
    Row("power cut at each operation, in states worked out, also after a kill and a retry", None, worked_out_cuts),
    Row("a sync left out is not noticed, in states worked out", None, left_out_syncs),
    Row("power cut at each operation on ext4 (ordered, writeback, journal; no auto_da_alloc)", 3_000, cuts_on_ext4),
    Row("a sync of a file, or the last sync, left out on ext4 is not noticed", None, left_out_syncs_on_ext4),
    Row("damage: flipped bits; files missing, cut, longer, swapped", 100_000, damages),
    Row("ingests of 8 writers at once, 25 each, beside 2 readers", 40_000, crowds),
    Row("histories of 500 steps against a model", 2_000, histories),
)


def carried_on(row: Row, count: Count, budget: float, save: Callable[[Count], None]) -> Count:
    """Carry a row on until its goal or the end of the time."""
    begun, said, before = time.monotonic(), time.monotonic(), count
    with tempfile.TemporaryDirectory() as folder, closing(row.trials(Path(folder), count.done)) as trials:
        for faults in trials:
            for fault in faults:
                sys.stderr.write(f"VIOLATION {row.name}, trial {count.done}: {fault}\n")
            now = time.monotonic()
            seconds = before.seconds + now - begun
            count = count._replace(done=count.done + 1, violations=count.violations + bool(faults), seconds=seconds)
            if now - said > SAVE_EVERY:
                save(count)
                said = now
            if now - begun > budget or count.done == row.goal:
                break
        else:
            count = count._replace(goal=ALL)
    save(count)
    return count


def read_report(path: Path) -> dict[str, Count]:
    """The rows of a report by name."""
    text = path.read_text() if path.exists() else ""
    return {
        name: Count(_number(done), _number(violations), _number(seconds), day, commit, goal)
        for name, done, goal, violations, seconds, day, commit in _ROW.findall(text)
    }


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def write_report(path: Path, rows: dict[str, Count]) -> None:
    """Write all rows, those of `ROWS` in their order."""
    lines = [
        f"| {row.name} | {count.done:,} | {count.goal} | {count.violations:,} | {count.seconds:,.0f} | {count.date} "
        f"| {count.commit} |\n"
        for row in ROWS
        if row.name in rows
        for count in [rows[row.name]]
    ]
    path.write_text(HEAD + "".join(lines))


def library_commit() -> str:
    """The last commit that changed the library."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%h", "--", "mlpdata"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Run the rows; 1 where there was a violation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1e9, help="time for each row")
    parser.add_argument("--rows", nargs="*", default=[""], help="beginnings of their names; all by default")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    rows, commit, n_violations = read_report(options.report), library_commit(), 0
    for row in ROWS:
        if not any(row.name.startswith(name) for name in options.rows):
            continue
        if why_no_mounts() and row.trials in {full_disks, cuts_on_ext4, left_out_syncs_on_ext4}:
            sys.stdout.write(f"{row.name}: left out, {why_no_mounts()}\n")
            continue
        count = rows.get(row.name, Count())
        count = count if count.commit == commit else Count()
        count = count._replace(date=date.today().isoformat(), commit=commit)
        if count.goal == ALL or count.done == row.goal:
            continue
        count = count._replace(goal="not all" if row.goal is None else f"{row.goal:,}")

        def save(count: Count, row: Row = row) -> None:
            rows[row.name] = count
            write_report(options.report, rows)

        count = carried_on(row, count, options.seconds, save)
        sys.stdout.write(f"{row.name}: {count.done:,} of {count.goal}, {count.violations} violations\n")
        n_violations += count.violations
    return 1 if n_violations else 0


if __name__ == "__main__":
    sys.exit(main())
