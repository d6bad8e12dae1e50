"""A simulated campaign: a store that followed a growing tree must show what one fresh ingest of the tree shows.

::

    python -m mlpdata.testing.campaign --seed 17 --steps 50

In each of the steps either something happens in the tree, or the store is brought up to date: by an exact sync, which
may be killed on the way and repeated, or run dry before. A campaign that ends in a difference is shortened to the
fewest steps that still end in one, and printed with the command that repeats it.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from random import Random

from mlpdata.api import Store
from mlpdata.errors import InputError, NotFound
from mlpdata.intake import sync
from mlpdata.outcome import IngestReport
from mlpdata.store.commit import Repository
from mlpdata.store.upkeep import collect_garbage, compact
from mlpdata.store.verify import verify
from mlpdata.testing.faults import kill_at
from mlpdata.testing.growing_tree import ACTIONS, FEW, WEIGHTS, GrowingTree

STEPS = 50
SYNCS = {"sync": 4.0, "killed sync": 2.5, "dry run": 0.7, "plain sync": 0.7, "sync by two": 0.01}
"""Ways in which a store is brought up to date, and how often in a hundred steps."""
UPKEEP = 0.2
"""Share of the syncs after which the store is compacted and its garbage removed."""
OPERATIONS = 90
"""A killed sync is killed before one of so many durable operations, where it has as many."""
MOST_TRIALS = 200
"""So many campaigns are carried out to shorten one."""
PER_ROW = 100
"""Campaigns of one row of a report."""
REPORT = """# Simulated campaigns

In each of 50 steps something happens to a tree of run folders of six codes (a run appears, grows, ends, is killed, is
continued, a folder moves, vanishes, is compressed, copied, linked, described by a sidecar), or the store is brought up to date,
sometimes killed on the way. Afterwards the store must show what one fresh ingest of the tree shows: the same content,
as many configurations; `verify` must find no fault, and a further sync nothing to do. Written by `make campaign`.

| seeds | campaigns | syncs | of them killed | configurations at the end | differences | date |
| --- | --- | --- | --- | --- | --- | --- |
"""
BESIDE = ("calculation_record", "first_row", "content")
"""Columns that say nothing of a calculation itself."""


@dataclass
class Verdict:
    """What a campaign came to."""

    seed: int
    kept: tuple[int, ...]
    """The steps that were carried out, counted from 0."""
    actions: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """Empty where the store shows what it should."""
    n_syncs: int = 0
    n_kills: int = 0
    n_configurations: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is no difference."""
        return not self.differences

    @property
    def kind(self) -> str:
        """What the first difference is, without what it is in; empty where there is none."""
        return self.differences[0].partition("\n")[0] if self.differences else ""

    def __str__(self) -> str:
        return "\n".join((
            *self.actions, *(f"DIFFERENCE {one}" for one in self.differences),
            f"python -m mlpdata.testing.campaign --seed {self.seed} --keep {' '.join(map(str, self.kept))}",
        ))  # fmt: skip


def campaign(seed: int, steps: int | Sequence[int] = STEPS, *, below: Path | None = None) -> Verdict:
    """Carry out one campaign in a temporary folder.

    Args:
        seed: of all that is drawn.
        steps: how many, or the numbers of those to carry out.
        below: where the folder is made.
    """
    kept = tuple(range(steps)) if isinstance(steps, int) else tuple(steps)
    with tempfile.TemporaryDirectory(prefix="campaign", dir=below) as folder:
        return _Campaign(Verdict(seed, kept), Path(folder)).carried_out()


