"""Small runs of VASP on disk, as a campaign leaves them: each of its steps is told from all others by its positions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import outcar as o
import vasprun as v

from mlpdata.api import Store


def outcar(n: int = 3, *, first: int = 0, hour: int = 3, ended: bool = True, **header: str) -> str:
    """An OUTCAR of molecular dynamics.

    Args:
        n: steps.
        first: which step of the trajectory the first one is; every step is elsewhere.
        hour: at which it was started, which tells runs apart.
        ended: whether the last lines are there.
        header: tags of INCAR.
    """
    places = [[(x + 0.02 * step, y - 0.01 * step**2 / 16, z) for x, y, z in o.POSITIONS] for step in range(first, first + n)]
    steps = [o.step(number, table=o.forces(positions=place)) for number, place in enumerate(places, 1)]
    head = o.header(**header).replace("03:04:05\n running", f"{hour:02d}:04:05\n running")
    return o.outcar(*steps, head=head, end=o.END if ended else "")


def vasprun(n: int = 3, *, first: int = 0, hour: int = 3) -> str:
    """A vasprun.xml of molecular dynamics; cut it to have one of a run that goes on."""
    steps = (v.calculation(shift=0.003 * step) for step in range(first, first + n))
    return v.vasprun(*steps).replace("03:04:05", f"{hour:02d}:04:05")


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Files of a tree, folders made."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def rows(store: Path | str, columns: str, table: str = "calculations", order: str = "path") -> list[tuple[object, ...]]:
    """Columns of what the store shows."""
    answer = Store(store).snapshot().sql(f"SELECT {columns} FROM {table} ORDER BY {order}")
    return list(zip(*(column.to_pylist() for column in answer.columns), strict=True))
