"""Build: all results of a project on one page that needs no network and no script."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from mlpdata.api import Snapshot
from mlpdata.differences import differences
from mlpdata.dynamics import trajectory
from mlpdata.errors import NotFound
from mlpdata.report import charts
from mlpdata.schema.params import Params
from mlpdata.schema.records import Split
from mlpdata.summary import difference_lines, difference_rows, dynamics_rows, error_rows
from mlpdata.workflow import read_split

MEV = 1e3
SERIES = 400
"""Points of a curve along time."""


def build_report(snapshot: Snapshot, params: Params, project: Path, since: Snapshot | None = None) -> str:
    """The report as HTML.

    Args:
        snapshot: what the results were made of.
        params: for the title and the targets.
        project: folder with dataset.json, splits/ and results/.
        since: an earlier snapshot; what changed since then is a section of the report.

    Raises:
        NotFound: a result that is not there yet, with the verb that makes it.
    """
    dataset = read_result(project / "dataset.json", "ingest")
    results = project / "results"
    check, train, metrics, predictions, md = (
        read_result(results / f"{name}.json", verb)
        for name, verb in (
            ("check", "check"),
            ("train", "train"),
            ("metrics", "evaluate"),
            ("predictions", "evaluate"),
            ("md", "md"),
        )
    )
    divided = read_split(project / "splits" / "main.json")
    rows = configuration_rows(snapshot, divided)
    runs = {run["label"]: trajectory.read(results / "md" / run["label"]) for run in md["runs"]}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = shown
    return environment.from_string((files("mlpdata.report") / "page.html").read_text()).render(
        name=params.name,
        made_of={"content": snapshot.content, "split": divided.id, "view": train["view"], "model": train["id"]},
        dataset=dataset,
        check=check,
        failures=[*check["errors"], *metrics["failures"], *md["failures"]],
        changes=None if since is None else changes(since, snapshot),
        methods=method_rows(snapshot),
        records=read_text(results / "methods.yaml", "record"),
        composition=composition_rows(rows),
        licenses=[(name, one["allowed"], one["reason"]) for name, one in check["licenses"].items()],
        citations=sorted({one.citation for one in snapshot.calculations() if one.citation}),
        gates=[[one[key] for key in ("gate", "severity", "applied", "caught", "worst")] for one in check["gates"]],
        parts=part_rows(rows),
        leaks=f"Whole groups only: no group and no geometry stands in two parts. Split {divided.id[:12]}, view {train['view'][:12]}.",
        split_notes=divided.notes,
        training=(
            f"{train['epochs']} epochs in {train['seconds']:.0f} s on {train['n_train']} configurations; weights of epoch "
            f"{train['best_epoch']}; model {train['id'][:12]}."
        ),
        errors=dict(zip(("columns", "rows"), error_rows(metrics), strict=True)),
        targets=params.evaluate,
        dynamics=dict(zip(("columns", "rows"), dynamics_rows(md), strict=True)),
        software=software_rows(read_result(results / "environment.json", "record")),
        charts=drawn(rows, train["history"], predictions, runs),
    )


def drawn(
    rows: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    predictions: Mapping[str, Any],
    runs: Mapping[str, trajectory.Trajectory],
) -> dict[str, str]:
    """Every chart as SVG."""
    energies, forces = parity_rows(predictions)
    return {
        "composition": charts.bars_by_kind(counted(rows)),
        "energies": charts.distribution(labelled(rows), "energy_per_atom", "energy [eV/atom]"),
        "forces": charts.distribution(labelled(rows), "max_force", "largest force [eV/angstrom]"),
        "learning": charts.learning_curves(learning_rows(history)),
        "energy_parity": charts.parity(energies, "eV/atom"),
        "force_parity": charts.parity(forces, "eV/angstrom"),
        "md_energy": charts.traces(energy_traces(runs), "energy [meV/atom]"),
        "md_temperature": charts.traces(series(runs, "temperature"), "temperature [K]"),
    }


def changes(since: Snapshot, snapshot: Snapshot) -> dict[str, Any]:
    """What changed since an earlier snapshot."""
    found = differences(since.opened, snapshot.opened)
    columns, rows = difference_rows(found)
    return {"since": repr(since), "lines": difference_lines(found), "columns": columns, "rows": rows}


def read_result(path: Path, verb: str) -> Any:
    """A JSON result of an earlier stage.

    Raises:
        NotFound: not there yet; `verb` makes it.
    """
    return json.loads(read_text(path, verb))


def read_text(path: Path, verb: str) -> str:
    """A text result of an earlier stage.

    Raises:
        NotFound: not there yet; `verb` makes it.
    """
    if not path.is_file():
        raise NotFound(
            f"expected a result of `mlpdata {verb}`, found none. Run `dvc repro`, which makes all of them.", path=path
        )
    return path.read_text()


def shown(value: Any) -> str:
    """A cell of a table."""
    if value is None:
        return "not available"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def configuration_rows(snapshot: Snapshot, divided: Split) -> list[dict[str, Any]]:
    """Kind, temperature, group, energy per atom, largest force and part of each configuration of the snapshot."""
    part = {one: name for name, ids in divided.parts.items() for one in ids}
    table = snapshot.sql(
        'SELECT id, kind, temperature_target, "group", energy_per_atom, max_force FROM configurations ORDER BY id'
    )
    rows = table.to_pylist()
    return [{"part": part.get(row["id"].hex(), "none"), **{k: v for k, v in row.items() if k != "id"}} for row in rows]


def method_rows(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    """Name, code, functional, cutoff, smearing, spin, k-points and configurations of each method, most used first."""
    counts = Counter(snapshot.opened.table("configurations", ["method_id"])["method_id"].to_pylist())
    rows = []
    for method in sorted(snapshot.methods(), key=lambda one: (-counts[one.id], one.id)):
        smearing = f"{method.smearing.method} {method.smearing.width or 0:.3g}" if method.smearing else None
        kpoints = method.kpoints and (method.kpoints.mesh or method.kpoints.count)
        shown_kpoints = "x".join(map(str, kpoints)) if isinstance(kpoints, tuple) else kpoints and f"{kpoints} points"
        code = f"{method.code} {method.code_version or ''}".strip()
        rows.append(
            (
                method.id[:8],
                code,
                method.functional,
                method.cutoff_energy,
                smearing,
                method.spin,
                shown_kpoints,
                counts[method.id],
            )
        )
    return rows


def counted(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Configurations by kind and part."""
    numbers = Counter((row["kind"], row["part"]) for row in rows)
    return [{"kind": kind, "part": part, "configurations": number} for (kind, part), number in sorted(numbers.items())]


