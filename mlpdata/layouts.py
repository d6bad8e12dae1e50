"""Layouts: what names say of the files in one folder of a workflow tool, before anything is opened.

custodian, atomate2, FireWorks, jobflow-remote, AiiDA, DP-GEN and the codes themselves leave outputs under names that
tell more than their content does: an attempt that failed, a copy, scratch, the first of two stages. Every function
here looks at one folder at a time, so that a walk may meet folders in any order.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

MAX_MARK_BYTES = 1 << 20
"""Largest file of a workflow tool that is looked into, as stored and as expanded."""
MAX_TAG = 200
"""Longest value of a tag [characters]."""

Siblings = Callable[[re.Match[str], Collection[str]], bool]


class _Rule(NamedTuple):
    """Names that are not read, and why."""

    pattern: re.Pattern[str]
    """Of the name without the suffix of a compression."""
    reason: str
    holds: Siblings = lambda _found, _names: True
    """Whether the other names of the folder bear it out."""


def _stem_has(*suffixes: str) -> Siblings:
    """Whether a file of the job itself lies there, one of `suffixes` behind the first group of the pattern."""
    return lambda found, names: any(f"{found[1]}{suffix}" in names for suffix in suffixes)


_ORCA_JOB = _stem_has(".inp", ".out", ".log", ".orca.out", ".gbw")
_FILES = (
    _Rule(re.compile(r"error\.\d{1,9}\.tar"), "custodian keeps an attempt that failed in it"),
    _Rule(re.compile(r".*\.orig"), "a copy of before the first correction or edit"),
    _Rule(re.compile(r".*~|#.*#|.*\.(swp|swo)"), "a copy that an editor made"),
    _Rule(re.compile(r".*\.bak(-\d{1,3})?"), "a copy of what a later run wrote anew"),
    _Rule(re.compile(r".*\.tmp(\.\d{1,9})?"), "a temporary file"),
    _Rule(re.compile(r"(.+)_atom\d{1,3}\.(out|log)"), "ORCA's guess from a single atom", _ORCA_JOB),
    _Rule(
        re.compile(r"(.+)_im\d{1,4}[._](?:out|log|engrad|hess|property.*)"),
        "scratch of one image of ORCA's elastic band",
        _ORCA_JOB,
    ),
    _Rule(
        re.compile(r".*\.aiida"),
        "an AiiDA archive names files by their digests, so that those of one run cannot be told. Dump its processes",
    ),
)
_IS_TASK = re.compile(r"task\.\d{3}\.\d{6}")
_FOLDERS = (
    _Rule(
        re.compile(r"data\.\d{3}(\.\d{3})?"),
        "DP-GEN made these sets from the outputs of the tasks beside it",
        lambda _found, names: any(map(_IS_TASK.fullmatch, names)),
    ),
    _Rule(
        re.compile(r"packs|loose|duplicates|sandbox"),
        "AiiDA's object store names files by their digests, so that those of one run cannot be told. Dump its processes",
        lambda _found, names: "packs.idx" in names,
    ),
    _Rule(re.compile(r"(.+)\.save"), "pw.x writes the same XML beside this folder", _stem_has(".xml")),
    _Rule(re.compile(r"_ph\d{1,4}"), "scratch of ph.x"),
)


def passed_over(name: str, names: Collection[str]) -> str | None:
    """Why a file that looks like an output is not to be read; None where it may be.

    Args:
        name: of the file.
        names: of all that lies in its folder, files and folders; a set is quickest.
    """
    return _reason(_FILES, _plain(name), names)


def not_entered(name: str, names: Collection[str]) -> str | None:
    """Why a walk need not go into the folder `name`, one of `names`; None where it should."""
    return _reason(_FOLDERS, name, names)


def of_a_store(names: Collection[str]) -> str | None:
    """Why a folder with these names in it is not looked into: it is a store, or lies beside one as its work folder."""
    if "HEAD" in names and {"segments", "snapshots"}.issubset(names):
        return "a store of mlpdata"
    return "the work folder of a store of mlpdata" if {"lock", "staging"}.issubset(names) else None


def _reason(rules: Sequence[_Rule], name: str, names: Collection[str]) -> str | None:
    for rule in rules:
        found = rule.pattern.fullmatch(name)
        if found and rule.holds(found, names):
            return rule.reason
    return None


def _plain(name: str) -> str:
    """The name without the suffix of a compression."""
    return re.sub(r"\.(gz|bz2|xz|zst|Z)$", "", name)


class Stage(NamedTuple):
    """One of several runs that follow each other in one folder, as its files' names tell."""

    stem: str
    """The name without what tells the stage, and without the suffix of a compression."""
    number: int | None
    """Its place in order; None where the name has none: the only run, or the last of a chain."""
    label: str
    """As written: `relax2`, `static`, `02`; empty where the name has none."""


_WORD = r"(?:relax|static|nscf|scf|md|run|step|stage|part|restart|cont|opt|neb|dimer)"
_LABEL = re.compile(
    rf"(?i)(?P<before>.+?)(?<!\d)[._-](?P<label>{_WORD}[._-]?\d{{0,3}}|\d{{1,2}}|0\d{{2}})"
    r"(?P<after>(?:\.[a-z][a-z0-9]{0,9})?)"
)
_LEADING = re.compile(rf"(?i)(?P<label>{_WORD}\d{{0,3}})[._-](?P<after>(?:vasprun|vaspout|outcar)\b.{{0,40}})")


