"""Every file of the corpus by this package and by ASE, pymatgen, dpdata and cclib: who reads what, and what differs.

    make differential           # installs the libraries in an environment of their own, writes benchmarks/differential.md

A frame of a library counts as `same` where one of our frames has its energy and its forces on its positions, and as
`turned` where that holds after a rotation of both. `pair` means that the energy is there, but with other forces or with
forces in another orientation than the positions: one of the two gives a geometry the labels of another.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from mlpdata.errors import MlpdataError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.registry import open_run

HERE = Path(__file__).parent
ENERGY = (5e-5, 3e-7)
"""Absolute [eV] and relative: other sets of constants."""
FORCE = (2e-3, 1e-3)
"""Absolute [eV/angstrom] and relative: printed digits."""
OUTCOMES = ("same", "turned", "other energy", "pair", "not ours")
MEANING = {
    "same": "our frame with this energy has these forces on these positions",
    "turned": "the same in other axes, positions and forces alike",
    "other energy": "the energy is our sigma->0, no-entropy energy or none that goes with the forces",
    "pair": "our frame with this energy has other forces, or forces that point elsewhere as seen from the atoms",
    "not ours": "we have no frame with such an energy (most often the SCF energy of a correlated or excited calculation)",
}


def ours(path: Path) -> Frames | str:
    """All our frames of a file, or why there is none."""
    blocks = []
    try:
        with open_run(path) as opened:
            blocks = [item for item in opened.items() if isinstance(item, Frames)]
    except MlpdataError as error:
        return str(error)
    return concatenate(blocks) if blocks else "no frame"


def verdict(frame: dict[str, Any], frames: Frames) -> str:
    """How a frame of a library compares with ours."""
    energy = frame["energy"]
    if energy is None:
        return ""
    near = np.flatnonzero(_close(frames.energy, energy, ENERGY))
    if not len(near):
        others = (frames.get("energy_sigma0"), frames.get("energy_no_entropy"))
        return "other energy" if any(_close(other, energy, ENERGY).any() for other in others) else "not ours"
    if frame["forces"] is None:
        return "same"
    found = {_compared(frame, frames, int(row)) for row in near}
    return next(outcome for outcome in ("same", "turned", "pair") if outcome in found)


def _compared(frame: dict[str, Any], frames: Frames, row: int) -> str:
    """Whether forces agree, by component or in other axes, and stand on the same positions."""
    atoms = slice(int(frames.atom_start[row]), int(frames.atom_start[row + 1]))
    mine, theirs = frames.forces[atoms], np.array(frame["forces"], float)
    if np.isnan(mine).any() or mine.shape != theirs.shape:
        return "pair"
    if np.allclose(mine, theirs, rtol=FORCE[1], atol=FORCE[0]):
        places = (frames.positions[atoms], np.array(frame["positions"], float))
        turned = not frames.pbc[row].any() and not _same_view(mine, theirs, *places)
        return "pair" if turned else "same"
    lengths = [np.sort(np.linalg.norm(forces, axis=1)) for forces in (mine, theirs)]
    if not np.allclose(*lengths, rtol=FORCE[1], atol=FORCE[0]):
        return "pair"
    if frames.pbc[row].any():
        return "turned"
    places = (frames.positions[atoms], np.array(frame["positions"], float))
    return "turned" if _same_view(mine, theirs, *places) else "pair"


def _same_view(mine: np.ndarray, theirs: np.ndarray, here: np.ndarray, there: np.ndarray) -> bool:
    """Whether forces point the same way as seen from the atoms: products of arms and forces do not change by turning."""
    if here.shape != there.shape:
        return False
    products = [(places - places.mean(axis=0)) @ forces.T for places, forces in ((here, mine), (there, theirs))]
    return bool(np.allclose(*products, rtol=1e-2, atol=2e-2))


def _close(values: np.ndarray, wanted: float, tolerance: tuple[float, float]) -> np.ndarray:
    return np.abs(values - wanted) <= tolerance[0] + tolerance[1] * abs(wanted)


def files(corpus: Path) -> list[tuple[str, Path]]:
    expected = json.loads((corpus / "EXPECTED.json").read_text())
    return [(one["format"], corpus / name) for name, one in sorted(expected.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("python", help="the interpreter of the environment with the other libraries")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/differential.md"))
    options = parser.parse_args()
    listing = options.out.with_suffix(".list")
    listing.write_text("".join(f"{form}\t{path.resolve()}\n" for form, path in files(options.corpus)))
    done = subprocess.run([options.python, HERE / "peers.py", listing], capture_output=True, text=True, check=True)
    listing.unlink()
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    options.out.write_text(report(lines[0]["versions"], lines[1:], options.corpus.resolve()))
    sys.stdout.write(options.out.read_text())


def report(versions: dict[str, str], readings: list[dict[str, Any]], corpus: Path) -> str:
    """Two tables: by format and library, and the files that differ."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    differing: list[str] = []
    known: dict[str, Frames | str] = {}
    for one in readings:
        path = one["path"]
        if path not in known:
            known[path] = ours(Path(path))
        mine = known[path]
        tally = counts[one["format"], one["library"]]
        tally["files"] += 1
        if "error" in one:
            tally["theirs crash"] += 1
            tally["of these read by us"] += isinstance(mine, Frames)
            continue
        if isinstance(mine, str):
            tally["ours refuse"] += any(frame["energy"] is not None for frame in one["frames"])
            if any(frame["energy"] is not None for frame in one["frames"]):
                differing.append(f"| {Path(path).relative_to(corpus)} | {one['library']} | refused: {mine[:120]} |")
            continue
        found = Counter(verdict(frame, mine) for frame in one["frames"])
        tally.update({name: found[name] for name in OUTCOMES})
        tally["frames ours"] += int((~np.isnan(mine.energy)).sum())
        if rest := {name: found[name] for name in OUTCOMES[1:] if found[name]}:
            said = ", ".join(f"{n} {name}" for name, n in rest.items())
            differing.append(
                f"| {Path(path).relative_to(corpus)} | {one['library']} | {said} of {len(one['frames'])} |"
            )
    return _markdown(versions, counts, differing)


def _markdown(versions: dict[str, str], counts: dict[tuple[str, str], Counter[str]], differing: list[str]) -> str:
    columns = ("files", "theirs crash", "of these read by us", "ours refuse", "frames ours", *OUTCOMES)
    head = ", ".join(f"{name} {number}" for name, number in versions.items())
    rows = [
        f"| {form} | {library} | " + " | ".join(str(tally[name]) for name in columns) + " |"
        for (form, library), tally in sorted(counts.items())
    ]
    return "\n".join(
        [
            "# Readings of the corpus beside other libraries",
            "",
            f"By `make differential`, with {head}. Frames with an energy are compared.",
            "",
            *(f"- {name}: {meaning}" for name, meaning in MEANING.items()),
            "",
            "| format | library | " + " | ".join(columns) + " |",
            "|" + " --- |" * (len(columns) + 2),
            *rows,
            "",
            "## Files that differ",
            "",
            "| file | library | frames of the library |",
            "| --- | --- | --- |",
            *differing,
            "",
        ]
    )


if __name__ == "__main__":
    main()
