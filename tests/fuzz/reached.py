"""Branches of each module of the readers that seeds and findings reach, and the small files worth keeping.

::

    python tests/fuzz/reached.py          # into benchmarks/fuzz.md: fixtures, tests' inputs and corpus under coverage
    python tests/fuzz/reached.py --keep   # also write the few files worth keeping into tests/data/fuzz/
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import coverage

sys.path.insert(0, str(Path(__file__).parent))
BUILD = Path("build/fuzz")
ROOT = Path(__file__).parents[2]
READERS = ROOT / "mlpdata" / "readers"
KEPT = ROOT / "tests" / "data" / "fuzz"
TABLE = ROOT / "benchmarks" / "fuzz.md"
MARK = "<!-- what follows is written by tests/fuzz/reached.py -->\n"
FINDING = "finding-"
"""Beginning of the names of inputs that a target once did not stand; they are kept for ever."""
MOST, LARGEST, ROOM = 40, 4096, 80_000
"""Files kept for a target, bytes of one where something as good is that small, and of all of them."""

Arcs = set[tuple[str, int, int]]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="write what is worth keeping into tests/data/fuzz")
    parser.add_argument("targets", nargs="*")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    whole = coverage.Coverage(branch=True, data_file=None, include=[f"{READERS}/*"])
    whole.start()
    from targets import TARGETS

    whole.stop()
    lines = coverage.CoverageData(no_disk=True)
    lines.update(whole.get_data())
    for name in given.targets or TARGETS:
        arcs = _arcs_of_target(name)
        if given.keep:
            keep(name, arcs)
        for found in arcs.values():
            lines.add_arcs(_by_file(found[1]))
        print(f"{name}: {len(arcs)} inputs", file=sys.stderr, flush=True)
    report = _report(lines)
    (BUILD / "reached.json").write_text(json.dumps(report, indent=1))
    if not given.targets:
        said = TABLE.read_text().partition(MARK)[0]
        TABLE.write_text(said + MARK + _tables(report))


def _arcs_of_target(name: str) -> dict[str, tuple[bytes, Arcs]]:
    """Every input of a target that is there, with the arcs it runs through."""
    import seeds
    from targets import TARGETS, refused

    target = TARGETS[name]
    contents = seeds.of_target(name, BUILD / "seeds")
    for path in sorted((BUILD / "corpus" / target.folder).glob("*")):
        contents.setdefault(path.name, path.read_bytes())
    cover = coverage.Coverage(branch=True, data_file=None, include=[f"{READERS}/*"])
    cover.start()
    for digest, content in contents.items():
        cover.switch_context(digest)
        with suppress(Exception):  # a finding is the business of the fuzzer
            refused(target, content)
    cover.stop()
    return {digest: (content, _arcs_in(cover.get_data(), digest)) for digest, content in contents.items()}


def _arcs_in(lines: coverage.CoverageData, context: str) -> Arcs:
    lines.set_query_context(context)
    return {(file, start, end) for file in lines.measured_files() for start, end in lines.arcs(file) or ()}


def _by_file(arcs: Iterable[tuple[str, int, int]]) -> dict[str, list[tuple[int, int]]]:
    files: dict[str, list[tuple[int, int]]] = {}
    for file, start, end in arcs:
        files.setdefault(file, []).append((start, end))
    return files


def _report(lines: coverage.CoverageData) -> dict[str, Any]:
    """Branches by module: reached, all, and those missing."""
    cover = coverage.Coverage(branch=True, data_file=None, include=[f"{READERS}/*"])
    cover.get_data().update(lines)
    path = BUILD / "coverage.json"
    cover.json_report(outfile=str(path))
    files = json.loads(path.read_text())["files"]
    return {
        _name(Path(file)): {
            "reached": found["summary"]["covered_branches"],
            "branches": found["summary"]["num_branches"],
            "missing": found["missing_branches"],
        }
        for file, found in files.items()
    }


def _name(path: Path) -> str:
    """`gaussian.log` of a module of the readers."""
    return ".".join(path.resolve().relative_to(READERS).with_suffix("").parts)


def _tables(report: dict[str, Any]) -> str:
    """Executions and branches by target, those of all modules that a reader uses; then branches by module."""
    import seeds
    from targets import TARGETS

    runs = json.loads((BUILD / "runs.json").read_text())
    rows = ["", "| target | executions | branches | reached | % |", "| --- | --- | --- | --- | --- |"]
    for name, target in TARGETS.items():
        names = [_name(path) for path in seeds.modules(name)] or ["archive"] * (name == "archive")
        rows.append(
            f"| {name} | {runs.get(target.folder, 0):,} |{_share([report[one] for one in names if one in report])}"
        )
    rows += [f"| all | {runs['all']:,} | | | |", "", "| module | branches | reached | % |", "| --- | --- | --- | --- |"]
    rows += [f"| {name} |{_share([one])}" for name, one in sorted(report.items()) if one["reached"]]
    return "\n".join(rows) + "\n"


def _share(modules: list[dict[str, Any]]) -> str:
    branches, reached = (sum(one[what] for one in modules) for what in ("branches", "reached"))
    return f" {branches} | {reached} | {100 * reached // branches} |" if branches else " | | |"


def keep(name: str, measured: dict[str, tuple[bytes, Arcs]]) -> None:
    """Write the few small inputs that together run through all arcs that the fixtures leave out."""
    import seeds
    from targets import TARGETS

    folder = KEPT / TARGETS[name].folder
    fixtures = set(seeds.fixtures(name))
    reached: Arcs = set().union(*(arcs for content, arcs in measured.values() if content in fixtures))
    rest = {digest: found for digest, found in measured.items() if found[0] not in fixtures}
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        if not old.name.startswith(FINDING):
            old.unlink()
    for found in (BUILD / "findings" / TARGETS[name].folder).glob("*.bin"):
        (folder / f"{FINDING}{found.stem[2:]}").write_bytes(found.read_bytes())
    for digest in _greedy(rest, reached):
        (folder / digest[:16]).write_bytes(rest[digest][0])


def _greedy(measured: dict[str, tuple[bytes, Arcs]], reached: Arcs) -> Iterator[str]:
    """Digests by what they add, small files first: more arcs for each byte past a floor of 500."""
    gains, room = {digest: arcs for digest, (_, arcs) in measured.items()}, ROOM
    for _ in range(MOST):
        gains = {digest: left for digest, arcs in gains.items() if (left := arcs - reached)}
        gains = {digest: arcs for digest, arcs in gains.items() if len(measured[digest][0]) <= room}
        if not gains:
            return
        best = max(gains, key=lambda digest: (len(gains[digest]) / (2000 + _weight(measured[digest][0])), digest))
        reached, room = reached | gains[best], room - len(measured[best][0])
        yield best


def _weight(content: bytes) -> int:
    return len(content) if len(content) <= LARGEST else 4 * len(content)


if __name__ == "__main__":
    main()
