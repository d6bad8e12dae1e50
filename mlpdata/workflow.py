"""Workflow: what each stage of the pipeline does, as one function a stage; verbs and stages both call these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlpdata import durable
from mlpdata.api import Snapshot, Store, as_ids
from mlpdata.checks.gates import GateReport, joined, run_gates
from mlpdata.checks.licenses import verdict
from mlpdata.checks.measures import Circumstances
from mlpdata.checks.theory import one_theory
from mlpdata.curate.composition import composition
from mlpdata.curate.freeze import OpenView, freeze, open_view, refuse_unstable
from mlpdata.curate.references import fit_references
from mlpdata.curate.split import leaks, split
from mlpdata.errors import CheckFailed, NotFound
from mlpdata.frames import I64
from mlpdata.intake import sync
from mlpdata.outcome import IngestReport
from mlpdata.schema.noun import from_stored
from mlpdata.schema.params import CheckParams, GateParams, MdParams, Params, SplitParams, TrainParams
from mlpdata.schema.records import Split, View
from mlpdata.schema.sidecar import Sidecar

if TYPE_CHECKING:
    from mlpdata.loader import Loader
    from mlpdata.training.trainer import Progress as Epochs

Progress = Callable[[int, int, str], None]
BLOCK = 4096
"""Configurations that are checked at a time."""
ALONE = "isolated_atom"
"""A kind without neighbours: it has nothing to teach a model of interactions, and takes no part in the references."""


def make_dataset(params: Params, store: Path, progress: Progress | None = None) -> tuple[dict[str, Any], IngestReport]:
    """Make the store show exactly what the folder of raw outputs holds.

    Returns:
        What later stages depend on (content id and counts), and the report of the ingest.

    Raises:
        UsageError: no folder of raw outputs.
        InputError: a file that cannot be read, where the parameters say `strict`.
    """
    ingest = params.ingest
    report = sync(
        ingest.raw,
        store,
        exact=True,
        default=Sidecar(license=ingest.license, citation=ingest.citation),
        jobs=ingest.jobs,
        strict=ingest.strict,
        progress=progress,
    )
    record = Store(store).snapshot().record
    dataset = {
        "content": record.content,
        "n_configurations": record.n_configurations,
        "n_calculations": record.n_calculations,
        "refused": [f"{one.path}: {one.reason}" for one in report.refused],
    }
    return dataset, report


def check_snapshot(snapshot: Snapshot, params: CheckParams) -> dict[str, Any]:
    """Gates over every configuration, one theory, licenses; `errors` names what must not go on."""
    table = snapshot.opened.table("configurations")
    gates = _gates(snapshot, table, params)
    theory = _theory(snapshot)
    names = sorted({one.license for one in snapshot.calculations()}, key=str)
    verdicts = {name or "unknown": verdict(name, params.purpose) for name in names}
    return {
        "errors": [
            *(found.message for found in theory if found.level == "error" and params.one_theory),
            *(f"license {name}: {one.reason}" for name, one in verdicts.items() if one.allowed == "no"),
            *(f"{one.n_caught} configurations: {one.reason}" for one in gates.findings if _is_error(one)),
        ],
        "gates": [
            {"gate": one.gate, "severity": one.severity, "applied": one.applied, "caught": one.n_caught,
             "worst": one.worst, "reason": one.reason}
            for one in gates.findings
        ],
        "theory": [found._asdict() for found in theory],
        "purpose": params.purpose,
        "licenses": {name: one._asdict() for name, one in verdicts.items()},
        "composition": composition(table),
    }  # fmt: skip


def _theory(snapshot: Snapshot) -> list[Any]:
    """What stands against one training target, with the entropy of the smearing as the energies show it."""
    asked = snapshot.sql(
        "SELECT method_id, count(*), max(abs(energy - energy_sigma0) / n_atoms) FROM configurations GROUP BY 1"
    )
    found = {method: (count, entropy) for method, count, entropy in zip(*asked.to_pydict().values(), strict=True)}
    methods = snapshot.methods()
    counts, entropies = zip(*(found.get(method.id, (0, None)) for method in methods), strict=True)
    return one_theory(methods, counts, entropies)


def _is_error(finding: Any) -> bool:
    return bool(finding.severity == "reject" and finding.n_caught)


def _gates(snapshot: Snapshot, table: pa.Table, params: CheckParams) -> GateReport:
    """All gates over all configurations, block by block of what shares the circumstances of its labels."""
    rows = table["global_row"].to_numpy()
    records = table["calculation_record"].combine_chunks().dictionary_encode()
    calculation = records.indices.to_numpy()
    of_record = {
        record: Circumstances.of(one.method, one.forces_are, one.energy_kind)
        for _, record, one, hidden in snapshot.opened.keyed()
        if not hidden
    }
    each = [of_record[record] for record in records.dictionary.to_pylist()]
    reports = []
    for circumstances in dict.fromkeys(each):
        mine = np.flatnonzero(np.array([one == circumstances for one in each])[calculation])
        mine = mine[np.argsort(rows[mine])]
        for start in range(0, len(mine), BLOCK):
            chosen = mine[start : start + BLOCK]
            frames = snapshot.opened.mapped.frames(rows[chosen])
            reports.append(run_gates(frames, params, circumstances, calculation=calculation[chosen]))
    return joined(reports)


def raise_on_errors(found: dict[str, Any]) -> None:
    """End where `check_snapshot` found errors.

    Raises:
        CheckFailed: names the first error and counts them.
    """
    if found["errors"]:
        raise CheckFailed(f"{len(found['errors'])} checks failed; the first: {found['errors'][0]}")


def make_split(snapshot: Snapshot, params: SplitParams, parent: Split | None = None) -> Split:
    """Divide what the parameters select, by whole groups, and make sure that nothing leaks.

    Raises:
        UsageError: a query without one answer or without ids, or parts that cannot be.
        CheckFailed: the split leaks.
    """
    table = selected(snapshot, params.select)
    divided = split(table, params, snapshot.content, parent)
    found = leaks(table, divided)
    if found.groups or found.geometries:
        raise CheckFailed(
            f"expected no leak, found {found.groups} groups and {found.geometries} geometries in two parts."
        )
    return divided


def selected(snapshot: Snapshot, query: str) -> pa.Table:
    """The rows of the configurations table whose ids a query names, each id once.

    Raises:
        UsageError: a query without one answer, or without ids.
    """
    refuse_unstable(query)
    rows = snapshot.opened.rows(as_ids(snapshot.sql(query)))
    table = snapshot.opened.table("configurations")
    return table.take(pa.array(_positions(table, np.unique(rows))))


def _positions(table: pa.Table, rows: I64) -> I64:
    """Where in the table each global row stands."""
    stored = table["global_row"].to_numpy()
    order = np.argsort(stored)
    found: I64 = order[np.searchsorted(stored, rows, sorter=order)]
    return found


def read_split(path: Path) -> Split:
    """A split that was written as JSON.

    Raises:
        NotFound: no such file.
        CorruptError: it is no split.
    """
    if not path.is_file():
        raise NotFound("expected a split, found none. Make it by `mlpdata split`.", path=path)
    return from_stored(Split, path.read_bytes(), str(path))


def make_view(snapshot: Snapshot, divided: Split, out: Path) -> View:
    """Freeze the parts of a split.

    Raises:
        NotFound: the split names configurations that the snapshot does not show.
    """
    parts = {name: snapshot.opened.rows(as_ids(list(ids))) for name, ids in divided.parts.items()}
    query = str(divided.recipe.get("select", ""))
    return _freeze(snapshot, parts, out, divided.id, query)


def freeze_query(snapshot: Snapshot, query: str, out: Path) -> View:
    """Freeze what a query selects, as the one part `all`.

    Raises:
        UsageError: a query without one answer, or without ids.
    """
    refuse_unstable(query)
    return _freeze(snapshot, {"all": snapshot.opened.rows(as_ids(snapshot.sql(query)))}, out, None, query)


def _freeze(snapshot: Snapshot, parts: dict[str, I64], out: Path, split_id: str | None, query: str) -> View:
    mapped = snapshot.opened.mapped
    table = snapshot.opened.table("configurations", ["global_row", "id", "kind", "group"])
    rows = table["global_row"].to_numpy()
    ids = np.zeros((mapped.n_configurations, 16), np.uint8)
    ids[rows] = np.frombuffer(b"".join(table["id"].to_pylist()), np.uint8).reshape(-1, 16)
    texts = {}
    for name in ("kind", "group"):
        texts[name] = np.full(mapped.n_configurations, "", object)
        texts[name][rows] = table[name].to_pylist()
    return freeze(
        mapped, ids, parts, out,
        content=snapshot.content, kinds=texts["kind"], groups=texts["group"], split_id=split_id, query=query,
    )  # fmt: skip


def train_view(
    view: Path, params: TrainParams, out: Path, progress: Epochs | None = None, *, resume: bool = False
) -> dict[str, Any]:
    """Fit the model to the part `train` of a view, choosing its weights by the part `valid`.

    Raises:
        NotFound: no view, or one without these parts.
    """
    from mlpdata.training.trainer import train  # noqa: PLC0415  loads torch

    opened = open_view(view)
    rows = opened.rows("train")
    learned = rows[opened.kinds[rows] != ALONE]
    mapped = opened.mapped
    references = fit_references(
        mapped.gather("atomic_numbers", learned), mapped.n_atoms[learned], mapped.gather("energy", learned)
    )
    provenance = {
        "content": opened.record.content,
        "view": opened.record.id,
        "split": opened.record.split,
        "n_train": len(learned),
        "n_valid": len(opened.rows("valid")),
    }
    loaders = (_loader(opened, learned, params, shuffle=True), _loader(opened, opened.rows("valid"), params))
    result = train(*loaders, params, references, out, provenance, progress, resume)
    return {
        "id": result.id,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "valid_loss": result.valid_loss,
        "seconds": result.seconds,
        "references": {str(number): energy for number, energy in references.items()},
        **provenance,
        "history": result.history,
    }


def _loader(opened: OpenView, rows: I64, params: TrainParams, *, shuffle: bool = False) -> Loader:
    from mlpdata.loader import Loader  # noqa: PLC0415  loads torch

    return Loader(
        opened.mapped, rows, params.batch_size, params.model.cutoff, seed=params.seed, shuffle=shuffle,
        threads=1 if shuffle else 0,
    )  # fmt: skip


def model_file(model: Path) -> Path:
    """The checkpoint in the folder of a model.

    Raises:
        NotFound: no model there.
    """
    path = model / "best.safetensors" if model.is_dir() else model
    if not path.is_file():
        raise NotFound("expected a model, found none. Make it by `mlpdata train`.", path=model)
    return path


def evaluate_checkpoint(
    model: Path, view: Path, targets: GateParams, part: str = "test"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Errors of a model on a part of a view, with what misses its target; and the predictions for parity plots.

    Raises:
        NotFound: no model, view or part.
        UsageError: an element that the model was not trained on.
    """
    from mlpdata.evaluate import gate, metrics, predict  # noqa: PLC0415  loads torch
    from mlpdata.training import checkpoint  # noqa: PLC0415

    path = model_file(model)
    name, record, _ = checkpoint.read(path)
    opened = open_view(view)
    predicted, labels = predict(checkpoint.load(path), _loader(opened, opened.rows(part), record.params))
    kinds = opened.kinds[labels.rows]
    measured = metrics(predicted, labels, kinds)
    n_atoms = labels.n_atoms
    parity = {
        "kinds": kinds.tolist(),
        "n_atoms": n_atoms.tolist(),
        "energy": [((side.energy - labels.reference) / n_atoms).tolist() for side in (labels, predicted)],
        "forces": [side.forces.tolist() for side in (labels, predicted)],
    }
    answer = {"model": name, "view": opened.record.id, "part": part, "failures": gate(measured, targets), **measured}
    return answer, parity


