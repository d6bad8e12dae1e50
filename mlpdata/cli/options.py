"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    Path, typer.Option("--store", envvar="MLPDATA_STORE", help="Folder of the store.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs, one document a line.")]
AtOption = Annotated[
    str | None, typer.Option("--at", help="Snapshot: tag, id or its start, or date; else the current one.")
]
ParamsOption = Annotated[Path, typer.Option("--params", help="File of parameters; defaults where there is none.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="File to write.")]

STORE = Path("store")
PARAMS = Path("params.yaml")
