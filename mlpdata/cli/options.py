"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from mlpdata.errors import UsageError

STORE = Path("store")
PARAMS = Path("params.yaml")


def _there(path: Path) -> Path:
    """A file of parameters that is named must be there; a mistyped name must not mean the defaults."""
    if path != PARAMS and not path.exists():
        raise UsageError("expected a file of parameters, found none.", path=path)
    return path


def _opened(path: Path) -> Path:
    """The folder of the store: of one in a bucket that which stands for it here."""
    from mlpdata.store.keeper import opened

    return opened(path)


StoreOption = Annotated[
    Path,
    typer.Option(
        "--store",
        envvar="MLPDATA_STORE",
        callback=_opened,
        help="Folder of the store, or s3://bucket/path.",
        show_default=True,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs, one document a line.")]
AtOption = Annotated[
    str | None, typer.Option("--at", help="Snapshot: tag, id or its start, or date; else the current one.")
]
ParamsOption = Annotated[
    Path, typer.Option("--params", callback=_there, help="File of parameters; defaults where there is no params.yaml.")
]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="File to write.")]

FromPathOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from-path", help="What folders say, such as '{system}/{temperature}K/{run}'; the first that fits counts."
    ),
]
MapOption = Annotated[
    list[Path] | None, typer.Option("--map", help="CSV with a column path and what is said of each: kind, license, ...")
]
JobsOption = Annotated[int, typer.Option(min=1, help="Reading processes.")]
SchedulerOption = Annotated[
    str, typer.Option(help="Read on the workers of a dask.distributed scheduler, such as tcp://node1:8786.")
]
FollowOption = Annotated[bool, typer.Option("--follow-links", help="Follow links to folders, each folder once.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Commit nothing if a file cannot be read, or if anything is in doubt.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Read and check, write nothing.")]

UnitsOption = Annotated[
    str | None,
    typer.Option(
        "--units",
        help="Units of numbers whose file states none: energy=eV,length=angstrom,stress=eV/angstrom^3.",
    ),
]
EnergyKeyOption = Annotated[str | None, typer.Option("--energy-key", help="Name of the energies in such files.")]
ForcesKeyOption = Annotated[str | None, typer.Option("--forces-key", help="Name of the forces in such files.")]
StressKeyOption = Annotated[
    str | None, typer.Option("--stress-key", help="Name of the stress in such files; none leaves it out.")
]
VirialKeyOption = Annotated[
    str | None, typer.Option("--virial-key", help="Name of the virial, -stress * volume, in such files.")
]
EnergyKindOption = Annotated[
    str | None, typer.Option("--energy-kind", help="What such energies are: free, total, enthalpy, unknown.")
]
StressSignOption = Annotated[
    str | None, typer.Option("--stress-sign", help="What a positive stress means in such files: tension, compression.")
]


def said_of_numbers(
    units: str | None, keys: dict[str, str | None], energy_kind: str | None, stress_sign: str | None
) -> dict[str, Any]:
    """What the options say of numbers without units, by field of a sidecar.

    Raises:
        UsageError: units that are not pairs, or a word that is none of those known.
        UnitError: an unknown unit or dimension.
    """
    from mlpdata.schema.calculation import EnergyKind

    return {
        "units": _units(units or ""),
        "names": {name: key for name, key in keys.items() if key is not None},
        "energy_kind": one_of(energy_kind, get_args(EnergyKind), "energy kinds"),
        "stress_sign": one_of(stress_sign, ("tension", "compression"), "signs"),
    }


def one_of(word: str | None, known: tuple[str, ...], what: str) -> str | None:
    """`word`, if it is known or not given.

    Raises:
        UsageError: unknown; the known ones are named.
    """
    if word is not None and word not in known:
        raise UsageError(f"expected one of the {what} {', '.join(known)}, found {word!r}.")
    return word


def _units(text: str) -> dict[str, str]:
    """`energy=eV,length=angstrom` taken apart, each unit checked."""
    from mlpdata.units import factor

    found = {}
    for pair in filter(None, text.split(",")):
        dimension, equals, unit = pair.strip().partition("=")
        if not equals:
            raise UsageError(f"expected units such as energy=eV,length=angstrom, found {pair!r}.")
        factor(unit, dimension)
        found[dimension] = unit
    return found
