"""ASE's trajectories: images of atoms with the results of their calculators, in a container of ASE's own.

The numbers are those that a calculator gave ASE; the file states neither units nor which code, functional or kind of
energy they are, so that units are declared (pitfall X3). Atomic numbers, periodicity, masses and constraints stand
with the first image and again with each one after something of them changed.

References:
    ase.io.trajectory of ASE 3.9 to 3.29, https://wiki.fysik.dtu.dk/ase/ase/io/trajectory.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

from mlpdata.digest import sha256, sha256_json
from mlpdata.errors import ParseError
from mlpdata.readers.archive import Input
from mlpdata.readers.ase.atoms import Image, as_numbers, blocks, decoded, image, zeroed
from mlpdata.readers.declared import Meaning
from mlpdata.readers.registry import Ending, Header, Printed, Reader, Undeclared
from mlpdata.readers.ulm import Group, Ulm, tag_of
from mlpdata.schema.calculation import LeftOut, RunKind

TAG = "ASE-Trajectory"
_HEADER = ("numbers", "pbc", "masses", "constraints")
"""What stands with the first image for those that follow."""

_RUN_KINDS: dict[str, RunKind] = {"optimization": "relax", "molecular-dynamics": "md"}


def read(source: Input) -> Iterator[Header | Printed | Undeclared | Ending]:
    """The images of a trajectory.

    Raises:
        ParseError: no image can be read.
    """
    container = Ulm(source.data)
    meaning = Meaning(source.declared)
    left_out: list[LeftOut] = []
    first = container.item(0) if len(container) else None
    if first is None:
        raise ParseError("expected images, found an empty trajectory. The run has not written anything.")
    found = blocks(_images(container, first, source.limits.atoms, left_out), meaning, left_out, "image")
    block = next(found, None)
    code = first.group("calculator").get("name")
    header = meaning.header(_identity(first), code if isinstance(code, str) and code else "unknown")
    yield header._replace(
        run_kind=_run_kind(first.get("description")),
        forces_are="zeroed_on_fixed" if block and zeroed(block) else "physical",
    )
    yield from chain([block] if block else [], found)
    if container.whole:
        yield meaning.ending("complete", "", tuple(left_out))
    else:
        yield meaning.ending("truncated", "the file ends before the last of its images", tuple(left_out))


def _images(container: Ulm, first: Group, limit: int, left_out: list[LeftOut]) -> Iterator[Image]:
    """The images that can be read; the others are added to `left_out`."""
    header = {name: first.get(name) for name in _HEADER}
    for index in range(len(container)):
        try:
            yield _image(index, container.item(index), header, limit)
        except ParseError as error:
            left_out.append(LeftOut(line=index + 1, reason=f"image {index + 1}: {error.message}"))


def _image(index: int, item: Group, header: Mapping[str, Any], limit: int) -> Image:
    """One image; what is not written with it is that of the first."""
    own = {name: item[name] for name in item if name not in ("calculator", "info")}
    calculator = item.group("calculator")
    info = item.get("info")
    results = {name: decoded(value) for name, value in info.items()} if isinstance(info, Mapping) else {}
    results |= {name: calculator[name] for name in calculator if name not in ("name", "parameters")}
    one = image(index + 1, own if "numbers" in own else {**header, **own}, results, limit)
    one.known["step"] = np.array(index)
    return one


def _run_kind(description: Any) -> RunKind:
    """What wrote the images, as ASE's optimisers and integrators say."""
    kind = description.get("type") if isinstance(description, Mapping) else None
    return _RUN_KINDS.get(str(kind), "unknown")


def _identity(first: Group) -> str:
    """What tells this run from others: where it began, and what its writer said of it. A run that goes on keeps it."""
    start = as_numbers(first.get("positions"))
    begins = None if start is None else sha256(start.tobytes())
    return sha256_json(
        {"start": begins, "description": str(first.get("description")), "ase": str(first.get("ase_version"))}
    )


def _is_trajectory(head: bytes) -> bool:
    """Whether a container of images begins with `head`."""
    return tag_of(head) == TAG


READER = Reader("ase/traj", 1, ("*.traj",), _is_trajectory, read)
