"""Verbs from data to model: record, check, split, freeze, train, evaluate, md, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import PARAMS, STORE, AtOption, JsonOption, OutOption, ParamsOption, StoreOption
from mlpdata.cli.output import progress, say, say_json, say_rows, training_progress, warn, write_file
from mlpdata.errors import UsageError

SPLIT, VIEW, MODEL = Path("splits/main.json"), Path("views/main"), Path("models/main")
SplitOption = Annotated[Path, typer.Option("--split", help="File of the split.")]
ViewOption = Annotated[Path, typer.Option("--view", help="Folder of the view.")]
ModelOption = Annotated[Path, typer.Option("--model", help="Folder of the model.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu or cuda, in place of the parameter's.")]


@app.command()
def record(store: StoreOption = STORE, at: AtOption = None, out: OutOption = None, json: JsonOption = False) -> None:
    """Print the DFT parameters of every method in the store, as YAML."""
    from mlpdata.api import Store
    from mlpdata.methods import make_record

    methods, environment = make_record(Store(store).snapshot(at))
    if json:
        import yaml

        say_json({"methods": yaml.safe_load(methods), "environment": environment})
    elif out is not None:
        write_file(out, methods.encode())
    else:
        say(methods.rstrip())


@app.command()
def check(
    store: StoreOption = STORE, at: AtOption = None, params: ParamsOption = PARAMS, json: JsonOption = False
) -> int:
    """Run the gates, and ask for one theory and sound licenses."""
    from mlpdata.api import Store
    from mlpdata.project import load_params
    from mlpdata.workflow import check_snapshot

    found = check_snapshot(Store(store).snapshot(at), load_params(params).check)
    if json:
        say_json(found)
        return 1 if found["errors"] else 0
    say_rows(
        ("gate", "severity", "applied", "caught", "worst"),
        [[one[name] for name in ("gate", "severity", "applied", "caught", "worst")] for one in found["gates"]],
    )
    for finding in found["theory"]:
        say(f"theory, {finding['level']}: {finding['message']}")
    for name, verdict in found["licenses"].items():
        say(f"license {name}, to {found['purpose']}: {verdict['allowed']}. {verdict['reason']}")
    for error in found["errors"]:
        warn(f"error: {error}")
    return 1 if found["errors"] else 0


@app.command()
def split(
    store: StoreOption = STORE,
    at: AtOption = None,
    params: ParamsOption = PARAMS,
    out: Annotated[Path, typer.Option("--out", "-o", help="File of the split.")] = SPLIT,
    extend: Annotated[Path | None, typer.Option(help="Split to extend: what it assigned stays where it is.")] = None,
    json: JsonOption = False,
) -> None:
    """Divide configurations into parts by whole groups."""
    from mlpdata.api import Store
    from mlpdata.project import load_params, write_json
    from mlpdata.workflow import make_split, read_split

    parent = None if extend is None else read_split(extend)
    divided = make_split(Store(store).snapshot(at), load_params(params).split, parent)
    write_json(out, divided.as_json())
    counts = {part: len(ids) for part, ids in divided.parts.items()}
    if json:
        say_json({"id": divided.id, "parts": counts, "quarantined": len(divided.quarantined), "notes": divided.notes})
        return
    say(f"{out}: " + ", ".join(f"{part} {count}" for part, count in counts.items()) + f"; split {divided.id[:12]}")
    for note in divided.notes:
        say(note)


@app.command()
def freeze(
    query: Annotated[str | None, typer.Argument(help="SELECT id ...; none: the parts of the split.")] = None,
    store: StoreOption = STORE,
    at: AtOption = None,
    split: SplitOption = SPLIT,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the view.")] = VIEW,
    json: JsonOption = False,
) -> None:
    """Pack a selection for reading: a view that no later commit changes."""
    from mlpdata.api import Store
    from mlpdata.workflow import freeze_query, make_view, read_split

    snapshot = Store(store).snapshot(at)
    view = make_view(snapshot, read_split(split), out) if query is None else freeze_query(snapshot, query, out)
    if json:
        say_json({"id": view.id, **view.as_json()})
    else:
        parts = ", ".join(f"{part} {end - first}" for part, (first, end) in view.parts.items())
        say(f"{out}: {parts}; view {view.id[:12]}")


@app.command()
def train(
    view: ViewOption = VIEW,
    params: ParamsOption = PARAMS,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the model.")] = MODEL,
    device: DeviceOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run was stopped.")] = False,
    json: JsonOption = False,
) -> None:
    """Fit the model to a view."""
    from mlpdata.project import load_params
    from mlpdata.workflow import train_view

    chosen = on_device(load_params(params).train, device)
    with training_progress(chosen) as advance:
        summary = train_view(view, chosen, out, advance, resume=resume)
    if json:
        say_json(summary)
    else:
        say(
            f"{out}: {summary['epochs']} epochs in {summary['seconds']:.0f} s, best {summary['best_epoch']}; model {summary['id'][:12]}"
        )


@app.command()
def evaluate(
    model: ModelOption = MODEL,
    view: ViewOption = VIEW,
    params: ParamsOption = PARAMS,
    part: Annotated[str, typer.Option(help="Part of the view.")] = "test",
    json: JsonOption = False,
) -> int:
    """Measure the errors of a model on a part of a view against the targets."""
    from mlpdata.project import load_params
    from mlpdata.summary import error_rows
    from mlpdata.workflow import evaluate_checkpoint

    metrics, _ = evaluate_checkpoint(model, view, load_params(params).evaluate, part)
    if json:
        say_json(metrics)
    else:
        columns, rows = error_rows(metrics)
        say_rows(columns, rows)
        for failure in metrics["failures"]:
            warn(f"missed: {failure}")
    return 1 if metrics["failures"] else 0


@app.command()
def md(
    model: ModelOption = MODEL,
    store: StoreOption = STORE,
    at: AtOption = None,
    params: ParamsOption = PARAMS,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the trajectories.")] = Path("results/md"),
    device: DeviceOption = None,
    json: JsonOption = False,
) -> int:
    """Run molecular dynamics with a model and measure drift and stability."""
    from mlpdata.api import Store
    from mlpdata.project import load_params
    from mlpdata.summary import dynamics_rows
    from mlpdata.workflow import run_dynamics

    chosen = on_device(load_params(params).md, device)
    with progress("dynamics") as advance:
        summary = run_dynamics(model, Store(store).snapshot(at), chosen, out, advance)
    if json:
        say_json(summary)
    else:
        say_rows(*dynamics_rows(summary))
        for failure in summary["failures"]:
            warn(f"failed: {failure}")
    return 1 if summary["failures"] else 0


@app.command()
def report(
    store: StoreOption = STORE,
    at: AtOption = None,
    since: Annotated[
        str | None, typer.Option(help="An earlier snapshot, as for --at: a section says what changed since then.")
    ] = None,
    params: ParamsOption = PARAMS,
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file.")] = Path("results/report.html"),
) -> None:
    """Put composition, theory, licenses, errors and dynamics on one page that needs no network."""
    from mlpdata.api import Store
    from mlpdata.project import load_params
    from mlpdata.report.build import build_report
    from mlpdata.store.keeper import keeper

    opened = Store(store)
    earlier = None if since is None else opened.snapshot(since)
    page = build_report(opened.snapshot(at), load_params(params), keeper(store).beside(store), earlier)
    write_file(out, page.encode())
    say(f"{out}: {len(page.encode()) // 1024} KiB")


def on_device(params: Any, device: str | None) -> Any:
    """`params` with another device, where one is given.

    Raises:
        UsageError: no such device.
    """
    if device is None:
        return params
    if device not in ("cpu", "cuda"):
        raise UsageError(f"expected the device cpu or cuda, found {device!r}.")
    return params.replace(device=device)
