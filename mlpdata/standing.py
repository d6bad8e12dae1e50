"""Standing: how a tree of outputs compares with a store, without reading what was read before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mlpdata.discover import Output, Progress, find_outputs
from mlpdata.errors import InputError
from mlpdata.intake import cache_of, folder_of_outputs
from mlpdata.known import Key, Known
from mlpdata.outcome import Refused, refusal, withheld
from mlpdata.readers.place import Member
from mlpdata.readers.registry import Header, open_run
from mlpdata.said.sayings import Sayings
from mlpdata.scan import Cache, cache_at
from mlpdata.schema.sidecar import Sidecar
from mlpdata.store.commit import Repository
from mlpdata.store.keeper import keeper, opened
from mlpdata.taking import STAYS
from mlpdata.tree import PassedOver

State = Literal["new", "grown", "said", "changed", "unfinished", "failed", "done", "copy", "retracted"]
MEANINGS: dict[State, str] = {
    "new": "not in the store",
    "grown": "in the store with fewer steps or files",
    "said": "in the store; kind, license or the like are said anew",
    "changed": "another run than the one that the store has under this name",
    "unfinished": "in the store as far as it is; the code's own end mark is missing",
    "failed": "in the store as far as it went, or not readable",
    "done": "in the store, complete",
    "copy": "the same bytes as another file",
    "retracted": "hidden by hand; `mlpdata retract --undo` shows it again",
}
"""What `sync` takes comes first."""
NOT_RUNS = ("missing", "ignored")
"""What is listed besides runs."""


class Standing(NamedTuple):
    """One output and how it stands."""

    name: str
    """Root-relative."""
    state: State
    reason: str = ""


@dataclass
class TreeStatus:
    """How a tree compares with a store."""

    runs: list[Standing] = field(default_factory=list)
    """In order of name."""
    missing: list[str] = field(default_factory=list)
    """Calculations of the store whose files are not in the tree, under no name."""
    passed_over: list[PassedOver] = field(default_factory=list)
    """What is not looked into, and why."""
    not_outputs: int = 0
    """Files that no reader knows."""
    conflicts: list[str] = field(default_factory=list)
    """What is said of a run in two ways."""
    notes: list[str] = field(default_factory=list)
    """What is said and met nothing."""
    refused: list[Refused] = field(default_factory=list)
    """Files that cannot be read."""

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are in each state, and how many files were ignored."""
        counted = Counter(one.state for one in self.runs)
        return {**{state: counted[state] for state in MEANINGS}, "ignored": len(self.passed_over)}

    def named(self, state: str) -> list[str]:
        """The names of those in a state, or `missing`, or `ignored`."""
        if state == "ignored":
            return [one.name for one in self.passed_over]
        return self.missing if state == "missing" else [one.name for one in self.runs if one.state == state]

    def as_json(self) -> dict[str, Any]:
        """The status as JSON values."""
        return {
            "counts": self.counts,
            "runs": [one._asdict() for one in self.runs],
            "missing": self.missing,
            "ignored": [one._asdict() for one in self.passed_over],
            "not_outputs": self.not_outputs,
            "conflicts": self.conflicts,
            "notes": self.notes,
            "refused": [asdict(one) for one in self.refused],
        }