def stage(name: str) -> Stage:
    """The stage that a file's name tells: `relax1` of vasprun.xml.relax1.gz, 2 of md-2.out, 3 of run.out.3.

    Names only hint at an order: `Cu_02.out` may be another system. What follows what is for the geometries to say.
    """
    plain = _plain(name)
    found = _LABEL.fullmatch(plain) or _LEADING.fullmatch(plain)
    if found is None:
        return Stage(plain, None, "")
    digits = re.search(r"\d+$", found["label"])
    stem = found.groupdict().get("before") or ""
    return Stage(stem + found["after"], int(digits[0]) if digits else None, found["label"])


MARKS = ("FW.json", "custodian.json", "jfremote_in.json", "jobflow_job.json")
"""Files of workflow tools that `origin` looks into, compressed by gzip or not."""
_LAUNCHER = re.compile(r"(?:launcher|block)_\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-\d{1,6}")
_ITERATION, _STAGE = re.compile(r"iter\.(\d{6})"), re.compile(r"\d\d\.(train|model_devi|fp)")
_TASK = re.compile(r"task\.(\d{3}\.\d{6})")
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_REMOTE_JOB = re.compile(rf"({_UUID})_(\d{{1,4}})")


def is_mark(name: str) -> bool:
    """Whether `origin` wants the content of a file."""
    return name.removesuffix(".gz") in MARKS


def origin(folders: Sequence[str], names: Collection[str], contents: Mapping[str, bytes]) -> dict[str, str]:
    """Which tool made a folder, and its own names for the job: tags such as `workflow`, `fw_id`, `dpgen_iteration`.

    Only what is written there; what is damaged or too large says nothing, and nothing of it is ever run.

    Args:
        folders: names of the folders from the top of the tree down to this one.
        names: of all that lies in it.
        contents: stored bytes of its files for which `is_mark` holds, at most `MAX_MARK_BYTES` of each.
    """
    tags = _from_folders(folders, names)
    for name in sorted(contents):
        told = _FROM_MARK[name.removesuffix(".gz")](_parsed(contents[name]))
        tags |= {key: text[:MAX_TAG] for key, text in told.items() if text}
    return tags


def _from_folders(folders: Sequence[str], names: Collection[str]) -> dict[str, str]:
    """What folders' names tell."""
    tags: dict[str, str] = {}
    for folder in folders:
        if _LAUNCHER.fullmatch(folder):
            tags |= {"workflow": "fireworks"}
        elif found := _ITERATION.fullmatch(folder):
            tags |= {"workflow": "dpgen", "dpgen_iteration": found[1]}
        elif tags.get("workflow") == "dpgen" and (found := _STAGE.fullmatch(folder)):
            tags |= {"dpgen_stage": found[1]}
        elif tags.get("workflow") == "dpgen" and (found := _TASK.fullmatch(folder)):
            tags |= {"dpgen_task": found[1]}
        elif found := _REMOTE_JOB.fullmatch(folder):
            tags |= {"workflow": "jobflow", "job_uuid": found[1], "job_index": found[2]}
    if "_aiidasubmit.sh" in names:
        tags |= {"workflow": "aiida"}
        if re.fullmatch(_UUID, uuid := "".join(folders[-3:])):
            tags |= {"aiida_uuid": uuid}
    return tags


def _parsed(stored: bytes) -> Any:
    """The JSON of a small file; None where it is large, damaged, or nested beyond what a parser follows."""
    try:
        if stored.startswith(b"\x1f\x8b"):
            stored = zlib.decompressobj(31).decompress(stored, MAX_MARK_BYTES + 1)
        return json.loads(stored) if len(stored) <= MAX_MARK_BYTES else None
    except (ValueError, RecursionError, zlib.error):
        return None


def _from_firework(mark: Any) -> dict[str, str]:
    """FW.json: a firework with its number and name."""
    return {
        "workflow": "fireworks",
        "fw_id": _text(mark, "fw_id"),
        "fw_name": _text(mark, "name"),
        "job_uuid": _text(mark, "spec", "_tasks", 0, "job", "uuid"),
    }


def _from_custodian(mark: Any) -> dict[str, str]:
    """custodian.json: how many corrections its jobs needed."""
    jobs = mark if isinstance(mark, list) else []
    corrections = [job["corrections"] for job in jobs if isinstance(job, dict) and "corrections" in job]
    counts = [len(found) for found in corrections if isinstance(found, list)]
    return {"custodian_corrections": str(sum(counts)) if counts else ""}


def _from_job(mark: Any) -> dict[str, str]:
    """A jobflow job, bare or as jobflow-remote hands it over."""
    job = mark["job"] if isinstance(mark, dict) and isinstance(mark.get("job"), dict) else mark
    tags = {"job_name": _text(job, "name"), "job_uuid": _text(job, "uuid"), "job_index": _text(job, "index")}
    return {"workflow": "jobflow", **tags} if tags["job_uuid"] else {}


_FROM_MARK: Mapping[str, Callable[[Any], dict[str, str]]] = {
    "FW.json": _from_firework,
    "custodian.json": _from_custodian,
    "jfremote_in.json": _from_job,
    "jobflow_job.json": _from_job,
}


def _text(value: Any, *keys: str | int) -> str:
    """A text or whole number inside nested JSON; empty where there is none."""
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return ""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
