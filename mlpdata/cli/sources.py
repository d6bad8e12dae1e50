"""Verbs about outputs: ingest, inspect, convert."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import (
    STORE,
    DryRunOption,
    EnergyKeyOption,
    EnergyKindOption,
    FollowOption,
    ForcesKeyOption,
    FromPathOption,
    JobsOption,
    JsonOption,
    MapOption,
    SchedulerOption,
    StoreOption,
    StressKeyOption,
    StressSignOption,
    StrictOption,
    UnitsOption,
    VirialKeyOption,
    one_of,
    said_of_numbers,
)
from mlpdata.cli.outcome import concluded, summarise
from mlpdata.cli.output import progress, say, say_json, warn
from mlpdata.errors import InputError, UsageError


@app.command()
def ingest(
    paths: Annotated[list[str], typer.Argument(help="Files, folders or patterns such as 'runs/*/vasprun.xml'.")],
    store: StoreOption = STORE,
    license: Annotated[str | None, typer.Option(help="SPDX expression, such as CC-BY-4.0.")] = None,
    citation: Annotated[str | None, typer.Option(help="How to cite the data.")] = None,
    kind: Annotated[str | None, typer.Option(help="What the configurations are there for: aimd, defect, ...")] = None,
    temperature: Annotated[str | None, typer.Option(help="Set point of the thermostat, such as 300K.")] = None,
    group: Annotated[str | None, typer.Option(help="file, folder, or a name: never divided by a split.")] = None,
    system: Annotated[str | None, typer.Option(help="Name of what was calculated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Free mark k=v; may be repeated.")] = None,
    units: UnitsOption = None,
    energy_key: EnergyKeyOption = None,
    forces_key: ForcesKeyOption = None,
    stress_key: StressKeyOption = None,
    virial_key: VirialKeyOption = None,
    energy_kind: EnergyKindOption = None,
    stress_sign: StressSignOption = None,
    from_path: FromPathOption = None,
    map: MapOption = None,
    jobs: JobsOption = 1,
    scheduler: SchedulerOption = "",
    follow_links: FollowOption = False,
    strict: StrictOption = False,
    dry_run: DryRunOption = False,
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
            group=group,
            system=system,
            tags=dict(key_value(one) for one in tag or []),
            **said_of_numbers(units, keys, energy_kind, stress_sign),
            from_path=from_path or (),
            maps=map or (),
            default=project_default(store),
            jobs=jobs,
            scheduler=scheduler,
            follow_links=follow_links,
            strict=strict,
            dry_run=dry_run,
            progress=advance,
        )
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
    from mlpdata.store.keeper import keeper

    params = load_params(keeper(store).beside(store) / "params.yaml")
    return Sidecar(license=params.ingest.license, citation=params.ingest.citation)


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