def labelled(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with a label of kind and temperature; a lone atom has another scale and is left out."""
    return [
        {
            **row,
            "label": row["kind"]
            if row["temperature_target"] is None
            else f"{row['kind']} {row['temperature_target']:g} K",
        }
        for row in rows
        if row["kind"] != "isolated_atom"
    ]


def composition_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int, str]]:
    """Kind, configurations, groups, temperatures."""
    out = []
    for kind in sorted({row["kind"] for row in rows}):
        of_kind = [row for row in rows if row["kind"] == kind]
        temperatures = sorted({row["temperature_target"] for row in of_kind if row["temperature_target"] is not None})
        groups = {row["group"] for row in of_kind}
        out.append((kind, len(of_kind), len(groups), ", ".join(f"{one:g}" for one in temperatures) or "static"))
    return out


def part_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """Part, configurations, groups."""
    names = sorted(
        {row["part"] for row in rows},
        key=lambda name: [*charts.PARTS, "none"].index(name) if name in charts.PARTS else 9,
    )
    return [
        (name, sum(row["part"] == name for row in rows), len({row["group"] for row in rows if row["part"] == name}))
        for name in names
    ]


def learning_rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Errors of the validation part by epoch."""
    names = {"valid_energy_mae": "energy MAE [meV/atom]", "valid_force_mae": "force MAE [meV/angstrom]"}
    return [
        {"epoch": record["epoch"], "label": label, "value": MEV * record[name]}
        for record in history
        for name, label in names.items()
        if record.get(name)
    ]


def parity_rows(predictions: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Reference and predicted energies per atom, and force components, each with its kind."""
    kinds = predictions["kinds"]
    energies = zip(kinds, *predictions["energy"], strict=True)
    of_atom = np.repeat(kinds, predictions["n_atoms"])
    reference, predicted = (np.asarray(side, np.float64) for side in predictions["forces"])
    forces = zip(np.repeat(of_atom, 3).tolist(), reference.ravel().tolist(), predicted.ravel().tolist(), strict=True)
    rows = [
        [{"kind": kind, "reference": a, "predicted": b} for kind, a, b in side if _known(a) and _known(b)]
        for side in (energies, forces)
    ]
    return rows[0], rows[1]


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def energy_traces(runs: Mapping[str, trajectory.Trajectory]) -> list[dict[str, Any]]:
    """Total energy per atom from its first value [meV/atom] along each run."""
    return [
        row
        for label, run in runs.items()
        for row in _thinned(label, run.time, MEV * (run.total - run.total[0]) / run.n_atoms)
    ]


def series(runs: Mapping[str, trajectory.Trajectory], name: str) -> list[dict[str, Any]]:
    """A series of each run along time."""
    return [row for label, run in runs.items() for row in _thinned(label, run.time, getattr(run, name))]


def _thinned(label: str, time: Any, values: Any) -> list[dict[str, Any]]:
    """Time [ps] and value at every k-th point."""
    step = max(1, len(time) // SERIES)
    return [
        {"run": label, "time": a / 1e3, "value": b}
        for a, b in zip(time[::step].tolist(), values[::step].tolist(), strict=True)
    ]


def software_rows(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and version."""
    packages = environment.get("packages", {})
    own = [(name, str(value)) for name, value in environment.items() if name != "packages"]
    return own + sorted((str(name), str(version)) for name, version in packages.items())