def status(
    root: str | Path,
    store: str | Path = "store",
    *,
    from_path: Sequence[str] = (),
    maps: Sequence[Path] = (),
    default: Sidecar | None = None,
    follow_links: bool = False,
    progress: Progress | None = None,
) -> TreeStatus:
    """Compare a tree of outputs with a store. New files are looked at, not read: `sync` does that.

    Args:
        root: folder of outputs.
        store: folder of the store; there need not be one.
        from_path: templates of paths, as `sync` takes them.
        maps: CSV files, as `sync` takes them.
        default: what holds where nothing else speaks.
        follow_links: whether links to folders are followed.
        progress: called while the tree is searched.

    Raises:
        UsageError: no such folder, or what is said in it cannot be understood.
    """
    tree = folder_of_outputs(root)
    store = opened(store)
    repository = Repository.open(store) if keeper(store).exists(store) else None
    sayings = Sayings(None, default, templates=from_path, maps=maps)
    with cache_at(cache_of(store)) as cache:
        found = find_outputs([tree], tree, sayings, cache=cache, follow_links=follow_links, progress=progress)
        known = Known(repository)
        report = TreeStatus(
            passed_over=found.passed_over,
            not_outputs=found.not_outputs,
            conflicts=found.conflicts,
            notes=found.notes,
        )
        there: set[str] = set()
        for output in found.outputs:
            there.update(word for file in output.files for word in (file.name, file.sha256))
            report.runs.append(_standing(known.with_earlier_attributes(output), known, cache, report.refused))
    report.missing = sorted(
        one.path
        for one in known.visible.values()
        if there.isdisjoint(word for source in one.sources for word in (source.path, source.sha256))
    )
    return report


def refused_below(root: Path, store: Path) -> list[Refused]:
    """The outputs of a tree that could not be read when they were tried, and those that cannot even be opened."""
    with cache_at(cache_of(store)) as cache:
        found = find_outputs([root], root, Sayings(), cache=cache)
        lost = (
            refusal(output.name, output.error) if output.error else cache.refusal(output.name, output.key)
            for output in found.outputs
        )
        return [one for one in lost if one is not None]


def _standing(output: Output, known: Known, cache: Cache, refused: list[Refused]) -> Standing:
    """How one output stands."""
    if output.error is None and known.is_copy(output):
        return Standing(output.name, "copy")
    if output.error is None and (retraction := known.withheld_file(output)) is not None:
        return Standing(output.name, "retracted", withheld(output.name, retraction).reason)
    if output.error is None and known.shows(output):
        return _of_stored(output, known)
    lost = refusal(output.name, output.error) if output.error is not None else cache.refusal(output.name, output.key)
    if lost is not None:
        refused.append(lost)
        return Standing(output.name, "failed", lost.reason)
    return _to_be_read(output, known, cache)


def _to_be_read(output: Output, known: Known, cache: Cache) -> Standing:
    """How an output stands that the store does not show as it is."""
    if stored := known.of_files(output):
        before = {digest for key in stored for digest in known.visible[key].outputs}
        if before.issuperset(file.sha256 for file in output.files):
            return Standing(output.name, "said", "what is said of it, its companions or its reader changed")
        return Standing(output.name, "grown", "one of its files was read before, another was not")
    earlier = known.earlier(output)
    return _with_other_bytes(output, known, cache, earlier) if earlier else Standing(output.name, "new")


def _with_other_bytes(output: Output, known: Known, cache: Cache, earlier: Sequence[Key]) -> Standing:
    """How an output stands under whose name other bytes were read before."""
    if changed := cache.refusal(output.name, known.changed_key(output, earlier)):
        return Standing(output.name, "changed", changed.reason)
    if isinstance(output.path, Member):
        return Standing(output.name, "grown", "its bytes changed; sync looks into the archive")
    if known.holds_none_of(earlier) or known.has_grown(output, earlier) or _same_header(output, known, earlier):
        return Standing(output.name, "grown")
    return Standing(output.name, "changed", STAYS)


def _of_stored(output: Output, known: Known) -> Standing:
    """How an output stands whose calculations the store shows: the worst of them counts."""
    readings = [known.visible[key] for key in known.of_files(output)]
    for one in readings:
        if one.status == "failed":
            return Standing(output.name, "failed", one.status_reason)
    for one in readings:
        if one.status == "truncated":
            return Standing(output.name, "unfinished", one.status_reason)
    return Standing(output.name, "done")


def _same_header(output: Output, known: Known, earlier: Sequence[Key]) -> bool:
    """Whether a file whose bytes are others begins with the header of the run that was read before."""
    before = {known.visible[key].identity for key in earlier}
    try:
        with open_run(output.path, declared=output.sidecar.of_numbers) as opened:
            header = next((item for item in opened.items() if isinstance(item, Header)), None)
    except InputError:
        return False
    return header is not None and header.identity in before