class _Campaign:
    """A tree, the store that follows it, and what was found wrong."""

    def __init__(self, verdict: Verdict, folder: Path) -> None:
        self.verdict, self.folder = verdict, folder
        self.store = folder / "store"
        self.tree = GrowingTree(folder / "raw", hasty=verdict.seed % 4 == 0)
        weights = {name: WEIGHTS.get(name, 1.0) for name in ACTIONS}
        share = (100 - sum(SYNCS.values())) / sum(weights.values())
        self.weights = {**{name: share * weight for name, weight in weights.items()}, **SYNCS}

    def carried_out(self) -> Verdict:
        """What came of it; whatever is raised that no user should see is a difference."""
        try:
            for number in self.verdict.kept:
                self._step(number)
            self._judge()
        except Exception:  # noqa: BLE001  any of them is what this looks for
            self.verdict.differences.append(f"raised\n{traceback.format_exc(limit=-6)}")
        return self.verdict

    def _step(self, number: int) -> None:
        """Step `number` does the same whichever others are left out, as far as it finds the same tree."""
        random = Random(f"{self.verdict.seed} {number}")  # noqa: S311  no secrets
        (name,) = random.choices(list(self.weights), list(self.weights.values()))
        if name not in SYNCS and len(self.tree.places) < FEW:
            name = "appear"
        done = self._bring_up_to_date(name, random) if name in SYNCS else self.tree.act(name, random)
        if done:
            self.verdict.actions.append(f"{number:3d} {name}: {done}")

    def _bring_up_to_date(self, way: str, random: Random) -> str:
        self.verdict.n_syncs += 1
        before = self._shown(self.store)
        if way == "dry run":
            self._sync(dry_run=True)
            self._expect(self._shown(self.store) == before, "a dry run changed the store")
        if way == "killed sync":
            killed = kill_at(random.randint(1, OPERATIONS), self._sync)
            self.verdict.n_kills += killed
            between = self._shown(self.store)
        report = self._sync(exact=way != "plain sync", jobs=2 if way == "sync by two" else 1)
        after = self._shown(self.store)
        if report is not None and random.random() < UPKEEP:
            repository = Repository.open(self.store)
            compact(repository, repository.snapshot().record.segments)
            collect_garbage(repository, grace=0)
            self._expect(self._shown(self.store) == after, "a compaction changed what the store shows")
        if way == "killed sync":
            self._expect(between in (before, after), "a killed sync left neither the old snapshot nor the new")
        return "nothing there" if report is None else f"{report.n_configurations} configurations"

    def _judge(self) -> None:
        """Compare the store with one that reads the same tree for the first time."""
        fresh = self.folder / "fresh"
        last = self._sync()
        self._expect(verify(self.store).ok, "verify finds faults") if last else None
        again, first = self._sync(), self._sync(fresh)
        if last is None or again is None or first is None:
            self._expect((last, again, first) == (None, None, None), "one sync found outputs, another none")
            return
        self.verdict.n_configurations = first.n_configurations
        self._expect(again.snapshot == last.snapshot, "a second sync changed the store")
        self._expect(not again.entered, f"a second sync read again\n  {[one.path for one in again.entered]}")
        self._expect(last.n_configurations == first.n_configurations, "another number of configurations")
        if last.content != first.content:
            self.verdict.differences.append(f"another content than a fresh ingest\n{_compared(self.store, fresh)}")

    def _sync(
        self, store: Path | None = None, *, exact: bool = True, dry_run: bool = False, jobs: int = 1
    ) -> IngestReport | None:
        """One sync; None where the tree holds no output."""
        try:
            return sync(self.tree.root, store or self.store, exact=exact, dry_run=dry_run, jobs=jobs)
        except InputError:
            return None

    @staticmethod
    def _shown(store: Path) -> str | None:
        """Content of the current snapshot; None before the first."""
        try:
            return Store(store).snapshot().content
        except NotFound:
            return None

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.verdict.differences.append(otherwise)


