"""Diagnosis: why one run was lost, from its record and from what lies beside its output.

The record says how the run ended; the logs say why. What they say is weighed by `causes.SIGNS`: a run that was out of
memory was also killed, and it is the memory that whoever resubmits it must know of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mlpdata.causes import SIGNS, Cause, one_line, strongest
from mlpdata.outcome import Refused
from mlpdata.run_folder import RunFolder, Text
from mlpdata.schema.calculation import Calculation

RELAXATIONS = ("relax", "vc-relax")
"""Kinds of run that have a step limit and are not done where they reach it."""
CONVERGED = b"reached required accuracy"
"""What VASP says of a relaxation that is done."""
NO_END_MARK = "no end mark"
"""What readers say of formats in which nothing tells whether the run ended."""
SCF_GATE = "self-consistency loop"
"""What the gate says that leaves out configurations whose electronic steps did not converge."""
NOT_TEXT = (".xml", ".h5", ".gpw", ".chk", ".fchk", ".xyz", ".extxyz", ".traj", ".db", ".json", ".hess", ".engrad")
"""Ends of names of the runs' own files in which no code says why it ended."""
CORRECTED: dict[str, Cause] = {
    "WalltimeHandler": "walltime",
    "NonConvergingErrorHandler": "scf",
    "out_of_memory": "memory",
}
"""By custodian's handler or the error that it names; the others are errors of the code."""
RANK_OF_CORRECTIONS = next(rank for rank, sign in enumerate(SIGNS) if sign.words == b"egmentation fault")
"""An error that custodian corrected says less than the code's own last words, and more than a signal."""
_NSW = re.compile(rb"""(?m)(?:name="NSW">|(?:^|;)[ \t]{0,20}NSW[ \t]{0,20}=)[ \t]{0,20}(\d{1,9})""")
_PLACE = re.compile(r"line (\d{1,12}): (.{0,1000})", re.DOTALL)
_IMAGE = re.compile(r"\d\d")


