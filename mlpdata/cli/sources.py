"""Verbs about outputs: ingest, sync, inspect, convert."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import (
    STORE,
    EnergyKeyOption,
    EnergyKindOption,
    ForcesKeyOption,
    JsonOption,
    StoreOption,
    StressKeyOption,
    StressSignOption,
    UnitsOption,
    VirialKeyOption,
    one_of,
    said_of_numbers,
)
from mlpdata.cli.output import counted, progress, say, say_json, warn
from mlpdata.errors import InputError, UsageError

if TYPE_CHECKING:
    from mlpdata.outcome import IngestReport, Refused

SHOWN = 20
"""Lines of a list that are printed; --json has all."""


@app.command()
def ingest(
    paths: Annotated[list[str], typer.Argument(help="Files, folders or patterns such as 'runs/*/vasprun.xml'.")],
    store: StoreOption = STORE,
    license: Annotated[str | None, typer.Option(help="SPDX expression, such as CC-BY-4.0.")] = None,
    citation: Annotated[str | None, typer.Option(help="How to cite the data.")] = None,
    kind: Annotated[str | None, typer.Option(help="What the configurations are there for: aimd, defect, ...")] = None,
    temperature: Annotated[str | None, typer.Option(help="Set point of the thermostat, such as 300K.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Free mark k=v; may be repeated.")] = None,
    units: UnitsOption = None,
    energy_key: EnergyKeyOption = None,
    forces_key: ForcesKeyOption = None,
    stress_key: StressKeyOption = None,
    virial_key: VirialKeyOption = None,
    energy_kind: EnergyKindOption = None,
    stress_sign: StressSignOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Reading processes.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Commit nothing if a file cannot be read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check, write nothing.")] = False,
    json: JsonOption = False,
) -> int:
    """Read outputs into the store, in one commit."""
    from mlpdata.intake import ingest as run

    keys = {"energy": energy_key, "forces": forces_key, "stress": stress_key, "virial": virial_key}
    with progress("reading") as advance:
        report = run(
            expand(paths),
            store,
            license=license,
            citation=citation,
            kind=checked_kind(kind),
            temperature=None if temperature is None else kelvin(temperature),
            tags=dict(key_value(one) for one in tag or []),
            **said_of_numbers(units, keys, energy_kind, stress_sign),
            default=project_default(store),
            jobs=jobs,
            strict=strict,
            dry_run=dry_run,
            progress=advance,
        )
    say_json(report.as_json()) if json else summarise(report)
    return concluded(report)


@app.command()
def sync(
    root: Annotated[Path, typer.Argument(help="Folder of outputs.")],
    store: StoreOption = STORE,
    exact: Annotated[bool, typer.Option("--exact", help="Retract what is no longer in the folder.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Reading processes.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Commit nothing if a file cannot be read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check, write nothing.")] = False,
    json: JsonOption = False,
) -> int:
    """Bring the store up to date with a folder of outputs, in one commit."""
    from mlpdata.intake import sync as run

    with progress("reading") as advance:
        report = run(
            root, store, exact=exact, default=project_default(store), jobs=jobs, strict=strict, dry_run=dry_run,
            progress=advance,
        )  # fmt: skip
    say_json(report.as_json()) if json else summarise(report)
    return concluded(report)


@app.command()
def inspect(
    paths: Annotated[list[str], typer.Argument(help="Files, folders or patterns.")],
    units: UnitsOption = None,
    energy_key: EnergyKeyOption = None,
    forces_key: ForcesKeyOption = None,
    stress_key: StressKeyOption = None,
    virial_key: VirialKeyOption = None,
    energy_kind: EnergyKindOption = None,
    stress_sign: StressSignOption = None,
    json: JsonOption = False,
) -> int:
    """Show what a file holds, without a store: one line a file."""
    from mlpdata.inspection import inspect_file, outputs_below
    from mlpdata.schema.sidecar import Sidecar

    keys = {"energy": energy_key, "forces": forces_key, "stress": stress_key, "virial": virial_key}
    declared = Sidecar(**said_of_numbers(units, keys, energy_kind, stress_sign)).of_numbers
    seen = refused = 0
    for path in outputs_below(expand(paths)):
        found = inspect_file(path, declared)
        seen += 1
        refused += found["error"] is not None
        say_json(found) if json else _say_inspected(found)
    if not seen:
        raise InputError("expected outputs of a known code, found none.", path=", ".join(paths))
    return 3 if refused and not json else 0


@app.command(context_settings={"ignore_unknown_options": True})  # -1 is a number
def convert(
    value: Annotated[float, typer.Argument(help="A number.")],
    unit: Annotated[str, typer.Argument(help="Its unit, such as hartree/bohr.")],
    target: Annotated[str, typer.Argument(help="The unit wanted, such as eV/angstrom.")],
    json: JsonOption = False,
) -> None:
    """Convert a number between units."""
    from mlpdata.units import CONSTANTS
    from mlpdata.units import convert as run

    result = run(value, unit, target)
    if json:
        say_json({"value": result, "unit": target, "constants": CONSTANTS})
    else:
        say(f"{value:.15g} {unit} = {result:.15g} {target}")


def expand(paths: list[str]) -> list[Path]:
    """Paths with patterns expanded, for shells that do not.

    Raises:
        UsageError: a pattern that matches nothing.
    """
    out: list[Path] = []
    for path in paths:
        if Path(path).exists() or not glob.has_magic(path):
            out.append(Path(path))
            continue
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise UsageError(f"expected files that match {path!r}, found none.")
        out += [Path(match) for match in matches]
    return out


def key_value(text: str) -> tuple[str, str]:
    """`k=v` taken apart.

    Raises:
        UsageError: no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"expected a tag of the form key=value, found {text!r}.")
    return key, value