def _compared(followed: Path, fresh: Path) -> str:
    """What the calculations of two stores differ in, by path."""
    ours, theirs = _calculations(followed), _calculations(fresh)
    lines = [f"  {path}: only in the store that followed" for path in sorted(ours.keys() - theirs.keys())]
    lines += [f"  {path}: only in the fresh store" for path in sorted(theirs.keys() - ours.keys())]
    for path in sorted(ours.keys() & theirs.keys()):
        one, other = ours[path], theirs[path]
        differing = [name for name in one if one[name] != other[name]]
        lines += [f"  {path}: {name} {one[name]}, in the fresh store {other[name]}" for name in differing]
    return "\n".join(lines) or "  in what no column shows"


def _calculations(store: Path) -> dict[str, dict[str, object]]:
    """What a store shows of each calculation, by path."""
    rows = Store(store).snapshot().sql(f"SELECT * EXCLUDE ({', '.join(BESIDE)}) FROM calculations").to_pylist()  # noqa: S608  our names
    return {row["path"]: json.loads(row.pop("json")) | row for row in rows}


def shortened(verdict: Verdict, differs: Callable[[Sequence[int]], Verdict]) -> Verdict:
    """The campaign with the fewest steps that still ends in the same difference, as far as leaving out parts finds it.

    Args:
        verdict: of a campaign that ended in one.
        differs: carries out the campaign with some of its steps.
    """
    size, trials = max(1, len(verdict.kept) // 2), 0
    while trials < MOST_TRIALS:
        before = verdict
        for start in range(0, len(verdict.kept), size):
            kept = tuple(one for one in verdict.kept if one not in before.kept[start : start + size])
            trials += 1
            if len(kept) < len(verdict.kept) and (found := differs(kept)).kind == verdict.kind:
                verdict = found
        if verdict is before and size == 1:
            break
        size = max(1, size // 2) if verdict is before else size
    return verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out campaigns; the exit code says whether all were well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--campaigns", type=int, default=1, help="so many, from this seed on")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--keep", type=int, nargs="*", help="numbers of the steps to carry out")
    parser.add_argument("--report", type=Path, help="table to add to, which says how far earlier calls came")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    done = _reported(options.report)
    failed = 0
    for first in range(options.seed + done, options.seed + options.campaigns, PER_ROW):
        seeds = range(first, min(first + PER_ROW, options.seed + options.campaigns))
        verdicts = [_said(seed, options) for seed in seeds]
        failed += sum(not one.ok for one in verdicts)
        if options.report:
            _report(options.report, verdicts)
    sys.stdout.write(f"{options.campaigns - done} campaigns, {failed} with a difference\n")
    return int(failed > 0)


def _said(seed: int, options: argparse.Namespace) -> Verdict:
    """One campaign; what it came to is said where it is the only one, or shortened where it ends in a difference."""
    one = partial(campaign, seed)
    verdict = one(options.steps if options.keep is None else options.keep)
    if not verdict.ok and options.keep is None:
        verdict = shortened(verdict, one)
    if not verdict.ok or options.campaigns == 1:
        sys.stdout.write(f"{verdict}\n")
        sys.stdout.flush()
    return verdict


def _reported(report: Path | None) -> int:
    """How many campaigns a table holds."""
    rows = (
        re.findall(r"^\| \d+ to \d+ \| (\d+) \|", report.read_text(), re.MULTILINE)
        if report and report.exists()
        else []
    )
    return sum(map(int, rows))


def _report(report: Path, verdicts: Sequence[Verdict]) -> None:
    """Add a row to a table; campaigns that ended in a difference are named by their seeds."""
    if not report.exists():
        report.write_text(REPORT)
    sums = (sum(getattr(one, name) for one in verdicts) for name in ("n_syncs", "n_kills", "n_configurations"))
    failed = [str(one.seed) for one in verdicts if not one.ok]
    differences = f"{len(failed)}" + (f" (seeds {', '.join(failed)})" if failed else "")
    cells = (f"{verdicts[0].seed} to {verdicts[-1].seed}", len(verdicts), *sums, differences, date.today())
    with report.open("a") as table:
        table.write(f"| {' | '.join(map(str, cells))} |\n")


if __name__ == "__main__":
    sys.exit(main())
