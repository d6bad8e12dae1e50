"""Project: a folder with raw outputs, parameters and the pipeline; how it is begun and how its numbers are read."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from mlpdata.checks.licenses import normalise
from mlpdata.digest import finite_or_none
from mlpdata.durable import make_folder, replace, write
from mlpdata.errors import LicenseError, UsageError
from mlpdata.schema.noun import from_yaml
from mlpdata.schema.params import Params


def load_params(path: Path) -> Params:
    """The parameters in a YAML file; the defaults where there is no file.

    Raises:
        UsageError: no YAML, an unknown name, a value out of its range, or no license; file and field are named.
    """
    if not path.exists():
        return Params()
    params = from_yaml(Params, path)
    try:
        declared = params.ingest.license and normalise(params.ingest.license)
    except LicenseError as error:
        raise LicenseError(f"ingest.license: {error.message}", path=path) from error
    return params.replace(ingest=params.ingest.replace(license=declared))


TEMPLATE = {"dvc.yaml": "dvc.yaml", "params.yaml": "params.yaml", "gitignore": ".gitignore", "README.md": "README.md"}
"""Files of a new project, by their name in the package."""


def begin(folder: Path) -> list[str]:
    """Write a project that waits for outputs in raw/; files that are there already are kept.

    Returns:
        Names of the files written.

    Raises:
        UsageError: the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("expected a folder, found a file.", path=folder)
    make_folder(folder / "raw")
    written = []
    for name, target in TEMPLATE.items():
        path = folder / target
        if not path.exists():
            write(path, (files("mlpdata.pipelines") / "template" / name).read_bytes())
            written.append(target)
    return written


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people and programs: indented, keys in their order, NaN as null; folders are made."""
    make_folder(path.parent)
    replace(path, (json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return finite_or_none(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