def kelvin(text: str) -> float:
    """A temperature such as 300K or 300; anything else is refused.

    Raises:
        UsageError: no number, or not above zero.
    """
    number = text.strip().removesuffix("K").strip()
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UsageError(f"expected a temperature such as 300K, found {text!r}.")
    return value


def checked_kind(kind: str | None) -> Any:
    """`kind`, if it is one.

    Raises:
        UsageError: unknown; the known ones are named.
    """
    from typing import get_args

    from mlpdata.schema.calculation import Kind

    return one_of(kind, get_args(Kind), "kinds")


def project_default(store: Path) -> Any:
    """What the project's params.yaml says of files that nothing else speaks of."""
    from mlpdata.project import load_params
    from mlpdata.schema.sidecar import Sidecar

    params = load_params(store.absolute().parent / "params.yaml")
    return Sidecar(license=params.ingest.license, citation=params.ingest.citation)


def summarise(report: IngestReport) -> None:
    """The end of an ingest: what entered, what was left out and why."""
    verb = "would enter" if report.dry_run else "entered"
    entered = f"{counted(report.n_entered, 'configuration')} of {counted(len(report.entered), 'calculation')}"
    say(f"{entered} {verb} ({report.seconds:.1f} s).")
    for calculation in [one for one in report.entered if one.status != "complete"][:SHOWN]:
        say(f"  {calculation.path}: {calculation.status}, {calculation.n_configurations} configurations kept")
    replaced = sum(one.replaced for one in report.entered)
    if replaced:
        say(f"Replaced: {counted(replaced, 'older reading')} of the same run.")
    if report.unchanged:
        say(f"Unchanged: {counted(len(report.unchanged), 'file')} that the store has already or that repeat another.")
    if report.retracted:
        say(f"Retracted: {counted(len(report.retracted), 'calculation')} no longer in the folder.")
    _say_lost("Left out", counted(sum(one.frames or 0 for one in report.left_out), "configuration"), report.left_out)
    _say_lost("Not readable", counted(len(report.refused), "file"), report.refused)
    if report.not_outputs:
        say(f"Passed over: {counted(report.not_outputs, 'file')} that no reader knows.")
    if report.unknown_license:
        warn(
            f"Unknown license: {counted(report.unknown_license, 'calculation')}. That blocks publishing; state it by --license."
        )
    if report.snapshot:
        say(f"The store shows {counted(report.n_configurations, 'configuration')}, snapshot {report.snapshot[:12]}.")


def concluded(report: IngestReport) -> int:
    """The exit code; where nothing could be read, a line on stderr says why."""
    if report.exit_code:
        first = report.damaged[0]
        raise InputError(first.reason, path=first.path, line=first.line)
    return 0


def _say_lost(what: str, count: str, lost: list[Refused]) -> None:
    if lost:
        say(f"{what}: {count}")
        for one in lost[:SHOWN]:
            place = one.path if one.line is None else f"{one.path}:{one.line}"
            say(f"  {place}: {one.reason}")
        if len(lost) > SHOWN:
            say(f"  ... and {len(lost) - SHOWN} more; --json lists all.")


def _say_inspected(found: dict[str, Any]) -> None:
    if found["error"] is not None:
        place = InputError(found["error"]["message"], path=found["path"], line=found["error"]["line"])
        warn(" ".join(f"mlpdata: {place}".split()))
        return
    say(found["path"])
    method = found["method"] or {}
    rows = [
        ("reader", found["reader"]),
        ("code", f"{method.get('code')} {method.get('code_version') or ''}".strip()),
        ("functional", method.get("functional")),
        ("run", f"{found['run_kind']}, {found['status']}" + (f" ({found['reason']})" if found["reason"] else "")),
        ("frames", f"{found['n_frames']}, {found['n_with_forces']} with forces, {found['n_unconverged']} unconverged"),
        ("atoms", found["formula"]),
        ("energy", _energy(found)),
        ("names", ", ".join(f"{name} as {key!r}" for name, key in found["keys"].items()) or None),
        ("charge", found["charge"]),
        ("multiplicity", found["multiplicity"]),
        ("left out", "; ".join(f"line {one['line']}: {one['reason']}" for one in found["left_out"][:5]) or None),
        ("warnings", "; ".join(found["warnings"][:5]) or None),
    ]
    for name, value in rows:
        if value is not None:
            say(f"  {name:14s}{value}")


def _energy(found: dict[str, Any]) -> str | None:
    """The energy of the last frame with its unit, if the file states one or somebody declared it."""
    energy = (found["last"] or {}).get("energy")
    if energy is None:
        return None
    unit = found["units"]["energy"]
    return (
        f"{energy} {unit} ({found['energy_kind']}), last frame" if unit else f"{energy}, no unit declared, last frame"
    )
