"""All figures of the store, peers in the same run, into benchmarks/store.md.

python -m store [--figures shuffled sql opening cold large] [--large build/store-1e6 build/store-1e7]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from store import asking, cold, large, large_batches, opening, shuffled
from store.peers import MEMMAP, OTHERS, OURS

ROOT = Path(__file__).parents[2]
SIZES = {"store-1e6": 1_000_000, "store-1e7": 10_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=100_000, help="of the figures with all peers")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/bench-store", help="scratch, removed at the end")
    parser.add_argument("--large", type=Path, nargs="*", default=[ROOT / "build" / name for name in SIZES],
                        help="folders of the stores of 10^6 and 10^7; made where they are not there")  # fmt: skip
    parser.add_argument("--figures", nargs="+", default=["shuffled", "large", "sql", "opening", "cold", "loader"])
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch, for the loader")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/store.md")
    options = parser.parse_args()
    sections = []
    for section in _sections(options):
        print(section, end="\n\n", flush=True)
        sections.append(section)
        options.out.write_text("\n\n".join([_head(), *sections]) + "\n")
    shutil.rmtree(options.folder, ignore_errors=True)


def _sections(options: argparse.Namespace) -> Iterator[str]:
    if "shuffled" in options.figures:
        yield from shuffled.figures(options.folder / "shuffled", options.configurations)
    if "loader" in options.figures:
        yield _loader(options.torch)
    of_large: dict[str, Callable[[Path], str]] = {
        "sql": lambda store: asking.figures(store, options.folder / "sql"),
        "opening": opening.figures,
        "large": lambda store: large_batches.figures(store, options.folder / "large"),
        "cold": cold.figures,
    }
    for folder in options.large:
        store = large.store(folder, SIZES.get(folder.name, 1_000_000))
        for name, figures in of_large.items():
            if name in options.figures:
                yield figures(store)


def _loader(python: str) -> str:
    """What the benchmark of the loader says."""
    command = [python, str(ROOT / "benchmarks/loader.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "## Through the loader to torch\n\n" + "\n".join(f"- {line}" for line in said.splitlines())


def _head() -> str:
    versions = sorted({peer.versions for peer in (*OURS, *OTHERS, MEMMAP)})
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return (
        "# The store and its peers\n\nWritten by `make bench-store` "
        f"on {date}, {os.cpu_count()} cores ({platform.machine()}, {platform.system()}), Python "
        f"{platform.python_version()}; {', '.join(versions)}."
    )


if __name__ == "__main__":
    main()
