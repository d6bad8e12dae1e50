"""The JSON Schemas of the public nouns: `python -m mlpdata.schema.publish schemas/` writes them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from mlpdata import durable
from mlpdata.schema.calculation import Calculation, Source
from mlpdata.schema.configuration import Configuration
from mlpdata.schema.dft_record import DftRecord
from mlpdata.schema.method import Method
from mlpdata.schema.noun import SCHEMA_VERSION, Noun
from mlpdata.schema.params import Params
from mlpdata.schema.records import Amendment, Snapshot, Split, View
from mlpdata.schema.sidecar import Sidecar, SidecarFile

PUBLIC: tuple[type[Noun], ...] = (
    Amendment,
    Calculation,
    Configuration,
    DftRecord,
    Method,
    Params,
    Sidecar,
    SidecarFile,
    Snapshot,
    Source,
    Split,
    View,
)
"""Nouns whose form others may rely on."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each public noun by file name."""
    return {
        f"{_file_name(noun)}.json": {"$schema": DIALECT, "schema_version": SCHEMA_VERSION, **noun.model_json_schema()}
        for noun in PUBLIC
    }


def text(schema: dict[str, Any]) -> str:
    """A schema as it stands in its file."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Write every schema into `folder`."""
    durable.make_folder(folder)
    for name, schema in schemas().items():
        durable.replace(folder / name, text(schema).encode())


def _file_name(noun: type[Noun]) -> str:
    """`DftRecord` as dft_record."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", noun.__name__).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas"))
