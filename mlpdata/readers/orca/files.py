"""The files that one run of ORCA leaves in its folder: `job.out`, `job.property.json`, `job.engrad`, `job.hess`."""

from __future__ import annotations

OUT, PROPERTY, ENGRAD, HESS = range(4)
"""Precedence: the standard output has all frames; the others have more digits of some, or what it does not print."""
_SUFFIXES = (".property.json", ".engrad", ".hess", ".orca.out", ".out", ".log", ".spout")


def run_of(name: str, _head: bytes) -> str | None:
    """What the files of a run share: the name of the job. None where a name has none of the usual endings."""
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix) and name != suffix), None)