class Evidence(NamedTuple):
    """What a file says."""

    file: str
    """Its name; it lies beside the output, or in the folder above the images of a path."""
    line: int
    """From 1; negative where it was counted from the end, the last line is -1; 0 where it concerns the whole file."""
    words: str

    @property
    def place(self) -> str:
        """`slurm-1234.out:57`."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        return f"{self.place}: {self.words}"


@dataclass(frozen=True)
class Failure:
    """A run that was lost, in whole or in part."""

    path: str
    """Of its output, as the store names it."""
    folder: Path | None
    """Where it ran, on disk; None where that is not there, or is in an archive."""
    code: str | None
    """Program; None where the output could not be read."""
    cause: Cause
    evidence: Evidence
    n_configurations: int = 0
    """How many were kept."""
    last_step: int | None = None
    """Step of the last one that was kept."""
    restart: tuple[str, ...] = ()
    """Files beside the output from which the code can go on."""

    def as_json(self) -> dict[str, Any]:
        """The failure as JSON values."""
        return {
            "path": self.path, "folder": None if self.folder is None else str(self.folder), "code": self.code,
            "cause": self.cause, "evidence": self.evidence._asdict(), "n_configurations": self.n_configurations,
            "last_step": self.last_step, "restart": list(self.restart),
        }  # fmt: skip


class _Run(NamedTuple):
    """A run with what there is on disk of it."""

    path: str
    own: tuple[str, ...]
    """Names of its files, the output first."""
    run_kind: str
    beside: RunFolder | None
    """The folder of its output."""
    above: RunFolder | None
    """The folder that it was started in, where that is another one: images of a path have folders 00, 01, ... of it."""
    shared: bool

    @property
    def name(self) -> str:
        """Name of its output."""
        return self.own[0]

    def says(self, name: str, content: bytes, whole: bool = True) -> _Found | None:
        """The strongest sign of a text; molecular dynamics ends by its number of steps, and that is no loss."""
        hit = strongest(content, () if self.run_kind in RELAXATIONS else ("geometry",))
        if hit is None:
            return None
        line = Text(name, content, whole).line(hit.start)
        return _Found(hit.cause, Evidence(one_line(name), line, hit.words), hit.rank)

    def texts(self) -> Iterator[Text]:
        """The ends of its own files, then of the logs beside them."""
        if self.beside is None:
            return
        for name in dict.fromkeys(self.own):
            text = None if name.removesuffix(".gz").endswith(NOT_TEXT) else self.beside.end_of(name)
            if text is not None:
                yield text
        yield from self.beside.logs(self.own, PurePosixPath(self.name).stem if self.shared else "")
        if self.above is not None:
            yield from self.above.logs(())


def cause_of(
    calculation: Calculation | None,
    refused: Refused | None,
    folder: Path | None,
    *,
    n_configurations: int | None = None,
    last_step: int | None = None,
    unconverged: bool = False,
    shared: bool = False,
) -> Failure | None:
    """Why a run was lost; None for one that ended well.

    Args:
        calculation: its record; None where its output was refused.
        refused: what the reader said, where it was.
        folder: the folder of the output on disk; None where that is not there.
        n_configurations: how many the store keeps; None where that is not known.
        last_step: step of the last one.
        unconverged: whether a relaxation that ended by its step limit counts.
        shared: whether other runs have their files in that folder, so that only logs named after this one count.
    """
    if calculation is not None:
        run = _run_of(calculation, folder, shared)
        found = _judged(run, calculation, n_configurations, unconverged)
    elif refused is not None:
        own = (PurePosixPath(refused.path).name,)
        run = _Run(refused.path, own, "unknown", None if folder is None else RunFolder.at(folder), None, shared)
        found = _of_refusal(run, refused)
    else:
        return None
    if found is None or (found.cause == "geometry" and not unconverged):
        return None
    return Failure(
        path=run.path,
        folder=run.above.path if run.above else folder,
        code=calculation.method.code if calculation else None,
        cause=found.cause,
        evidence=found.evidence,
        n_configurations=n_configurations or 0,
        last_step=last_step,
        restart=_restarts(run),
    )


def _run_of(calculation: Calculation, folder: Path | None, shared: bool) -> _Run:
    own = tuple(PurePosixPath(one.path).name for one in calculation.sources)
    if folder is None:
        return _Run(calculation.path, own, calculation.run_kind, None, None, shared)
    is_image = calculation.kind == "reaction_path" and _IMAGE.fullmatch(folder.name) is not None
    above = RunFolder.at(folder.parent) if is_image else None
    return _Run(calculation.path, own, calculation.run_kind, RunFolder.at(folder), above, shared)


def _restarts(run: _Run) -> tuple[str, ...]:
    if run.beside is None:
        return ()
    below = f"{run.beside.path.name}/" if run.above else ""
    return tuple(below + name for name in run.beside.restarts())


class _Found(NamedTuple):
    cause: Cause
    evidence: Evidence
    rank: int = 0


def _judged(run: _Run, calculation: Calculation, n_configurations: int | None, unconverged: bool) -> _Found | None:
    if calculation.status != "complete":
        return _of_incomplete(run, calculation)
    if n_configurations == 0:
        return _without_configurations(run, calculation)
    if unconverged and run.run_kind in RELAXATIONS:
        return _ended_by_step_limit(run, calculation, n_configurations or 0)
    return None


def _of_refusal(run: _Run, refused: Refused) -> _Found:
    """A file that its reader refused; where its content was at fault, the logs may say why."""
    said = _strongest(run) if refused.code == "parse" else None
    return said or _Found("unreadable", Evidence(run.name, refused.line or 0, one_line(refused.reason)))


def _of_incomplete(run: _Run, calculation: Calculation) -> _Found | None:
    """A run that its code or its reader calls failed, or that was cut off."""
    reason = calculation.status_reason
    stated = _stated(run.name, reason)
    said = _strongest(run, stated)
    if said is not None:
        return said
    if calculation.status == "failed":
        return _Found("crash", stated)
    return None if NO_END_MARK in reason else _Found("truncated", stated)


def _without_configurations(run: _Run, calculation: Calculation) -> _Found:
    """A run that ended well and gave nothing: its last loss says why."""
    lost = calculation.left_out[-1] if calculation.left_out else None
    words = lost.reason if lost else "expected a configuration, found none."
    evidence = Evidence(run.name, lost.line if lost else 0, one_line(words))
    return _Found("scf" if SCF_GATE in words else "empty", evidence)


def _ended_by_step_limit(run: _Run, calculation: Calculation, n_configurations: int) -> _Found | None:
    """A relaxation that ended well by its step limit; VASP does not say so, but has taken NSW steps."""
    texts = list(run.texts())
    warned = (run.says(run.name, words.encode()) for words in calculation.warnings)
    for found in (*warned, *(run.says(*text) for text in texts)):
        if found is not None and found.cause in ("geometry", "stopped"):
            return found
    if calculation.method.code != "vasp" or run.beside is None or any(CONVERGED in text.content for text in texts):
        return None
    n_steps = n_configurations + sum(one.frames for one in calculation.left_out)
    for name in (run.name, "INCAR"):
        limit = _NSW.search(run.beside.head_of(name))
        if limit and 0 < int(limit[1]) <= n_steps:
            words = f"NSW is {int(limit[1])}, and the relaxation took {n_steps} steps."
            return _Found("geometry", Evidence(name, 0, words))
    return None


def _stated(name: str, reason: str) -> Evidence:
    """The reason of a status; readers begin it with the line where that is known."""
    match = _PLACE.match(reason)
    return Evidence(name, int(match[1]), one_line(match[2])) if match else Evidence(name, 0, one_line(reason))


def _strongest(run: _Run, stated: Evidence | None = None) -> _Found | None:
    """What says most of the cause: what the reader found, the end of the output, the logs, custodian's journal."""
    found = [run.says(*text) for text in run.texts()]
    said = None if stated is None else run.says(stated.file, stated.words.encode())
    if stated is not None and said is not None:
        found.insert(0, said._replace(evidence=stated))
    return min((one for one in (*found, _corrected(run)) if one), key=lambda one: one.rank, default=None)


def _corrected(run: _Run) -> _Found | None:
    """The error that custodian corrected last."""
    journal = None if run.beside is None or run.shared else run.beside.corrections()
    if journal is None:
        return None
    text, corrections = journal
    named = [pair for pair in corrections if pair[0] != "UnconvergedErrorHandler"]  # it goes on with every relaxation
    if not named:
        return None
    handler, error = named[-1]
    place = max(text.content.rfind(b'"' + error.encode("utf-8", "replace") + b'"'), 0)
    evidence = Evidence(text.name, text.line(place), one_line(f"{handler}: {error}"))
    return _Found(CORRECTED.get(handler) or CORRECTED.get(error) or "crash", evidence, RANK_OF_CORRECTIONS)
