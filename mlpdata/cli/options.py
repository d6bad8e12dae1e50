"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpdata.errors import UsageError

STORE = Path("store")
PARAMS = Path("params.yaml")


def _there(path: Path) -> Path:
    """A file of parameters that is named must be there; a mistyped name must not mean the defaults."""
    if path != PARAMS and not path.exists():
        raise UsageError("expected a file of parameters, found none.", path=path)
    return path


StoreOption = Annotated[
    Path, typer.Option("--store", envvar="MLPDATA_STORE", help="Folder of the store.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs, one document a line.")]
AtOption = Annotated[
    str | None, typer.Option("--at", help="Snapshot: tag, id or its start, or date; else the current one.")
]
ParamsOption = Annotated[
    Path, typer.Option("--params", callback=_there, help="File of parameters; defaults where there is no params.yaml.")
]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="File to write.")]