def run_dynamics(
    model: Path, snapshot: Snapshot, params: MdParams, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Run molecular dynamics from each temperature; `failures` names what drifted or broke.

    Raises:
        NotFound: no model.
        UsageError: the query for the starting configuration has no one answer.
    """
    from mlpdata.dynamics import trajectory  # noqa: PLC0415  loads torch and ase
    from mlpdata.dynamics.calculator import MlpCalculator  # noqa: PLC0415
    from mlpdata.dynamics.md import run_md  # noqa: PLC0415
    from mlpdata.loader.threads import torch_threads  # noqa: PLC0415

    refuse_unstable(params.start)
    start = as_ids(snapshot.sql(params.start))[:1]
    atoms = snapshot.read(start).to_ase()[0]
    calculator = MlpCalculator(model_file(model), device=params.device)
    if out.exists():
        durable.remove_tree(out)
    runs, failures = [], []
    for number, temperature in enumerate(params.temperatures):
        label = f"{temperature:g}K"
        told = progress and _told(progress, number, len(params.temperatures), label)
        with torch_threads(params.threads):
            run = run_md(atoms, calculator, params, temperature, seed=params.seed + number, progress=told)
        trajectory.write(out / label, run)
        summary = run.summary()
        runs.append({"label": label, **summary})
        failures += _md_failures(label, summary, params)
    return {"start": start.tobytes().hex(), "content": snapshot.content, "failures": failures, "runs": runs}


def _told(progress: Progress, number: int, runs: int, label: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(number * total + done, runs * total, label)


def _md_failures(label: str, summary: dict[str, Any], params: MdParams) -> list[str]:
    failures = [] if summary["failure"] is None else [f"{label}: {summary['failure']}"]
    drift = summary["drift"]
    if drift is not None and abs(drift["value"]) > params.max_drift:
        failures.append(
            f"{label}: expected a drift below {params.max_drift:g} meV/atom/ps, found {drift['value']:.3f} "
            f"+- {drift['error']:.3f}. Halve the time step, or train longer."
        )
    return failures
