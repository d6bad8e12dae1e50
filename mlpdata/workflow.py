"""Workflow: what each stage of the pipeline does, as one function a stage; verbs and stages both call these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlpdata import durable
from mlpdata.api import Snapshot, Store, as_ids
from mlpdata.checks.gates import GateReport, joined, run_gates
from mlpdata.checks.licenses import verdict
from mlpdata.checks.theory import one_theory
from mlpdata.curate.composition import composition
from mlpdata.curate.freeze import OpenView, freeze, open_view, refuse_unstable
from mlpdata.curate.record import environment, records
from mlpdata.curate.references import fit_references
from mlpdata.curate.split import leaks, split
from mlpdata.errors import CheckFailed, NotFound, UsageError
from mlpdata.frames import I64
from mlpdata.intake import IngestReport, sync
from mlpdata.schema.noun import from_stored
from mlpdata.schema.params import CheckParams, GateParams, MdParams, Params, SplitParams, TrainParams
from mlpdata.schema.records import Split, View
from mlpdata.schema.sidecar import Sidecar

Progress = Callable[[int, int, str], None]
BLOCK = 4096
"""Configurations that are checked at a time."""


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
        "n_left_out": sum(one.frames or 0 for one in report.left_out),
    }
    return dataset, report


def make_record(snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
    """The DFT parameters of every method of a snapshot as YAML, and the software at hand."""
    return records(snapshot.calculations(), snapshot.sql(
        "SELECT method_id, formula, count(*) AS configurations FROM configurations GROUP BY ALL ORDER BY ALL"
    ).to_pylist()), environment()  # fmt: skip


def check_snapshot(snapshot: Snapshot, params: CheckParams) -> dict[str, Any]:
    """Gates over every configuration, one theory, licenses; `errors` names what must not be trained on or published."""
    gates = _gates(snapshot, params)
    calculations = snapshot.calculations()
    counts = dict(
        snapshot.sql("SELECT method_id, count(*) AS n FROM configurations GROUP BY 1").to_pandas_free()
        if False
        else _pairs(snapshot, "SELECT method_id, count(*) FROM configurations GROUP BY 1")
    )
    methods = snapshot.methods()
    theory = one_theory(methods, [counts.get(method.id, 0) for method in methods])
    licenses = {one.license for one in calculations}
    verdicts = {str(name or "unknown"): verdict(name, params.purpose)._asdict() for name in sorted(licenses, key=str)}
    errors = [finding.message for finding in theory if finding.level == "error" and params.one_theory]
    errors += [f"license {name}: {one['reason']}" for name, one in verdicts.items() if one["allowed"] == "no"]
    errors += [f"{f.n_caught} configurations: {f.reason}" for f in gates.findings if f.severity == "reject" and f.n_caught]
    return {
        "errors": errors,
        "gates": [
            {"gate": f.gate, "severity": f.severity, "applied": f.applied, "caught": f.n_caught, "worst": f.worst, "reason": f.reason}
            for f in gates.findings
        ],
        "theory": [finding._asdict() for finding in theory],
        "licenses": verdicts,
        "purpose": params.purpose,
        "composition": composition(snapshot.opened.table("configurations")),
    }  # fmt: skip
