"""Verbs about a project: init, doctor."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from mlpdata.cli.app import app
from mlpdata.cli.options import STORE, JsonOption, StoreOption
from mlpdata.cli.output import say, say_json, say_rows
from mlpdata.errors import MlpdataError


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new project.")] = Path(),
) -> None:
    """Begin a project: a folder for raw outputs, parameters, a pipeline; git and DVC set up."""
    from mlpdata.project import begin

    written = begin(folder)
    say(f"{folder}: " + (", ".join(written) + " written." if written else "everything is there already."))
    for program, marker, command in (
        ("git", ".git", ("git", "init", "--quiet")),
        ("dvc", ".dvc", ("dvc", "init", "--quiet")),
    ):
        if (folder / marker).exists():
            continue
        executable = found(program)
        if executable is None:
            say(f"{program} is not installed; install it and run `{' '.join(command)}` in {folder}.")
            continue
        done = subprocess.run((executable, *command[1:]), cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
        said = (done.stderr or done.stdout).strip().splitlines()
        say(
            f"{program} set up."
            if done.returncode == 0
            else f"{program} refused: {said[-1] if said else 'no reason given'}"
        )
    say(f"Next: copy outputs into {folder / 'raw'}, state their license in params.yaml, run `dvc repro`.")


def found(program: str) -> str | None:
    """Path of a program: on the search path, or beside the Python that runs this."""
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))


NEEDED = (
    ("numpy", ""), ("pyarrow", ""), ("zarr", ""), ("duckdb", ""), ("pint", ""), ("pydantic", ""), ("vesin", ""),
    ("torch", "train"), ("e3nn", "train"), ("ase", "train"), ("safetensors", "train"), ("dvc", "pipeline"),
    ("altair", "report"), ("vl-convert-python", "report"),
)  # fmt: skip


@app.command()
def doctor(store: StoreOption = STORE, json: JsonOption = False) -> int:
    """Say what is installed, what is missing, and whether the store is well."""
    from mlpdata.readers.registry import plugins

    rows = [("python", platform.python_version(), "")]
    for package, extra in NEEDED:
        try:
            rows.append((package, importlib.metadata.version(package), ""))
        except importlib.metadata.PackageNotFoundError:
            rows.append((package, "missing", f"pip install 'mlpdata[{extra}]'" if extra else "pip install mlpdata"))
    rows.append(("git", (shutil.which("git") and "found") or "missing", ""))
    rows.append(("device", _device(), ""))
    rows += [
        (f"reader {one.name}", "found" if one.reader else "broken", one.fault and f"mend its package: {one.fault}")
        for one in plugins()
    ]
    state, code = _store_state(store)
    rows.append(("store", state, ""))
    if json:
        say_json([{"name": name, "state": state, "cure": cure} for name, state, cure in rows])
    else:
        say_rows(("what", "state", "cure"), rows)
    return code


def _device() -> str:
    try:
        import torch
    except ModuleNotFoundError:
        return "cpu"
    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else "cpu"


def _store_state(store: Path) -> tuple[str, int]:
    """What `doctor` says of the store, and its exit code."""
    from mlpdata.store.keeper import keeper
    from mlpdata.store.verify import verify

    address = keeper(store).address(store)
    if not keeper(store).exists(store):
        return f"{address}: none yet", 0
    try:
        report = verify(store, quick=True)
    except MlpdataError as error:
        return str(error), error.exit_code
    return (f"{address}: {len(report.faults)} faults", 5) if report.faults else (f"{address}: well", 0)
